/** Judges readings of the account by `emergency.limits`: twice over a limit and the bot is fenced and its account reduced or closed. */
import {
  dailyLoss,
  endOfDay,
  exceedsExposure,
  exceedsLoss,
  lossAllowed,
  startOfDay,
  type DayStart,
} from "../../../core/exposure.ts";
import type { BotStatus } from "../../../core/status.ts";
import type { WatchAnswer } from "../../../core/watch-job.ts";
import type { Order } from "../../../core/first-act.ts";
import type { EmergencyConfig } from "../config/load.ts";
import type { GuardDeps } from "./guard.ts";

/** One reading over a limit may be the venue's slip: it is looked at again after this, ms. */
const CONFIRM_EXPOSURE_MS = 1_000;
/** The list of transfers may lag behind the balance: a loss has to last longer, ms. */
const CONFIRM_LOSS_MS = 10_000;
/** Readings in a row that tell nothing before that is an alert. */
const BLIND_READINGS = 3;

type Limits = NonNullable<EmergencyConfig["limits"]>;
export type LimitStatus = NonNullable<BotStatus["emergency"]["limits"]>;

interface Memory {
  readonly dayStart: () => DayStart | null;
  readonly lossDay: () => number | null;
  readonly keep: (fields: { readonly dayStart?: DayStart; readonly lossDay?: number }) => void;
}

export class LimitWatch {
  readonly #deps: GuardDeps;
  readonly #memory: Memory;
  #status: LimitStatus | undefined;
  #dueAtMs = Number.NEGATIVE_INFINITY;
  #blind = 0;
  /** Which limit the reading before this one was over. */
  #suspect: Order["trigger"] | undefined;
  #coolUntilMs = Number.NEGATIVE_INFINITY;

  constructor(deps: GuardDeps, memory: Memory) {
    this.#deps = deps;
    this.#memory = memory;
  }

  get status(): LimitStatus | null {
    return this.#deps.plan.config.emergency?.limits === undefined ? null : (this.#status ?? null);
  }

