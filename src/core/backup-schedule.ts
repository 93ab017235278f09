/** When the next backup of a target is due: by its schedule, at once when one was missed, and again soon after a failure. */
import { LEVELS, type Level } from "./backup-manifest.ts";

export interface ScheduleFacts {
  /** Last run of the schedule at or before now, ms since 1970; `undefined` when there was none. */
  readonly previousMs: number | undefined;
  /** Next run of the schedule after now. */
  readonly nextMs: number | undefined;
  /** End of the last attempt, and of the last success; `undefined` when there was none. */
  readonly lastAttemptMs: number | undefined;
  readonly lastSuccessMs: number | undefined;
  readonly failuresInRow: number;
  /** Part of the jitter that this target waits, ms. */
  readonly delayMs: number;
}

const MINUTE_MS = 60_000;
/** After the first, second and third failure in a row; then the schedule goes on. */
const RETRIES_MS = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS];
/** Time after which a run that was to be there is missed by people: a long backup takes an hour. */
const OVERDUE_MS = 3_600_000;

/** A clock that is kept in step goes back by less. */
const SLEW_MS = MINUTE_MS;

/** `undefined` for a time of before the clock was set back: taken at its word, nothing would be done until the clock is there again. */
function ifPast(atMs: number | undefined, nowMs: number): number | undefined {
  return atMs !== undefined && atMs - nowMs <= SLEW_MS ? atMs : undefined;
}

/** Instant of the next run, ms since 1970; in the past when it was missed. `undefined`: none will come. */
export function dueAt(facts: ScheduleFacts, nowMs: number): number | undefined {
  const { previousMs, nextMs, failuresInRow, delayMs } = facts;
  const lastAttemptMs = ifPast(facts.lastAttemptMs, nowMs);
  const lastSuccessMs = ifPast(facts.lastSuccessMs, nowMs);
  const regular = nextMs === undefined ? undefined : nextMs + delayMs;
  if (previousMs === undefined) return regular;
  const served = lastSuccessMs !== undefined && lastSuccessMs >= previousMs;
  if (served) return regular;
  const tried = lastAttemptMs !== undefined && lastAttemptMs >= previousMs;
  if (!tried) return previousMs + delayMs;
  const retryMs = RETRIES_MS[failuresInRow - 1];
  if (retryMs === undefined) return regular;
  return Math.min(lastAttemptMs + retryMs, regular ?? Number.POSITIVE_INFINITY);
}

export interface IncrementalFacts {
  /** Time between incremental backups, ms; `undefined`: none are made. */
  readonly everyMs: number | undefined;
  /** End of the last attempt and of the last success of whatever kind. */
  readonly lastAttemptMs: number | undefined;
  readonly lastSuccessMs: number | undefined;
}

export interface Due {
  readonly kind: "full" | "incremental";
  readonly atMs: number;
}

/** The next backup of a target; a full one goes first when both are due. `undefined`: none will come. */
export function nextDue(full: ScheduleFacts, incremental: IncrementalFacts, nowMs: number): Due | undefined {
  const fullMs = dueAt(full, nowMs);
  const { everyMs, lastAttemptMs } = incremental;
  // Before the first attempt the full backup is due anyway.
  if (everyMs === undefined || lastAttemptMs === undefined)
    return fullMs === undefined ? undefined : { kind: "full", atMs: fullMs };
  // An attempt in the future is one of before the clock was set back: it says nothing.
  const atMs = lastAttemptMs > nowMs ? nowMs : lastAttemptMs + everyMs;
  return fullMs !== undefined && fullMs <= Math.max(atMs, nowMs)
    ? { kind: "full", atMs: fullMs }
    : { kind: "incremental", atMs };
}

/** No backup of whatever kind has succeeded for so long after the time of an incremental one. */
export function isIncrementalOverdue({ everyMs, lastSuccessMs }: IncrementalFacts, nowMs: number): boolean {
  return everyMs !== undefined && lastSuccessMs !== undefined && nowMs - lastSuccessMs > everyMs + OVERDUE_MS;
}

