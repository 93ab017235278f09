/**
 * Takes bots into the fleet in a reload. What cannot be had, as for want of descriptors, memory or room, nobody supervises: it is said, and
 * tried again until it can.
 */
import type { Order } from "../../../core/first-act.ts";
import type { CarriedBot } from "../../../core/upgrade.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { Bot } from "../bot.ts";
import type { BotConfig, LoadedConfig } from "../config/load.ts";
import type { Fleet } from "../fleet.ts";
import { surveyBots, type Remains } from "../survey.ts";
import { collision } from "./refusals.ts";

/** What is kept in mind of a bot that was let go of. */
export interface Left {
  readonly name: string;
  /** Monotonic ms as of which it is. */
  readonly atMs: number;
  /** `undefined`: `autostart` says it. */
  readonly wanted: boolean | undefined;
  readonly waitsFor: readonly string[];
  /** As in `StartTurn`. */
  readonly keptDown?: string | undefined;
  /** It was halted, and is to be so again. */
  readonly halted?: CarriedBot | undefined;
  /** What its `closeAfter` has counted, where it was not halted. */
  readonly counted?: CarriedBot | undefined;
  /** An order to close everything that came while nobody was there to obey it. */
  readonly order?: Order | undefined;
  /** Why it stays. */
  readonly error?: string;
}

/** A bot that is there now, and is not begun. */
export interface Taken {
  readonly bot: Bot;
  readonly was: Left | undefined;
}

export interface IntakeDeps {
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly stopping: () => boolean;
}

interface Missing {
  readonly left: Left | undefined;
  readonly reason: string;
  order: Order | undefined;
}

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #missing = new Map<string, Missing>();

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
  }

  /** Which bots are missing, and why, for people; null: none is. */
  get trouble(): string | null {
    const each = [...this.#missing].map(([name, { reason }]) => `${name} (${reason})`);
    return each.length === 0 ? null : `not supervised, as a reload could not take it in: ${each.join("; ")}`;
  }

  /** Who is missing. */
  get names(): readonly string[] {
    return [...this.#missing.keys()];
  }

  /** Why the bot is missing; `undefined`: it is not. */
  reasonOf(name: string): string | undefined {
    return this.#missing.get(name)?.reason;
  }

  /** An order that every bot was given: those that are missing obey it when they come. */
  noteOrder(order: Order): void {
    for (const missing of this.#missing.values()) missing.order = order;
  }

  /** Takes `coming` in, of which `left` was let go of; why some could not be, by name. They are missing from here on. Never throws. */
  take(
    { dirs, config }: LoadedConfig,
    coming: readonly BotConfig[],
    left: ReadonlyMap<string, Left>,
  ): { readonly taken: readonly Taken[]; readonly failed: ReadonlyMap<string, string> } {
    const { fleet, clock, stopping } = this.#deps;
    for (const name of this.#missing.keys()) if (config.bots[name] === undefined) this.#missing.delete(name);
    const configured = new Set([...Object.keys(config.bots), ...fleet.bots.keys()]);
    const taken: Taken[] = [];
    const failed = new Map<string, string>();
    let remains: readonly Remains[] | undefined;
    for (const each of coming) {
      const was = asOf(left.get(each.name) ?? this.#leftOf(each.name), clock.monotonicMs());
      try {
        const obstacle = stopping() ? "the supervisor is stopping" : collision(each, fleet);
        if (obstacle !== undefined) throw new Error(obstacle);
        remains ??= surveyBots(dirs);
        taken.push({ bot: fleet.add(each, { remains, configured, carried: was?.halted ?? was?.counted }), was });
        this.#missing.delete(each.name);
      } catch (cause) {
        const reason = messageOf(cause);
        this.#missing.set(each.name, { left: was, reason, order: was?.order });
        const hope = "; nobody supervises it until it can be taken in, which is tried every 10 s";
        failed.set(each.name, `${reason}${stopping() ? "" : hope}`);
      }
    }
    return { taken, failed };
  }

  /** Tries those that are missing again and begins them; `say` hears of each that is there now, and of each new reason. Never throws. */
  retry(loaded: LoadedConfig, say: (level: "info" | "alert", text: string) => void): void {
    const before = new Map([...this.#missing].map(([name, { reason }]) => [name, reason]));
    const coming = [...before.keys()].flatMap((name) => loaded.config.bots[name] ?? []);
    const { taken, failed } = this.take(loaded, coming, new Map());
    for (const [name, text] of failed)
      if (this.reasonOf(name) !== before.get(name)) say("alert", `bot ${name} is still not taken in: ${text}`);
    for (const each of taken) {
      const { name } = each.bot.plan;
      say("info", `bot ${name} is taken in now`);
      const broken = beginTaken(each, undefined);
      if (broken !== undefined) say("alert", `bot ${name}: ${broken}`);
    }
  }

  #leftOf(name: string): Left | undefined {
    const missing = this.#missing.get(name);
    if (missing === undefined) return undefined;
    const { order, left = { name, atMs: 0, wanted: undefined, waitsFor: [] } } = missing;
    return { ...left, order };
  }
}

/** The same at `nowMs`: its `closeAfter` has counted meanwhile, also while others were waited for. */
function asOf(left: Left | undefined, nowMs: number): Left | undefined {
  if (left === undefined) return undefined;
  const passedMs = nowMs - left.atMs;
  return { ...left, atMs: nowMs, halted: later(left.halted, passedMs), counted: later(left.counted, passedMs) };
}

function later(carried: CarriedBot | undefined, passedMs: number): CarriedBot | undefined {
  const leftMs = carried?.closeAfterLeftMs ?? null;
  if (carried === undefined || leftMs === null) return carried;
  return { ...carried, closeAfterLeftMs: Math.max(0, leftMs - passedMs) };
}

/**
 * First acts of a bot that was taken in, which goes on as the one before it was left; `order`: one that came meanwhile for all. What
 * broke, if something did, which costs no other bot its beginning; `undefined`: nothing.
 */
export function beginTaken({ bot, was }: Taken, order: Order | undefined): string | undefined {
  const { wanted, waitsFor = [], keptDown, halted } = was ?? {};
  try {
    bot.begin({
      emergency: order ?? was?.order,
      ...(halted === undefined && wanted !== undefined ? { wanted, waitsFor } : {}),
    });
    // The stop of the old one has ended that.
    if (keptDown !== undefined) bot.turn.keptDown = keptDown;
    return undefined;
  } catch (cause) {
    return `internal error: its beginning broke off: ${messageOf(cause)}; it is ${bot.loop.state.kind}, and obeys commands`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
