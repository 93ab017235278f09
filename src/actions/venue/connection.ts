/** The connection to a venue, begun before anything is asked of it. */
import type { CcxtAccess } from "../../core/close-job.ts";
import { ORIGINS } from "./exchanges.ts";

/** Name, connection and TLS take their time while the venue's class and the markets are loaded; whether it works, the first call tells. */
export function beginConnection({ exchange, endpoint, sandbox }: CcxtAccess): void {
  const origin = endpoint ?? (sandbox || !Object.hasOwn(ORIGINS, exchange) ? undefined : ORIGINS[exchange]);
  try {
    if (origin !== undefined) fetch.preconnect(origin);
  } catch {
    // The first call connects by itself.
  }
}
