/**
 * Limits of an account: how much may be open at once, and how much may be lost in a day.
 *
 * Pure: what the venue shows goes in, a judgement or a list of cuts comes out. What could not be read is `undefined`, and
 * nothing is ever judged by it. A cut only reduces: it is never larger than its position.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { floorToStep } from "./close-orders.ts";

/** A position as the venue shows it. Both legs of a hedge are positions of their own and count in full. */
export interface ExposedPosition {
  readonly symbol: string;
  readonly side: "long" | "short";
  /** In base currency or contracts, as the venue counts; always positive. */
  readonly amount: number;
  /** Value in quote currency, never negative; `undefined` when it is not known. */
  readonly notional: number | undefined;
  readonly rules: { readonly minAmount: number; readonly stepAmount: number | undefined };
}

/** A reduce-only order of this amount on the position of that symbol and side. */
export interface Cut {
  readonly symbol: string;
  readonly side: "long" | "short";
  readonly amount: number;
}

/** An exposure this much above its limit is left alone, as ratio: prices move it across the limit all the time. */
export const HYSTERESIS_RATIO = 0.05;

/** Σ|notional|; `undefined` when a position's value is not known. */
export function exposureOf(positions: readonly Pick<ExposedPosition, "notional">[]): number | undefined {
  let total = 0;
  for (const { notional } of positions) {
    if (notional === undefined || !Number.isFinite(notional)) return undefined;
    total += Math.abs(notional);
  }
  return total;
}

/** Whether an exposure calls for a cut: only well above the limit, so that a cut to the limit is not followed by another. */
export function exceedsExposure(total: number | undefined, max: number): boolean {
  return total !== undefined && total > max * (1 + HYSTERESIS_RATIO);
}

/**
 * The cuts that bring Σ|notional| to `max` or below: each position by the same share `1 − max/total`, rounded up to its lot,
 * largest first, until the rest is within the limit. None where the total is within `max`, or not known. What is below a
 * venue's smallest order cannot be cut, so that much may be left above the limit.
 */
export function planCuts(positions: readonly ExposedPosition[], max: number): Cut[] {
  const total = exposureOf(positions);
  if (total === undefined || total <= max) return [];
  const share = 1 - Math.max(0, max) / total;
  let left = total;
  const cuts: Cut[] = [];
  for (const position of positions.toSorted((a, b) => valueOf(b) - valueOf(a))) {
    if (left <= max) break;
    const amount = cutOf(position, share);
    if (amount <= 0) continue;
    left -= (valueOf(position) * amount) / position.amount;
    cuts.push({ symbol: position.symbol, side: position.side, amount });
  }
  return cuts;
}

function valueOf({ notional }: ExposedPosition): number {
  return Math.abs(notional ?? 0);
}

/** Not below the venue's smallest order, and the whole position where less than that would be left of it. */
function cutOf({ amount, rules: { minAmount, stepAmount } }: ExposedPosition, share: number): number {
  const whole = floorToStep(amount, stepAmount);
  if (whole <= 0 || whole < minAmount) return 0;
  const wanted = Math.max(ceilToStep(amount * share, stepAmount), minAmount);
  return wanted >= whole || whole - wanted < minAmount ? whole : wanted;
}

/** Smallest multiple of `step` that is not below `amount`, but for the noise of binary fractions. */
function ceilToStep(amount: number, step: number | undefined): number {
  if (step === undefined || step <= 0) return amount;
  return Number((Math.ceil(amount / step - 1e-9) * step).toPrecision(12));
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
