/**
 * The shell around the lifecycle core: turns what happens into events, and effects into deeds.
 * All deciding is in core/lifecycle.ts; this file must stay free of `if`s about policy.
 */
import { step } from "../../core/lifecycle.ts";
import type { Effect, Event, Policy, State, Timer } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Pulse } from "./pulse.ts";

/** Effects that the loop cannot carry out itself. */
export type Deed = Exclude<Effect, { kind: "setTimer" } | { kind: "clearTimer" }>;

export interface LoopDeps {
  readonly clock: Clock;
  readonly pulse: Pulse;
  /** In [0, 1). */
  readonly random: () => number;
  /** Called with each event before it is judged, also with one that changes nothing. */
  readonly heard?: (event: Event) => void;
  /** Called before the effects of a step run. */
  readonly record: (entry: { event: Event; from: State; to: State; effects: readonly Effect[] }) => void;
  /** Carries out one effect, and reports its end by `post`. */
  readonly perform: (deed: Deed) => void;
  /** A bug: `record` or `perform` has thrown. The other effects of the step are carried out all the same. */
  readonly onBug: (error: unknown) => void;
}

type Unstamped<E> = E extends Event ? Omit<E, "atMs" | "roll"> : never;
/** An event as the shell posts it; time and chance are added here. */
export type Input = Unstamped<Event>;

interface ArmedTimer {
  readonly cancel: () => void;
  readonly dueAtMs: number;
  /** Start of the generation that set it. */
  readonly generation: number;
}

export class Loop {
  #policy: Policy;
  readonly #deps: LoopDeps;
  readonly #timers = new Map<Timer, ArmedTimer>();
  readonly #queue: Input[] = [];
  readonly #watchers = new Set<() => void>();
  readonly #unlisten: () => void;
  #state: State;
  #draining = false;
  #isRetired = false;

  constructor(policy: Policy, deps: LoopDeps, first: State) {
    this.#policy = policy;
    this.#deps = deps;
    this.#state = first;
    this.#unlisten = deps.pulse.onStall((gapMs) => this.#postpone(gapMs));
  }

  get state(): State {
    return this.#state;
  }

  /** Monotonic ms at which a timer fires; `undefined` when it is not set. */
  dueAtMs(timer: Timer): number | undefined {
    return this.#timers.get(timer)?.dueAtMs;
  }

  /** Sets the clock of `closeAfter` that counts since before this loop began; `undefined` or null: none does. */
  resumeClosing(leftMs: number | null | undefined): void {
    if (leftMs !== null && leftMs !== undefined) this.#arm("closeAfter", leftMs, this.#state.generation);
  }

  /** Its bot was let go of. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Queues an event; events are handled one at a time, in order of arrival. */
  post(input: Input): void {
    if (this.#isRetired) return;
    this.#queue.push(input);
    if (this.#draining) return;
    this.#draining = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#handle(next);
    this.#draining = false;
    for (const watcher of this.#watchers) watcher();
  }

  /** A reload's policy holds from here on, also for what is counting. */
  adopt(policy: Policy): void {
    const before = this.#policy;
    this.#policy = policy;
    const clocks = ["startTimeout", "resetAfter"] as const;
    const same = clocks.every((name) => before[name] === policy[name]);
    const [old, now] = [before.emergency, policy.emergency];
    if (same && old?.closeAfter === now?.closeAfter && old?.suspended === now?.suspended) return;
    this.post({ kind: "newPolicy", before, countedMs: this.#countedMs(before) });
  }

  /** What `closeAfter` has counted so far, ms; `undefined` when it does not count. */
  #countedMs(before: Policy): number | undefined {
    const dueAtMs = this.dueAtMs("closeAfter");
    if (dueAtMs === undefined || before.emergency === undefined) return undefined;
    return before.emergency.closeAfter - (dueAtMs - this.#deps.clock.monotonicMs());
  }

  /** Resolves true when `reached` holds, false after `timeoutMs`; for commands that answer when the deed is done. */
  settles(reached: (state: State) => boolean, timeoutMs: number): Promise<boolean> {
    if (reached(this.#state)) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (answer: boolean): void => {
        cancel();
        this.#watchers.delete(watcher);
        resolve(answer);
      };
      const watcher = (): void => {
        if (reached(this.#state)) finish(true);
      };
      const cancel = this.#deps.clock.after(timeoutMs, () => finish(false));
      this.#watchers.add(watcher);
    });
  }

  /** Cancels every timer; the loop decides nothing by itself any more. */
  close(): void {
    this.#unlisten();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  /**
   * As `close`, and nothing that still arrives is heard: another bot may have the name, the files and the account by now, and what a command
   * or a worker that was under way asks for would be done to it.
   */
  retire(): void {
    this.#isRetired = true;
    this.close();
  }

  #handle(input: Input): void {
    // A standstill is noticed before the event that ends it: what the event sets is not moved with the old deadlines.
    this.#deps.pulse.beat();
    // Safe: adding the two stamps to an unstamped event gives that event back.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const event = { ...input, atMs: this.#deps.clock.monotonicMs(), roll: this.#deps.random() } as Event;
    this.#deps.heard?.(event);
    const from = this.#state;
    const { state, effects } = step(this.#policy, from, event);
    if (state === from && effects.length === 0) return;
    this.#state = state;
    this.#record({ event, from, to: state, effects });
    for (const effect of effects) this.#carryOut(effect);
  }

  #record(entry: Parameters<LoopDeps["record"]>[0]): void {
    try {
      this.#deps.record(entry);
    } catch (error) {
      this.#deps.onBug(error);
    }
  }

  /** One effect that throws must not keep the next from being done, nor the loop from its next event. */
  #carryOut(effect: Effect): void {
    try {
      this.#do(effect);
    } catch (error) {
      this.#deps.onBug(error);
    }
  }

  #do(effect: Effect): void {
    if (effect.kind === "setTimer") return this.#arm(effect.timer, effect.delayMs, this.#state.generation);
    if (effect.kind === "clearTimer") return this.#clearTimer(effect.timer);
    return this.#deps.perform(effect);
  }

  #arm(timer: Timer, delayMs: number, generation: number): void {
    this.#clearTimer(timer);
    const cancel = this.#deps.clock.after(delayMs, () => {
      // A deadline that comes up after the daemon itself stood still is moved, together with all others.
      if (this.#deps.pulse.beat()) return;
      this.#timers.delete(timer);
      this.post({ kind: "elapsed", timer, generation });
    });
    this.#timers.set(timer, { cancel, dueAtMs: this.#deps.clock.monotonicMs() + delayMs, generation });
  }

  #postpone(gapMs: number): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [timer, { dueAtMs, generation }] of new Map(this.#timers))
      this.#arm(timer, Math.max(0, dueAtMs + gapMs - nowMs), generation);
  }

  #clearTimer(timer: Timer): void {
    this.#timers.get(timer)?.cancel();
    this.#timers.delete(timer);
  }
}
