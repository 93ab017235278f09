/**
 * The markets of a venue as a file, refreshed by each preflight: a close that starts from it saves a call of megabytes, and
 * closes also when the venue's list of markets cannot be had. A venue's endpoint and sandbox have lists of their own.
 */
import * as z from "zod";
import type { CcxtAccess } from "../../core/close-job.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, writeFileAtomic } from "../../platform/files.ts";
import { asRecord } from "./exchange.ts";
import type { VenueExchange } from "./exchange.ts";

/** The largest list is some MB. */
const MAX_BYTES = 64 * 1_048_576;
/** Lots and limits change now and then: an older file is not used while the venue answers. */
const MAX_AGE_MS = 3 * 86_400_000;

const cacheSchema = z.object({
  version: z.literal(1),
  exchange: z.string(),
  endpoint: z.string().nullable(),
  sandbox: z.boolean(),
  savedAtMs: z.number(),
  markets: z.record(z.string(), z.unknown()),
  currencies: z.record(z.string(), z.unknown()),
});

type Access = Pick<CcxtAccess, "exchange" | "endpoint" | "sandbox" | "marketsFile">;

/** Gives the exchange the markets of the file; false when there are none that fit, or, unless `anyAge`, only old ones. Never throws. */
export function useCachedMarkets(exchange: VenueExchange, access: Access, clock: Clock, anyAge = false): boolean {
  if (access.marketsFile === undefined) return false;
  try {
    const text = readTextIfExists(access.marketsFile, MAX_BYTES);
    if (text === undefined) return false;
    const cache = cacheSchema.parse(JSON.parse(text));
    const same = cache.exchange === access.exchange && cache.sandbox === access.sandbox;
    if (!same || cache.endpoint !== (access.endpoint ?? null)) return false;
    const ageMs = clock.wallTime().getTime() - cache.savedAtMs;
    if (!anyAge && !(ageMs >= 0 && ageMs <= MAX_AGE_MS)) return false;
    // Safe: what ccxt itself had loaded, as this file has kept it; its own type of the parameter is that of its default.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    exchange.setMarkets(cache.markets, cache.currencies as unknown as undefined);
    return Object.keys(asRecord(exchange.markets)).length > 0;
  } catch {
    // Damaged or of another release: the venue is asked instead.
    return false;
  }
}

/** Writes what the exchange has loaded. Throws when the file cannot be written. */
export function saveMarkets(exchange: VenueExchange, access: Access, clock: Clock): void {
  if (access.marketsFile === undefined) return;
  const cache: z.input<typeof cacheSchema> = {
    version: 1,
    exchange: access.exchange,
    endpoint: access.endpoint ?? null,
    sandbox: access.sandbox,
    savedAtMs: clock.wallTime().getTime(),
    markets: asRecord(exchange.markets),
    currencies: asRecord(exchange.currencies),
  };
  writeFileAtomic(access.marketsFile, JSON.stringify(cache));
}
