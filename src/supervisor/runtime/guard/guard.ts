/** What looks after one bot's account while no emergency is under way. Its workers end at once when one begins. */
import type { BotStatus } from "../../../core/status.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { Order } from "../../../core/first-act.ts";
import type { BotPlan } from "../bot-plan.ts";
import { AccountWatch } from "./account-watch.ts";
import { Preflights } from "./preflights.ts";

export interface GuardDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A fence or a close is under way. */
  readonly closing: () => boolean;
  /** The account may hold what the bot opened, and nobody wants it to rest. */
  readonly atRisk: () => boolean;
  /** Running, and every startup and liveness probe healthy. */
  readonly healthy: () => boolean;
  /** Stopped on purpose, or on its way there. */
  readonly restsByWish: () => boolean;
  /** There is maintenance. */
  readonly suspended: () => boolean;
  /** The machine is in its first minute. */
  readonly booting: () => boolean;
  /** Orders the close that a limit calls for. */
  readonly order: (order: Order) => void;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
}

type GuardStatus = Pick<BotStatus["emergency"], "preflight" | "preflightAt" | "limits" | "deadman">;

export class Guard {
  readonly preflights: Preflights;
  readonly watch: AccountWatch;

  constructor(deps: GuardDeps) {
    this.preflights = new Preflights(deps);
    this.watch = new AccountWatch(deps);
  }

  get status(): GuardStatus {
    return { ...this.preflights.status, limits: this.watch.limits.status, deadman: this.watch.deadman.status };
  }

  /** Each second. While the daemon stops, only the dead-man switch has something to do: it is disarmed. */
  tick(stopping: boolean): void {
    if (!stopping) this.preflights.tick();
    this.watch.tick();
  }

  /** An emergency begins. */
  yield(): void {
    this.preflights.yield();
    this.watch.yield();
  }

  /** Its bot was let go of: what is under way says and keeps nothing any more. */
  release(): void {
    this.preflights.yield();
    this.watch.release();
  }
}
