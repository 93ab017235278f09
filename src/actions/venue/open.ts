/** Opens the account of a job by the driver that its config names; each is loaded only when it is the one. */
import type { HookAccess, VenueAccess } from "../../core/close-job.ts";
import type { Venue, VenueOptions } from "./contract.ts";
import type { HookPort } from "./hook-venue.ts";

/** The account of `access`, with the hook beside it that the config names, if any. Sends nothing; throws as `openVenue` does. */
export async function openWithHook(
  access: VenueAccess,
  hook: HookAccess | undefined,
  incident: string,
  options: VenueOptions,
): Promise<Venue> {
  const venue = await openVenue(access, incident, options);
  if (hook === undefined) return venue;
  const { HookedVenue } = await import("./hooked-venue.ts");
  return new HookedVenue(venue, await openVenue(hook, incident, options));
}

/** Sends nothing. Throws `cannot use exchange …` where the driver cannot close. */
export async function openVenue(access: VenueAccess, incident: string, options: VenueOptions): Promise<Venue> {
  switch (access.driver) {
    case undefined:
      if (access.margin !== undefined)
        return (await import("./margin-venue.ts")).MarginVenue.open(access, access.margin, options);
      if (access.spot?.derivatives === true)
        return (await import("./both-markets.ts")).BothMarkets.open(access, options);
      return (await import("./ccxt-venue.ts")).CcxtVenue.open(access, options);
    case "exec":
      return openHook(access, incident, options, (await import("./exec-hook.ts")).createExecPort(access, options));
    case "webhook":
      return openHook(access, incident, options, (await import("./webhook.ts")).createWebhookPort(access, options));
  }
}

async function openHook(access: HookAccess, incident: string, options: VenueOptions, port: HookPort): Promise<Venue> {
  const { HookVenue } = await import("./hook-venue.ts");
  return new HookVenue(access, incident, options, port);
}
