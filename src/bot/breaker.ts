/** Circuit breaker around calls: it measures and counts them, and rejects them while the service is down. Decisions are in core/circuit.ts. */
import { breakerConfig, type BreakerConfig, type BreakerTotals } from "../core/circuit-parts.ts";
import { Circuit, REJECTED, type BreakerState } from "../core/circuit.ts";
import type { CallVerdict } from "../core/call-error.ts";
import { CircuitOpenError, judgeError, retryAfterMsOf } from "./errors.ts";
import type { BreakerStore } from "./ports.ts";
import { turnMs } from "./turn-clock.ts";

/** What a breaker is connected to; every part has a default. */
export interface BreakerWiring {
  /** Keeps it over restarts; without one it starts closed. */
  readonly store?: BreakerStore;
  /** What an error means for the breaker; default: `judgeError`, the map of ccxt's classes. */
  readonly judge?: (error: unknown) => Pick<CallVerdict, "breaker">;
  /** How long the service wants us to wait, ms; default: `retryAfterMsOf`. */
  readonly retryAfterMs?: (error: unknown, wallMs: number) => number | undefined;
  /** Where errors of hooks and of the store go; default: a warning of the process. */
  readonly onError?: (error: unknown) => void;
  /** Monotonic time, ms. */
  readonly now?: () => number;
  /** Wall time, ms since 1970 UTC. */
  readonly wallNow?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface BreakerChange {
  readonly name: string;
  readonly from: BreakerState;
  readonly to: BreakerState;
  readonly reason: string | null;
  /** As of CircuitOpenError. */
  readonly retryAfterMs: number | undefined;
  /** Openings in a row. */
  readonly attempt: number;
}

export interface BreakerStats extends BreakerTotals {
  readonly name: string;
  readonly state: BreakerState;
  readonly reason: string | null;
  readonly retryAfterMs: number | undefined;
  readonly attempt: number;
  readonly consecutive: number;
  /** Calls in the rolling window, and the share of them that failed; 0 where there are none. */
  readonly windowCalls: number;
  readonly failureRate: number;
  /** Rejected among all that asked; 0 where none has. */
  readonly rejectionRate: number;
}

/** One call that was let through by `tryEnter`. Only the first way to end it counts. */
export interface Passage {
  /** The call is over: it has failed with `error`, or worked when nothing is given. */
  exit(error?: unknown): void;
  /** The caller gave up; that counts neither way. */
  abandon(): void;
}

/** Changes are saved at once, counts this often at most, ms. */
const SAVE_EVERY_MS = 30_000;

export class Breaker {
  readonly name: string;
  readonly config: BreakerConfig;
  readonly #circuit: Circuit;
  readonly #wiring: BreakerWiring;
  readonly #now: () => number;
  /** For calls that wait, while closed; else the exact time: a loop that only gets rejections must see the time pass. */
  readonly #turnMs: () => number;
  readonly #hooks = new Set<(change: BreakerChange) => void>();
  #saveDueMs = Number.POSITIVE_INFINITY;
  #lastError: unknown;

  constructor(name: string, config: Partial<BreakerConfig> = {}, wiring: BreakerWiring = {}) {
    const checked = breakerConfig(config);
    if (!("openMs" in checked)) throw new Error(`cannot make breaker ${name}: ${checked.join("; ")}`);
    this.name = name;
    this.config = checked;
    this.#wiring = wiring;
    this.#now = wiring.now ?? monotonicMs;
    this.#turnMs = wiring.now ?? turnMs;
    this.#circuit = new Circuit(checked);
    this.#draw();
    if (wiring.store !== undefined) this.#load(wiring.store);
  }

  get state(): BreakerState {
    return this.#circuit.state;
  }