  get #limits(): Limits | undefined {
    return this.#deps.plan.config.emergency?.limits;
  }

  /** A reading is wanted now. */
  isDue(): boolean {
    return this.#limits !== undefined && this.#deps.clock.monotonicMs() >= this.#dueAtMs;
  }

  /** What the reading must tell of money; null: nothing. */
  get question(): { readonly sinceMs: number | null } | null {
    if (this.#limits?.maxDailyLoss === undefined) return null;
    return { sinceMs: this.#memory.dayStart()?.atMs ?? null };
  }

  /** Takes a reading in; posts the order to close where a limit was exceeded twice. */
  take(answer: WatchAnswer | { readonly failed: string }): void {
    const limits = this.#limits;
    if (limits === undefined) return;
    this.#dueAtMs = this.#deps.clock.monotonicMs() + limits.period;
    if ("failed" in answer) return this.#noteBlind(limits, answer.failed);
    const exposureKnown = limits.maxExposure === undefined || answer.exposure !== null;
    const lossKnown = limits.maxDailyLoss === undefined || answer.equity !== null;
    if (!exposureKnown || !lossKnown)
      this.#noteBlind(limits, answer.trouble ?? "the venue tells less than is needed", answer);
    else this.#noteSeen(limits, answer);
    this.#judge(limits, answer);
  }

  /** Why a person cannot end the lockout yet; `undefined`: they can. Lifting or removing the limit in the config ends the wait. */
  armRefusal(): string | undefined {
    const lossDay = this.#memory.lossDay();
    if (this.#limits?.maxDailyLoss === undefined || lossDay === null) return undefined;
    const endMs = endOfDay(lossDay);
    if (this.#deps.clock.wallTime().getTime() >= endMs) return undefined;
    return `its account lost more than emergency.limits.maxDailyLoss; it stays locked until ${new Date(endMs).toISOString()}`;
  }

  #judge(limits: Limits, answer: WatchAnswer): void {
    // Of both, for each reading that tells the equity begins the day, whatever else it shows.
    const loss = this.#lossOrder(limits, answer);
    const order = this.#exposureOrder(limits, answer) ?? loss;
    if (order === undefined) {
      this.#suspect = undefined;
      return;
    }
    const { clock, fact, suspended, booting } = this.#deps;
    if (this.#suspect !== order.trigger) {
      this.#suspect = order.trigger;
      const waitMs = order.trigger === "exposure" ? CONFIRM_EXPOSURE_MS : CONFIRM_LOSS_MS;
      this.#dueAtMs = Math.min(this.#dueAtMs, clock.monotonicMs() + waitMs);
      return fact("warn", `${order.reason}; looking again before anything is done`);
    }
    this.#suspect = undefined;
    if (suspended()) return fact("alert", `${order.reason}; nothing is done about it in maintenance`);
    // The next reading shows it again.
    if (booting()) return fact("warn", `${order.reason}; nothing is done about it in the first minute of the machine`);
    this.#coolUntilMs = clock.monotonicMs() + limits.cooldown;
    if (order.trigger === "dailyLoss") this.#memory.keep({ lossDay: this.#memory.dayStart()?.day ?? 0 });
    return this.#deps.order(order);
  }

  #exposureOrder({ maxExposure, onExposure }: Limits, { exposure }: WatchAnswer): Order | undefined {
    if (maxExposure === undefined || exposure === null || !exceedsExposure(exposure, maxExposure)) return undefined;
    if (this.#deps.clock.monotonicMs() < this.#coolUntilMs) return undefined;
    const reason = `the exposure is ${money(exposure)}, more than emergency.limits.maxExposure ${money(maxExposure)}`;
    const goal = onExposure === "reduce" ? ({ kind: "reduce", exposure: maxExposure } as const) : undefined;
    return { trigger: "exposure", reason, ...(goal === undefined ? {} : { goal }) };
  }

  #lossOrder({ maxDailyLoss }: Limits, { equity, transfers, venueMs }: WatchAnswer): Order | undefined {
    if (maxDailyLoss === undefined || equity === null) return undefined;
    const before = this.#memory.dayStart() ?? undefined;
    const start = startOfDay(before, equity, venueMs);
    if (start !== before) this.#memory.keep({ dayStart: start });
    // Of a new day nothing was moved yet; of an old one what was moved must be known.
    const moved = start === before ? transfers : 0;
    if (moved === null || !exceedsLoss(maxDailyLoss, start, equity, moved)) return undefined;
    const lost = dailyLoss(start, equity, moved);
    const allowed = lossAllowed(maxDailyLoss, start) ?? 0;
    const reason = `the account has lost ${money(lost)} since 00:00 UTC, more than emergency.limits.maxDailyLoss ${money(allowed)}`;
    return { trigger: "dailyLoss", reason };
  }

  #noteSeen(limits: Limits, answer: WatchAnswer): void {
    if (this.#blind >= BLIND_READINGS) this.#deps.fact("info", "the limits can be judged again");
    this.#blind = 0;
    this.#status = this.#statusOf(limits, answer, null);
  }

  /** Unknown is never over a limit; that nobody can tell is an alert when it lasts. */
  #noteBlind(limits: Limits, why: string, answer?: WatchAnswer): void {
    this.#blind += 1;
    if (answer === undefined) this.#suspect = undefined;
    if (this.#blind === BLIND_READINGS) this.#deps.fact("alert", `the limits cannot be judged: ${why}`);
    this.#status = this.#statusOf(limits, answer, why);
  }

  #statusOf(limits: Limits, answer: WatchAnswer | undefined, unknown: string | null): LimitStatus {
    const start = this.#memory.dayStart();
    const { maxExposure, maxDailyLoss } = limits;
    const { equity = null, transfers = null, exposure = null } = answer ?? {};
    const loss = start === null || equity === null || transfers === null ? null : dailyLoss(start, equity, transfers);
    return {
      exposure,
      maxExposure: maxExposure ?? null,
      equity,
      dailyLoss: loss,
      maxDailyLoss: maxDailyLoss === undefined || start === null ? null : (lossAllowed(maxDailyLoss, start) ?? null),
      asOf: this.#deps.clock.wallTime().toISOString(),
      unknown,
    };
  }
}

function money(amount: number): string {
  return amount.toFixed(2);
}
