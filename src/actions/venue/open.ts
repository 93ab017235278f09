/** Opens the account of a job by the driver that its config names. */
import type { VenueAccess } from "../../core/close-job.ts";
import type { Venue, VenueOptions } from "./contract.ts";
import { CcxtVenue } from "./ccxt-venue.ts";

/** Sends nothing. Throws `cannot use exchange …` where the driver cannot close. */
export async function openVenue(access: VenueAccess, options: VenueOptions): Promise<Venue> {
  return CcxtVenue.open(access, options);
}