  /** Calls `fn` and answers as it does; rejects with CircuitOpenError without calling it while open. */
  call<T>(fn: () => PromiseLike<T> | T): Promise<T> {
    const closed = this.#circuit.state === "closed";
    const from = closed ? this.#turnMs() : this.#now();
    // Nothing changes by a call that is let through while closed.
    const permit = closed ? this.#circuit.enter(from) : this.#enter(from);
    // Safe: it is a CircuitOpenError.
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors
    if (permit === REJECTED) return Promise.reject(this.#rejection(from));
    let result;
    try {
      result = fn();
    } catch (error) {
      this.#failed(permit, from, error);
      // Safe: whatever `fn` has thrown is the caller's.
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors
      return Promise.reject(error);
    }
    return this.#settle(result, permit, from);
  }

  /** The same for what answers at once. */
  callSync<T>(fn: () => T): T {
    const from = this.#now();
    const permit = this.#enter(from);
    if (permit === REJECTED) throw this.#rejection(from);
    let result: T;
    try {
      result = fn();
    } catch (error) {
      this.#failed(permit, from, error);
      throw error;
    }
    this.#succeeded(permit, from, this.#now());
    return result;
  }

  /** A function that does what `fn` does, through the breaker. `this` and arguments are passed on. */
  wrap<This, A extends unknown[], T>(
    fn: (this: This, ...args: A) => PromiseLike<T> | T,
  ): (this: This, ...args: A) => Promise<T> {
    // Safe: the function below has a `this` of its own, the caller's.
    // oxlint-disable-next-line typescript/no-this-alias
    const breaker = this;
    return function guarded(this: This, ...args: A): Promise<T> {
      return breaker.call(() => fn.apply(this, args));
    };
  }

  /** For calls that have no function around them: `undefined` when it is not let through. */
  tryEnter(): Passage | undefined {
    const from = this.#now();
    const permit = this.#enter(from);
    if (permit === REJECTED) return undefined;
    let open = true;
    const once = (end: () => void): void => {
      if (open) end();
      open = false;
    };
    return {
      exit: (...given) =>
        once(() =>
          given[0] === undefined ? this.#succeeded(permit, from, this.#now()) : this.#failed(permit, from, given[0]),
        ),
      abandon: () => once(() => this.#moved((atMs) => this.#circuit.abandon(permit, atMs))),
    };
  }

  /** The error that a call gets now; for those who use `tryEnter`. */
  rejection(): CircuitOpenError {
    return this.#rejection(this.#now());
  }

  /** Opens it: for as long as the service has asked for, else as after a failure. */
  trip(retryAfterMs?: number, reason = "tripped"): void {
    this.#moved((atMs) => this.#circuit.trip(atMs, retryAfterMs, reason));
  }

  /** Closed, with nothing counted but the totals; also ends `disable` and `forceOpen`. */
  reset(): void {
    this.#moved(() => this.#circuit.reset());
  }

  /** Lets everything through until `reset`. */
  disable(reason = "disabled"): void {
    this.#moved(() => this.#circuit.disable(reason));
  }

  /** Lets nothing through until `reset`. */
  forceOpen(reason: string): void {
    this.#moved(() => this.#circuit.forceOpen(reason));
  }

  /** Calls `hook` after each change of state; an error of it changes nothing. Returns what ends that. */
  onStateChange(hook: (change: BreakerChange) => void): () => void {
    this.#hooks.add(hook);
    return () => this.#hooks.delete(hook);
  }

  /** As of CircuitOpenError; 0 while closed. */
  retryAfterMs(): number | undefined {
    return this.#circuit.retryAfterMs(this.#now());
  }

  stats(): BreakerStats {
    const circuit = this.#circuit;
    const { totals, state, reason, attempt, consecutive } = circuit;
    const { calls, failures } = circuit.windowAt(this.#now());
    const asked = totals.calls + totals.rejected;
    return {
      name: this.name,
      state,
      reason,
      attempt,
      consecutive,
      retryAfterMs: this.retryAfterMs(),
      windowCalls: calls,
      failureRate: calls === 0 ? 0 : failures / calls,
      rejectionRate: asked === 0 ? 0 : totals.rejected / asked,
      ...totals,
    };
  }

  #enter(atMs: number): number {
    const before = this.#circuit.state;
    const permit = this.#circuit.enter(atMs);
    if (this.#circuit.state !== before) this.#changed(before, atMs);
    return permit;
  }

  #settle<T>(result: PromiseLike<T> | T, permit: number, from: number): Promise<T> {
    if (!(result instanceof Promise)) {
      if (isThenable(result)) return this.#settle(Promise.resolve(result), permit, from);
      this.#succeeded(permit, from, this.#now());
      return Promise.resolve(result);
    }
    // No async function here: each costs a frame and a turn of the queue per call.
    return result.then(
      (value: T) => {
        this.#succeeded(permit, from, this.#turnMs());
        return value;
      },
      (error: unknown) => {
        this.#failed(permit, from, error);
        throw error;
      },
    );
  }

  #succeeded(permit: number, from: number, atMs: number): void {
    const circuit = this.#circuit;
    const before = circuit.state;
    circuit.succeed(permit, atMs - from, atMs);
    if (circuit.state !== before || atMs >= this.#saveDueMs) this.#changed(before, atMs);
  }

  #failed(permit: number, from: number, error: unknown): void {
    const verdict = this.#judge(error);
    this.#moved((atMs) => {
      const circuit = this.#circuit;
      if (verdict === "ignore") circuit.ignore(permit, atMs);
      else if (verdict === "abandon") circuit.abandon(permit, atMs);
      else {
        this.#lastError = error;
        circuit.fail(permit, atMs - from, atMs, `with ${nameOf(error)}`);
        if (verdict === "trip") circuit.trip(atMs, this.#wishOf(error), `the service asks for fewer calls`);
      }
    });
  }

