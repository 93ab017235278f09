/** The daemon's heartbeat: what it does each second, each duty by itself. */
import type { Clock } from "../../platform/clock.ts";

const TICK_MS = 1_000;

export type Duty = () => void;

export interface TickerDeps {
  readonly clock: Clock;
  /** What is to be done at this tick; they count from 1. */
  readonly duties: (tick: number) => readonly Duty[];
  /** A bug: a duty has thrown. It costs neither the next duty nor the next tick. */
  readonly onError: (error: unknown) => void;
}

export class Ticker {
  readonly #deps: TickerDeps;
  #ticks = 0;
  #stopped = false;
  #cancel = (): void => {};

  constructor(deps: TickerDeps) {
    this.#deps = deps;
  }

  /** Ticks at once, and a second after the end of each tick. */
  start(): void {
    this.#tick();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #tick(): void {
    this.#ticks += 1;
    for (const duty of this.#deps.duties(this.#ticks)) {
      try {
        duty();
      } catch (error) {
        this.#deps.onError(error);
      }
    }
    // One of the duties may have ended it.
    if (!this.#stopped) this.#cancel = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }
}
