/**
 * Limits of an account: how much may be open at once, and how much may be lost in a day.
 *
 * Pure: what the venue shows goes in, a judgement comes out. What could not be read is `undefined`, and nothing is ever judged by
 * it. What is cut then is decided where every close decides it (close-excess.ts).
 */
import * as z from "zod";
import { later } from "./later.ts";

/** An exposure this much above its limit is left alone, as ratio: prices move it across the limit all the time. */
export const HYSTERESIS_RATIO = 0.05;

/** Σ|notional|, both legs of a hedge in full; `undefined` when a position's value is not known. */
export function exposureOf(positions: readonly { readonly notional: number | undefined }[]): number | undefined {
  let total = 0;
  for (const { notional } of positions) {
    if (notional === undefined || !Number.isFinite(notional)) return undefined;
    total += Math.abs(notional);
  }
  return total;
}

/** Currencies that are worth a dollar: sums in them are added up, a cent more or less. */
const DOLLARS: ReadonlySet<string> = new Set(["USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI", "USDE"]);

/** What the notional of a unified symbol is in: `BTC/USDT` and `BTC/USDC:USDC` are in dollars, `ETH/BTC` is in BTC. */
function moneyOf(symbol: string): string {
  const quote = symbol.split(":")[0]?.split("/")[1] ?? "";
  return DOLLARS.has(quote) ? "USD" : quote;
}

/** Those whose notional is in other money than the rest, and cannot be added to it; nothing while all is in one. */
export function inOtherMoney<T extends { readonly symbol: string }>(positions: readonly T[]): readonly T[] {
  const monies = new Set(positions.map(({ symbol }) => moneyOf(symbol)));
  const main = monies.has("USD") ? "USD" : monies.values().next().value;
  return positions.filter(({ symbol }) => moneyOf(symbol) !== main);
}

/** Whether an exposure calls for a cut: only well above the limit, so that a cut to the limit is not followed by another. */
export function exceedsExposure(total: number | undefined, max: number): boolean {
  return total !== undefined && total > max * (1 + HYSTERESIS_RATIO);
}

/** A loss that a day may bring: an amount in quote currency, or a share of the equity that the day began with. */
export const lossLimitSchema = later(() =>
  z.union([
    z.number().positive(),
    z
      .string()
      .regex(/^(?:100|\d{1,2}(?:\.\d+)?)%$/, "is neither an amount nor a share; write it as 500 or 5%")
      .refine((text) => Number.parseFloat(text) > 0, { error: "must be more than 0%" }),
  ]),
);
export type LossLimit = z.output<typeof lossLimitSchema>;

/** Where a day's loss is counted from: the first reading of the day, and the transfers since are not part of the loss. */
export const dayStartSchema = later(() =>
  z.strictObject({
    /** UTC days since 1970. */
    day: z.int(),
    /** Equity in quote currency, unrealised profit included. */
    equity: z.number(),
    /** The venue's time of that reading, ms since 1970. */
    atMs: z.number(),
  }),
);
export type DayStart = z.output<typeof dayStartSchema>;

const DAY_MS = 86_400_000;

/** The UTC day of a time, ms since 1970, as days since 1970. */
export function utcDay(epochMs: number): number {
  return Math.floor(epochMs / DAY_MS);
}

/** The first moment after a UTC day, ms since 1970. */
export function endOfDay(day: number): number {
  return (day + 1) * DAY_MS;
}

/** The day's start after a reading: a new one on a later day. A clock that was set back does not begin a day anew. */
export function startOfDay(before: DayStart | undefined, equity: number, epochMs: number): DayStart {
  const day = utcDay(epochMs);
  return before !== undefined && day <= before.day ? before : { day, equity, atMs: epochMs };
}

/** What the day has lost so far; negative for a gain. `transfers` is what came in since its start, less what went out. */
export function dailyLoss(start: DayStart, equity: number, transfers: number): number {
  return start.equity + transfers - equity;
}

/** The limit as an amount; `undefined` for a share of nothing, which nobody can judge. */
export function lossAllowed(limit: LossLimit, start: DayStart): number | undefined {
  if (typeof limit === "number") return limit;
  return start.equity > 0 ? (start.equity * Number.parseFloat(limit)) / 100 : undefined;
}

/** Whether the day has lost more than it may. */
export function exceedsLoss(limit: LossLimit, start: DayStart, equity: number, transfers: number): boolean {
  const allowed = lossAllowed(limit, start);
  return allowed !== undefined && dailyLoss(start, equity, transfers) > allowed;
}