/** A run of the schedule has not been served for so long that somebody must look. */
export function isOverdue(facts: ScheduleFacts, nowMs: number): boolean {
  const { previousMs, delayMs } = facts;
  const lastSuccessMs = ifPast(facts.lastSuccessMs, nowMs);
  if (previousMs === undefined || (lastSuccessMs !== undefined && lastSuccessMs >= previousMs)) return false;
  return nowMs - previousMs > delayMs + OVERDUE_MS;
}

const DAY_MS = 86_400_000;

/**
 * How far the newest backup is to be proven now, by the proofs so far; `undefined` when none is due. A proof counts for the
 * levels below, and whatever it found: a backup that does not stand is not proven again in a loop.
 */
export function dueProof(
  { daily, weekly }: { readonly daily: Level; readonly weekly: Level },
  proofs: Readonly<Partial<Record<Level, { readonly atMs: number }>>>,
  nowMs: number,
): Level | undefined {
  // One of the future is of before the clock was set back: it says nothing.
  const within = (level: Level, spanMs: number): boolean =>
    LEVELS.slice(LEVELS.indexOf(level)).some((each) => {
      const ageMs = nowMs - (proofs[each]?.atMs ?? Number.NEGATIVE_INFINITY);
      return ageMs >= 0 && ageMs < spanMs;
    });
  if (!within(weekly, 7 * DAY_MS)) return weekly;
  return within(daily, DAY_MS) ? undefined : daily;
}

export interface CopyFacts {
  /** The last backup of the directory, and when it was made; `undefined`: there is none. */
  readonly newest:
    | {
        readonly id: string;
        readonly atMs: number;
        /** When its source was last seen to hold the same; `undefined`: not since. */
        readonly unchangedMs?: number | undefined;
      }
    | undefined;
  /** The last backup that was there when the last run that succeeded began, and its `unchangedMs` then. */
  readonly upTo: string | null;
  readonly unchangedUpToMs?: number | undefined;
  readonly lastAttemptMs: number | undefined;
  readonly failuresInRow: number;
}

/** A copy over a slow line takes hours; one that never comes is noticed on the same day. */
const COPY_OVERDUE_MS = 6 * 3_600_000;
/** After the fourth failure in a row and each later one: a store that is away for a day gets everything soon after. */
const COPY_RETRY_MS = 60 * MINUTE_MS;

/** When what is new is to be copied: at once, and after a failure a while later. `undefined`: nothing is new. */
export function copyDueAt(facts: CopyFacts, nowMs: number): number | undefined {
  const { newest, failuresInRow } = facts;
  const sinceMs = newest === undefined ? undefined : newSinceMs(newest, facts);
  if (sinceMs === undefined) return undefined;
  const lastAttemptMs = ifPast(facts.lastAttemptMs, nowMs);
  if (failuresInRow === 0 || lastAttemptMs === undefined) return ifPast(sinceMs, nowMs) ?? nowMs;
  return lastAttemptMs + (RETRIES_MS[failuresInRow - 1] ?? COPY_RETRY_MS);
}

/** Since when there is something to copy, ms: a backup, or what was learnt since of one that is there; `undefined`: there is nothing. */
function newSinceMs(
  { id, atMs, unchangedMs }: NonNullable<CopyFacts["newest"]>,
  { upTo, unchangedUpToMs }: CopyFacts,
): number | undefined {
  if (id !== upTo) return atMs;
  return unchangedMs === unchangedUpToMs ? undefined : unchangedMs;
}

/** The newest backup has not been copied for so long that somebody must look. */
export function isCopyOverdue({ newest, upTo }: CopyFacts, nowMs: number): boolean {
  return newest !== undefined && newest.id !== upTo && nowMs - newest.atMs > COPY_OVERDUE_MS;
}
