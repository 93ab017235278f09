/** The clocks, timers and chance that calls are made with; a test gives its own. */

export interface Machine {
  /** Monotonic time, ms. */
  readonly now: () => number;
  /** Wall time, ms since 1970 UTC. */
  readonly wallNow: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Calls `fn` once after `ms`; the returned function calls that off. */
  readonly after: (ms: number, fn: () => void) => () => void;
}

export const realMachine: Machine = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  random: () => Math.random(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};

/** Waits; false when `signal` ended the wait. Never rejects. */
export function sleep(machine: Machine, ms: number, signal?: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (signal?.aborted === true) return Promise.resolve(false);
  const end = (slept: boolean): void => {
    cancel();
    signal?.removeEventListener("abort", onAbort);
    resolve(slept);
  };
  const onAbort = (): void => end(false);
  const cancel = machine.after(ms, () => end(true));
  signal?.addEventListener("abort", onAbort, { once: true });
  return promise;
}

/** A call with an end: what it answered, and when it is really over, which may be later than its deadline or never. */
export interface BoundedCall<T> {
  readonly result: Promise<T>;
  /** Resolves when the call itself has ended, however; never rejects. */
  readonly over: Promise<void>;
}

/**
 * Calls `op` with a signal that is aborted after `timeoutMs` or with `outer`, and does not wait for an `op` that ignores
 * it: `result` then rejects with a TimeoutError, or with an AbortError. `op` is not called once `outer` is aborted.
 */
export function callBounded<T>(
  machine: Machine,
  op: (signal: AbortSignal) => PromiseLike<T> | T,
  timeoutMs: number,
  outer?: AbortSignal,
): BoundedCall<T> {
  if (outer?.aborted === true) {
    const aborted = new DOMException("the call was aborted before it was made", "AbortError");
    return { result: Promise.reject(aborted), over: Promise.resolve() };
  }
  const { promise: result, resolve, reject } = Promise.withResolvers<T>();
  const controller = new AbortController();
  const stop = (error: DOMException): void => {
    controller.abort(error);
    reject(error);
  };
  const onAbort = (): void => stop(new DOMException("the call was aborted", "AbortError"));
  const cancel = machine.after(timeoutMs, () =>
    stop(new DOMException(`no answer within ${timeoutMs} ms`, "TimeoutError")),
  );
  outer?.addEventListener("abort", onAbort, { once: true });
  const call = new Promise<T>((settle) => {
    settle(op(controller.signal));
  });
  const over = call.then(resolve, reject).finally(() => {
    cancel();
    outer?.removeEventListener("abort", onAbort);
  });
  return { result, over };
}