  #judge(error: unknown): CallVerdict["breaker"] {
    try {
      return (this.#wiring.judge ?? judgeError)(error).breaker;
    } catch (fault) {
      this.#report(fault);
      return "failure";
    }
  }

  #wishOf(error: unknown): number | undefined {
    return (this.#wiring.retryAfterMs ?? retryAfterMsOf)(error, this.#wallMs());
  }

  #moved(move: (atMs: number) => void): void {
    const atMs = this.#now();
    const before = this.#circuit.state;
    move(atMs);
    this.#changed(before, atMs);
  }

  /** After the circuit has moved: saves it, then tells, in this order, so that a hook sees what is true. */
  #changed(before: BreakerState, atMs: number): void {
    const { state, reason, attempt } = this.#circuit;
    if (state !== before || atMs >= this.#saveDueMs) this.#save(atMs);
    if (state === before) return;
    if (state === "open") this.#draw();
    if (this.#hooks.size === 0) return;
    const retryAfterMs = this.#circuit.retryAfterMs(atMs);
    const change: BreakerChange = { name: this.name, from: before, to: state, reason, retryAfterMs, attempt };
    for (const hook of this.#hooks) {
      try {
        hook(change);
      } catch (error) {
        this.#report(error);
      }
    }
  }

  #rejection(atMs: number): CircuitOpenError {
    const { state, reason } = this.#circuit;
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    const error = new CircuitOpenError(this.name, state, this.#circuit.retryAfterMs(atMs), reason, this.#lastError);
    Error.stackTraceLimit = limit;
    return error;
  }

  #load(store: BreakerStore): void {
    const atMs = this.#now();
    try {
      const saved = store.load(this.name);
      if (saved !== undefined) this.#circuit.restore(saved, atMs, this.#wallMs());
    } catch (error) {
      this.#report(error);
    }
    this.#saveDueMs = atMs + SAVE_EVERY_MS;
  }

  #save(atMs: number): void {
    if (this.#wiring.store === undefined) return;
    this.#saveDueMs = atMs + SAVE_EVERY_MS;
    try {
      this.#wiring.store.save(this.name, this.#circuit.save(atMs, this.#wallMs()));
    } catch (error) {
      this.#report(error);
    }
  }

  #draw(): void {
    this.#circuit.roll = (this.#wiring.random ?? Math.random)();
  }

  #wallMs(): number {
    return (this.#wiring.wallNow ?? Date.now)();
  }

  #report(error: unknown): void {
    if (this.#wiring.onError === undefined) process.emitWarning(error instanceof Error ? error : String(error));
    else this.#wiring.onError(error);
  }
}

function monotonicMs(): number {
  return performance.now();
}

function isThenable<T>(value: PromiseLike<T> | T): value is PromiseLike<T> {
  return (
    value instanceof Promise ||
    (typeof value === "object" && value !== null && "then" in value && typeof value.then === "function")
  );
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "an error";
}
