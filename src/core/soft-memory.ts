/**
 * The soft stage of the memory limits: when a bot's memory counts as strained, and when a bot that is to be restarted for it
 * has its quiet moment. Everything here happens before the kernel kills at `limits.memory`.
 */
import { restartsInPeriod } from "./budget.ts";
import { formatDuration } from "./duration.ts";
import type { Policy, State } from "./lifecycle-types.ts";
import { isMemoryHigh } from "./limits.ts";
import { addSample, noTrend, timeToLimitMs, type MemoryTrend } from "./memory-trend.ts";
import { formatSize } from "./size.ts";

/** From here on a bot's own memory pressure is strain: so much of the last ten seconds it did nothing but wait for memory, percent. */
const STRAINED_PERCENT = 20;
const CALM_PERCENT = 10;
/** A trend is over only when the limit has moved this many horizons away: a forecast wavers. */
const CALM_HORIZONS = 2;
/** Beyond this share of `memory` no quiet moment is waited for: the kernel is about to kill. */
const LAST_CALL_RATIO = 0.95;

export interface SoftLimits {
  readonly memoryBytes?: number;
  readonly memoryHighBytes?: number;
  /** A limit that is nearer than this, as memory grows, is strain, ms; 0: the trend is not looked at. */
  readonly horizonMs: number;
}

export interface MemoryLook {
  readonly atMs: number;
  /** `undefined`: could not be read. */
  readonly usedBytes: number | undefined;
  /** `memory.pressure`, `full avg10`; `undefined` without a v2 cgroup. */
  readonly pressurePercent: number | undefined;
}

export interface Strain {
  /** Each in words while it lasts. */
  readonly high: string | undefined;
  readonly pressed: string | undefined;
  readonly growing: string | undefined;
  readonly trend: MemoryTrend;
  /** So near to the hard limit that nothing can be waited for. */
  readonly lastCall: boolean;
}

export const noStrain: Strain = {
  high: undefined,
  pressed: undefined,
  growing: undefined,
  trend: noTrend,
  lastCall: false,
};

/** Takes one look into account. What cannot be read leaves its part as it was. */
export function foldStrain(before: Strain, limits: SoftLimits, look: MemoryLook): Strain {
  const { atMs, usedBytes, pressurePercent } = look;
  const pressed = pressurePercent === undefined ? before.pressed : pressureWords(before, pressurePercent);
  if (usedBytes === undefined) return { ...before, pressed };
  const { memoryBytes } = limits;
  const trend = addSample(before.trend, { atMs, bytes: usedBytes });
  const high = highWords(before.high !== undefined || pressed !== undefined, limits, usedBytes);
  const lastCall = memoryBytes !== undefined && usedBytes >= memoryBytes * LAST_CALL_RATIO;
  // Only a new sample can change the trend, and its slopes are not worth computing for nothing.
  const growing = trend === before.trend ? before.growing : trendWords(before, limits, trend, usedBytes);
  return { high, pressed, growing, trend, lastCall };
}

/** Why the bot's memory is strained, in words; `undefined`: it is not. */
export function strainOf({ high, pressed, growing }: Strain): string | undefined {
  return high ?? growing ?? pressed;
}

/**
 * Without `memoryHigh`, memory is high where the last call is. A bot that waits for memory just below the line counts as high:
 * at `memory.high` the v2 kernel holds it there, and it would never go beyond.
 */
function highWords(was: boolean, limits: SoftLimits, usedBytes: number): string | undefined {
  const { memoryBytes, memoryHighBytes } = limits;
  if (memoryHighBytes !== undefined && isMemoryHigh(was, usedBytes, memoryHighBytes))
    return `memory ${formatSize(usedBytes)}, memoryHigh ${formatSize(memoryHighBytes)}`;
  if (memoryBytes !== undefined && isMemoryHigh(was, usedBytes, memoryBytes * LAST_CALL_RATIO))
    return `memory ${formatSize(usedBytes)}, limit ${formatSize(memoryBytes)}`;
  return undefined;
}

