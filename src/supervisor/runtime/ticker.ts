/** The daemon's heartbeat: what it does each second, each duty by itself. */
import type { Clock } from "../../platform/clock.ts";

const TICK_MS = 1_000;
/** Ticks without a failure after which it is over; one that comes and goes is told once. */
const QUIET_TICKS = 10;
/** Failures that are told apart; more of them at once are told at each tick. */
const MAX_FAILURES = 1_000;

export type Duty = () => void;

export interface TickerDeps {
  readonly clock: Clock;
  /** What is to be done at this tick; they count from 1. */
  readonly duties: (tick: number) => readonly Duty[];
  /** A bug, or the machine has nothing left: a duty has thrown. It costs neither the next duty nor the next tick. Told once while it lasts. */
  readonly onError: (error: unknown) => void;
  /** What was told has not come again for a while. */
  readonly onOver: (message: string) => void;
}

export class Ticker {
  readonly #deps: TickerDeps;
  #ticks = 0;
  #stopped = false;
  /** The last tick of each failure that was told, by its message. */
  readonly #failures = new Map<string, number>();
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
        this.#tell(error);
      }
    }
    if (this.#failures.size > 0) this.#tellOver();
    // One of the duties may have ended it.
    if (!this.#stopped) this.#cancel = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  #tell(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const isNew = !this.#failures.has(message);
    if (!isNew || this.#failures.size < MAX_FAILURES) this.#failures.set(message, this.#ticks);
    if (isNew) this.#deps.onError(error);
  }

  #tellOver(): void {
    for (const [message, tick] of this.#failures) {
      if (this.#ticks - tick < QUIET_TICKS) continue;
      this.#failures.delete(message);
      this.#deps.onOver(message);
    }
  }
}
