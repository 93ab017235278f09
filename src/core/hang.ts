/**
 * Whether a worker moves on, by what the kernel says of its processes and by its own word, as the kernel judges its hung tasks
 * (khungtaskd). A deadline alone must be as long as the longest deed, and says nothing for all of that time. Pure.
 */

/** A worker and all that it has started, at one look. */
export interface WorkLook {
  /** Who they are: another set is a program that began or ended. */
  readonly members: string;
  /** CPU time of them all, ms. */
  readonly cpuMs: number;
  /** Bytes that they have read and written so far, of files and pipes. */
  readonly bytes: number;
  /** Who of them is stopped (SIGSTOP), by name; `undefined`: nobody. */
  readonly stopped: string | undefined;
  /** Who of them waits in the kernel for a disk or a file system over the network. */
  readonly blocked: string | undefined;
}

export interface HangBounds {
  /** Time between two looks, ms. */
  readonly lookMs: number;
  /** Somebody is stopped, ms. */
  readonly stoppedMs: number;
  /** Nothing moves, and somebody waits for a disk or does not even turn its own loop, ms; `undefined`: as long as its deadline. */
  readonly hungMs: number | undefined;
  /** Nothing moves, and it waits for somebody else, as a server, ms; `undefined`: as long as its deadline. */
  readonly waitMs: number | undefined;
  /** Nobody looks at what it has started, which has bounds of its own. */
  readonly alone?: true;
}

/**
 * A worker reads, computes and flushes in pieces of a few MiB, of which a disk that does less than one in ten minutes is none; a check
 * of a large database is one call that lasts an hour, but computes and reads meanwhile. Only who waits for a server has nothing to do
 * for longer: that one may count 2 TiB of rows at 200 MiB/s, a dump of Redis has an hour, and TCP gives up a dead host after 2 h 11 min
 * (tcp(7)), so that the program itself says why.
 */
export const HANG_BOUNDS = {
  lookMs: 10_000,
  stoppedMs: 600_000,
  hungMs: 600_000,
  waitMs: 3 * 3_600_000,
} as const satisfies HangBounds;

/**
 * A worker that somebody has stopped (SIGSTOP) closes nothing: it is killed, and followed by another. For one that waits, for a disk or the
 * venue, there is its deadline, and for a hook that it has started a timeout of its own.
 */
export const CLOSE_HANG_BOUNDS = {
  lookMs: 1_000,
  stoppedMs: 10_000,
  hungMs: undefined,
  waitMs: undefined,
  alone: true,
} as const satisfies HangBounds;

/** In the environment of a worker: time between two signs that its own loop turns, ms; absent: nobody misses them. */
export const BEAT_VARIABLE = "SUPERVISOR_WORKER_BEAT_MS";
/** Signs in the time after which they are missed: one that is late, or a loop that is busy for a while, is no hang. */
const BEATS = 20;

/** For `BEAT_VARIABLE`. */
export function beatMsOf(hungMs: number): number {
  return hungMs / BEATS;
}

/** Share of one core below which a process only looks whether there is something to do: some 20 looks a second take half a percent. */
const BUSY_SHARE = 0.05;
/** What is read and written by such looks in the longest wait stays below, and a deed is above in a moment. */
const MOVED_BYTES = 1_024 ** 2;
/** Looks that were due and not made, after which nothing is known of the time between: we were stopped, or had no processor ourselves. */
const LOST_LOOKS = 3;

export interface HangState {
  readonly look: WorkLook;
  readonly lookedMs: number;
  /** When it was last seen to move. */
  readonly movedMs: number;
  /** What it had read and written by then. */
  readonly movedBytes: number;
  /** Since when each look has found somebody stopped, and somebody blocked. */
  readonly stoppedMs: number | undefined;
  readonly blockedMs: number | undefined;
}

/** When its last line came and when its loop last gave a sign, monotonic ms; `undefined`: nobody can hear it. */
export interface Heard {
  readonly lineMs: number | undefined;
  readonly beatMs: number | undefined;
}

export const UNHEARD: Heard = { lineMs: undefined, beatMs: undefined };

/** The state after one more look; `undefined` before the first. */
export function foldLook(
  before: HangState | undefined,
  look: WorkLook,
  atMs: number,
  { lineMs }: Heard,
  { lookMs }: Pick<HangBounds, "lookMs">,
): HangState {
  const elapsedMs = atMs - (before?.lookedMs ?? atMs);
  const known = elapsedMs > LOST_LOOKS * lookMs ? undefined : before;
  const common = {
    look,
    lookedMs: atMs,
    stoppedMs: look.stopped === undefined ? undefined : (known?.stoppedMs ?? atMs),
    blockedMs: look.blocked === undefined ? undefined : (known?.blockedMs ?? atMs),
  };
  if (known === undefined) return { ...common, movedMs: atMs, movedBytes: look.bytes };
  const moved =
    look.members !== known.look.members ||
    look.cpuMs - known.look.cpuMs >= BUSY_SHARE * elapsedMs ||
    look.bytes - known.movedBytes >= MOVED_BYTES ||
    (lineMs !== undefined && lineMs > known.lookedMs);
  return moved
    ? { ...common, movedMs: atMs, movedBytes: look.bytes }
    : { ...common, movedMs: known.movedMs, movedBytes: known.movedBytes };
}

/** Why the worker is to be ended; `undefined`: it moves, or may still. */
export function hangOf(
  { look, lookedMs: atMs, movedMs, stoppedMs: stoppedAtMs = atMs, blockedMs = atMs }: HangState,
  { beatMs = atMs }: Heard,
  { stoppedMs, hungMs = Number.POSITIVE_INFINITY, waitMs = Number.POSITIVE_INFINITY }: HangBounds,
): string | undefined {
  // Whatever the others do: it comes to no end without this one.
  if (atMs - stoppedAtMs >= stoppedMs) return `${HUNG}: ${faultOf(look, stoppedMs)}`;
  const quietMs = atMs - movedMs;
  if (quietMs < hungMs) return undefined;
  if (atMs - blockedMs >= hungMs || atMs - beatMs >= hungMs) return `${HUNG}: ${faultOf(look, hungMs)}`;
  return quietMs < waitMs ? undefined : `${HUNG}: what it waits for did nothing for ${timeText(waitMs)}`;
}

/** Its silence begins a moment before somebody is first seen to be stopped: what is seen names the cause, all the same. */
function faultOf({ stopped, blocked }: WorkLook, ms: number): string {
  if (stopped !== undefined) return `${stopped} was stopped for ${timeText(ms)} (SIGSTOP)`;
  if (blocked !== undefined)
    return `${blocked} waited for ${timeText(ms)} for a disk or a file system that does not answer`;
  return `it gave no sign of life for ${timeText(ms)}`;
}

const HUNG = "the worker hung and was ended";

function timeText(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} minutes`;
}
