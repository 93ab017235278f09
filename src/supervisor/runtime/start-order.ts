/** Starts and stops the bots of one daemon in the order of their lists `after`: at its start each after those, at its end before them. */
import { judgeWait } from "../../core/start-order.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Bot } from "./bot.ts";
import { isReady } from "./bot-status.ts";

export class StartOrder {
  readonly #clock: Clock;
  readonly #bots: ReadonlyMap<string, Bot>;
  /** Since when each bot does not wait any more, monotonic ms. */
  readonly #sinceMs: Map<string, number>;
  #looking = false;
  #closed = false;

  /** All bots have begun: those that `waitsFor` others are started from here on. */
  constructor(bots: ReadonlyMap<string, Bot>, clock: Clock) {
    this.#bots = bots;
    this.#clock = clock;
    this.#sinceMs = new Map([...bots.keys()].map((name) => [name, clock.monotonicMs()]));
    for (const bot of this.#waiting()) bot.fact("info", `not started yet: waits for ${bot.turn.waitsFor.join(", ")}`);
    this.poke();
  }

  /** Something may have changed: looks in the next turn of the loop, since it is told from the midst of a change. */
  poke(): void {
    if (this.#looking || this.#closed || !this.#anyWaits()) return;
    this.#looking = true;
    this.#clock.after(0, () => {
      this.#looking = false;
      this.look();
    });
  }

  /** Starts whom nothing holds any more; to be called each second too, since time alone ends a wait. */
  look(): void {
    if (this.#closed) return;
    const nowMs = this.#clock.monotonicMs();
    const waiting = this.#waiting();
    for (const bot of waiting) this.#sinceMs.set(bot.plan.name, nowMs);
    for (const bot of waiting) {
      const open = bot.turn.waitsFor.filter((name) => this.#holds(bot, name, nowMs));
      if (open.length === bot.turn.waitsFor.length) continue;
      bot.turn.waitsFor = open;
      if (open.length === 0) bot.turn.come();
    }
  }

  /** The daemon ends: nothing is started any more. */
  close(): void {
    this.#closed = true;
  }

  /** Asked at each change of each bot. */
  #anyWaits(): boolean {
    for (const bot of this.#bots.values()) if (bot.turn.waitsFor.length > 0) return true;
    return false;
  }

  #waiting(): readonly Bot[] {
    return [...this.#bots.values()].filter((bot) => bot.turn.waitsFor.length > 0);
  }

  #holds(bot: Bot, name: string, nowMs: number): boolean {
    const other = this.#bots.get(name);
    if (other === undefined) return false;
    const verdict = judgeWait(
      {
        state: other.loop.state.kind,
        ready: isReady(other),
        waits: other.turn.waitsFor.length > 0,
        sinceMs: this.#sinceMs.get(name) ?? nowMs,
        startTimeoutMs: other.plan.policy.startTimeout,
      },
      nowMs,
    );
    if (verdict.kind === "over") bot.fact("warn", `does not wait for ${name} any longer: it ${verdict.reason}`);
    return verdict.kind === "wait";
  }
}

/**
 * Stops each bot once those that come after it are down; when `hurried` resolves, the rest at once. `stop` asks one to stop
 * and resolves within a bound of its own.
 */
export async function stopInOrder(
  bots: readonly Bot[],
  stop: (bot: Bot) => Promise<void>,
  hurried: Promise<void>,
): Promise<void> {
  const stops = new Map<string, Promise<void>>();
  const stopOne = (bot: Bot): Promise<void> => {
    const { name } = bot.plan;
    const begun = stops.get(name);
    if (begun !== undefined) return begun;
    const later = bots.filter((other) => other.plan.config.after.includes(name)).map(stopOne);
    const stopping = later.length === 0 ? stop(bot) : Promise.race([Promise.all(later), hurried]).then(() => stop(bot));
    stops.set(name, stopping);
    return stopping;
  };
  await Promise.all(bots.map(stopOne));
}