function pressureWords(before: Strain, percent: number): string | undefined {
  const line = before.pressed === undefined ? STRAINED_PERCENT : CALM_PERCENT;
  return percent >= line ? `it waits for memory ${Math.round(percent)}% of the time` : undefined;
}

function trendWords(before: Strain, limits: SoftLimits, trend: MemoryTrend, usedBytes: number): string | undefined {
  const [key, limit] =
    limits.memoryBytes === undefined ? ["memoryHigh", limits.memoryHighBytes] : ["memory", limits.memoryBytes];
  if (limit === undefined || limits.horizonMs === 0) return undefined;
  const leftMs = timeToLimitMs(trend, limit);
  const horizonMs = limits.horizonMs * (before.growing === undefined ? 1 : CALM_HORIZONS);
  if (leftMs === undefined || leftMs > horizonMs) return undefined;
  const left = leftMs < 120_000 ? `${Math.round(leftMs / 1_000)} s` : `${Math.round(leftMs / 60_000)} min`;
  return `memory ${formatSize(usedBytes)} grows and reaches ${key} ${formatSize(limit)} in ${left}`;
}

export interface Relief {
  /** The bot is to be restarted when its memory is strained. */
  readonly restart: boolean;
  /** Longest wait for a quiet moment, ms. */
  readonly quietTimeoutMs: number;
}

export interface ReliefInput {
  readonly atMs: number;
  readonly strain: Strain;
  /** Orders that the bot says are under way; `undefined`: it never said. */
  readonly inFlight: number | undefined;
  readonly state: State;
  readonly policy: Policy;
}

/** Since when a quiet moment is waited for, monotonic ms; `undefined`: nothing is waited for. */
export type Waiting = { readonly sinceMs: number; readonly told: boolean } | undefined;

export interface ReliefStep {
  readonly waiting: Waiting;
  /** Why the bot is to be restarted now. */
  readonly restart?: string;
  /** Why it is not; said once for each strain. */
  readonly refusal?: string;
}

/**
 * Whether a strained bot is restarted now: at its first quiet moment (`X_IN_FLIGHT=0`), or politely all the same when the
 * wait is over. Never one of which nothing is known of its orders and that has no `preStop`; never when the restart would be
 * the one that spends the budget, or a close is due: relief for memory must not be what closes positions. Pressure alone
 * restarts nothing, since what takes the memory may be somebody else.
 */
export function relieve(relief: Relief, waiting: Waiting, input: ReliefInput): ReliefStep {
  const { atMs, strain, inFlight, state, policy } = input;
  const why = strain.high ?? strain.growing;
  if (!relief.restart || why === undefined) return { waiting: undefined };
  const next = waiting ?? { sinceMs: atMs, told: false };
  // A bot that has not settled yet is waited for: its end now would go on with the count of closeAfter.
  if (state.kind !== "running" || state.closeClock === "counting") return { waiting: next };
  const refusal = refusalOf(policy, state, inFlight, atMs);
  if (refusal !== undefined) return next.told ? { waiting: next } : { waiting: { ...next, told: true }, refusal };
  const waitedMs = atMs - next.sinceMs;
  if (inFlight === 0) return { waiting: undefined, restart: `${why}; no order is in flight` };
  if (strain.lastCall)
    return { waiting: undefined, restart: `${why}; the limit is too near to wait for a quiet moment` };
  if (waitedMs < relief.quietTimeoutMs) return { waiting: next };
  return { waiting: undefined, restart: `${why}; no quiet moment in ${formatDuration(relief.quietTimeoutMs)}` };
}

function refusalOf(policy: Policy, state: State, inFlight: number | undefined, atMs: number): string | undefined {
  if (inFlight === undefined && !policy.hooks.preStop)
    return "it never said how many orders are in flight (X_IN_FLIGHT=), and it has no preStop";
  if (policy.restart === "never") return "restart.policy is never";
  if (restartsInPeriod(policy.budget, state.log, atMs) >= policy.budget.intensity)
    return "its restart budget has no restart left";
  if (state.closeClock === "due") return "closeAfter is over, so that its end would close its positions";
  return undefined;
}
