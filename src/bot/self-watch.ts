/** A bot's look at itself, as wishes for a degradation level: its event loop, the disk of its state, its clock beside the venue's. */
import { statfs } from "node:fs/promises";
import { clockOffMs, LOOP_TICK_MS, LoopLag, Mark } from "../core/self-signs.ts";
import type { Level, ProposeLevel } from "./ports.ts";

export interface SelfWatchOptions {
  readonly propose: ProposeLevel;
  /** A 99th percentile of the loop's lag of a minute above this proposes `degraded`, ms; default 500, Infinity switches it off. */
  readonly maxLagMs?: number;
  /** Whose disk is looked at; default `$SUPERVISOR_STATE_DIR`, without which none is. */
  readonly folder?: string;
  /** Less free space than this share of the disk proposes `minimal`; default 0.01, 0 switches it off. */
  readonly minFreeRatio?: number;
  /** The venue's time, ms since 1970 UTC, for example `() => exchange.fetchTime()`; without it the clock is not looked at. */
  readonly venueTime?: () => PromiseLike<number | undefined>;
  /** A clock that is off by more than this for sure proposes `minimal`, ms; default 1000. */
  readonly maxClockOffMs?: number;
}

const MAX_LAG_MS = 500;
const MIN_FREE_RATIO = 0.01;
const MAX_CLOCK_OFF_MS = 1_000;
/** Between two looks, ms; a wish holds for two of them. */
const LAG_LOOK_MS = 1_000;
const DISK_LOOK_MS = 10_000;
const CLOCK_LOOK_MS = 60_000;

/** Looks until the returned function is called; never throws, and keeps no process alive. */
export function watchSelf(options: SelfWatchOptions): () => void {
  const { propose, maxLagMs = MAX_LAG_MS, minFreeRatio = MIN_FREE_RATIO, venueTime } = options;
  const { folder = process.env["SUPERVISOR_STATE_DIR"] ?? "", maxClockOffMs = MAX_CLOCK_OFF_MS } = options;
  const ends = [watchLoop(propose, maxLagMs)];
  if (folder !== "") ends.push(watchDisk(propose, folder, minFreeRatio));
  if (venueTime !== undefined) ends.push(watchClock(propose, venueTime, maxClockOffMs));
  return () => {
    for (const end of ends) end();
  };
}

function watchLoop(propose: ProposeLevel, limitMs: number): () => void {
  const lag = new LoopLag(limitMs, performance.now());
  const say = sayer(propose, "loop", "degraded", 2 * LAG_LOOK_MS);
  const ticks = every(LOOP_TICK_MS, () => lag.tick(performance.now()));
  const looks = every(LAG_LOOK_MS, () => {
    const nowMs = performance.now();
    // The timers of a stalled loop come in any order.
    lag.tick(nowMs);
    const gapMs = lag.tooLong(nowMs);
    say(gapMs === undefined ? undefined : `the event loop stood still for up to ${Math.round(gapMs)} ms`);
  });
  return () => {
    ticks();
    looks();
  };
}

function watchDisk(propose: ProposeLevel, folder: string, minFreeRatio: number): () => void {
  const full = new Mark(minFreeRatio, 2 * minFreeRatio);
  const say = sayer(propose, "disk", "minimal", 2 * DISK_LOOK_MS);
  return everyAsync(DISK_LOOK_MS, async () => {
    const { bavail, blocks } = await statfs(folder);
    if (blocks === 0) return;
    const free = bavail / blocks;
    say(full.look(free) ? `the disk of ${folder} has ${(free * 100).toFixed(1)} % left` : undefined);
  });
}

function watchClock(
  propose: ProposeLevel,
  venueTime: () => PromiseLike<number | undefined>,
  maxOffMs: number,
): () => void {
  const wrong = new Mark(maxOffMs, maxOffMs / 2);
  const say = sayer(propose, "clock", "minimal", 2 * CLOCK_LOOK_MS);
  return everyAsync(CLOCK_LOOK_MS, async () => {
    const beforeMs = Date.now();
    const startMs = performance.now();
    const venueMs = await venueTime();
    // A clock that is set meanwhile must not count as the length of the request.
    const afterMs = beforeMs + performance.now() - startMs;
    if (venueMs === undefined) return;
    const offMs = clockOffMs(venueMs, beforeMs, afterMs);
    say(wrong.look(offMs) ? `the clock is ${Math.round(offMs)} ms off the venue's` : undefined);
  });
}

/** Proposes while there is a reason, and takes it back once. */
function sayer(propose: ProposeLevel, sign: string, level: Level, ttlMs: number): (reason: string | undefined) => void {
  const source = `self:${sign}`;
  let said = false;
  return (reason) => {
    if (reason !== undefined) propose({ source, level, reason, ttlMs });
    else if (said) propose({ source, level: "normal", reason: "", ttlMs: 0 });
    said = reason !== undefined;
  };
}

function every(ms: number, look: () => void): () => void {
  const timer = setInterval(look, ms);
  timer.unref();
  return () => clearInterval(timer);
}

/** Looks at once and then again and again, never twice at the same time; what cannot be read proposes nothing. */
function everyAsync(ms: number, look: () => Promise<void>): () => void {
  let looking = false;
  const next = (): void => {
    if (looking) return;
    looking = true;
    look()
      .catch(() => undefined)
      .finally(() => {
        looking = false;
      });
  };
  next();
  return every(ms, next);
}
