/** Time, as the rest of the program is allowed to see it; the only file that touches timers, `performance` and `Date`. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never jumps back and stands still while the machine sleeps. */
  monotonicMs(): number;
  /** Wall-clock time; may jump. Use it only to label things for people. */
  wallTime(): Date;
  /** Runs `callback` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay that `setTimeout` takes without firing at once, ms; longer waits are cut into pieces. */
const MAX_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallTime: () => new Date(),
  after(delayMs, callback) {
    if (delayMs <= 0) return afterThisTurn(callback);
    let timer: ReturnType<typeof setTimeout>;
    let leftMs = delayMs;
    const arm = (): void => {
      const pieceMs = Math.min(Math.max(leftMs, 0), MAX_TIMER_MS);
      leftMs -= pieceMs;
      timer = setTimeout(() => (leftMs > 0 ? arm() : callback()), pieceMs);
    };
    arm();
    return () => clearTimeout(timer);
  },
};

/** The next turn of the event loop, after what waits for its input: the shortest timer would take a whole millisecond. */
function afterThisTurn(callback: () => void): () => void {
  const turn = setImmediate(callback);
  return () => clearImmediate(turn);
}

/** Resolves after `delayMs`, or at once when `signal` aborts (the caller reads the signal to tell which). */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
