/**
 * The latest heartbeat and progress of one generation, and how long each has been silent.
 *
 * A heartbeat says "my loop turns"; progress says "my work moves on": a bot may send the one and lack the other,
 * so they are kept apart (systemd knows only the first, as `WATCHDOG=1`; the second is `X_PROGRESS=`).
 */

/** The longest progress value that is kept, in characters: it is shown in status, so it must stay a label. */
export const MAX_PROGRESS_CHARS = 256;

/** What one generation has said of itself; all times are monotonic ms, `undefined` before the first word. */
export interface LifeSigns {
  readonly heartbeatAtMs: number | undefined;
  /** When the progress value last changed. */
  readonly progressAtMs: number | undefined;
  /** The value itself, at most `MAX_PROGRESS_CHARS` long. */
  readonly progressValue: string | undefined;
}

export const noLifeSigns: LifeSigns = { heartbeatAtMs: undefined, progressAtMs: undefined, progressValue: undefined };

/** Notes a heartbeat; one that is read late never moves the latest back. */
export function noteHeartbeat(signs: LifeSigns, atMs: number): LifeSigns {
  return { ...signs, heartbeatAtMs: latest(signs.heartbeatAtMs, atMs) };
}

/** Notes a progress value. The same value again is no progress and changes nothing. */
export function noteProgress(signs: LifeSigns, value: string, atMs: number): LifeSigns {
  const bounded = boundProgress(value);
  if (bounded === signs.progressValue) return signs;
  return { ...signs, progressValue: bounded, progressAtMs: latest(signs.progressAtMs, atMs) };
}

/** Milliseconds without a sign, counted from the later of `armedAtMs` and `lastAtMs`; never negative. */
export function silenceMs(armedAtMs: number, lastAtMs: number | undefined, nowMs: number): number {
  return Math.max(0, nowMs - Math.max(armedAtMs, lastAtMs ?? armedAtMs));
}

function latest(knownAtMs: number | undefined, atMs: number): number {
  return knownAtMs === undefined ? atMs : Math.max(knownAtMs, atMs);
}

/** Keeps short values as they are; a long one keeps its start and a hash of the whole, so that a change at its end still counts. */
function boundProgress(value: string): string {
  if (value.length <= MAX_PROGRESS_CHARS) return value;
  const tail = `…${value.length}-${fnv1a(value)}`;
  return value.slice(0, MAX_PROGRESS_CHARS - tail.length) + tail;
}

/** 32-bit FNV-1a over UTF-16 units, as hex (http://www.isthe.com/chongo/tech/comp/fnv/). */
function fnv1a(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}
