/** What looks after one bot's account while no emergency is under way. Its workers end at once when one begins. */
import type { BotStatus } from "../../../core/status.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { BotPlan } from "../bot-plan.ts";
import { Preflights } from "./preflights.ts";

export interface GuardDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A fence or a close is under way. */
  readonly closing: () => boolean;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
}

export class Guard {
  readonly preflights: Preflights;

  constructor(deps: GuardDeps) {
    this.preflights = new Preflights(deps);
  }

  get status(): Pick<BotStatus["emergency"], "preflight" | "preflightAt"> {
    return this.preflights.status;
  }

  /** Each second, while the daemon is not stopping. */
  tick(): void {
    this.preflights.tick();
  }

  /** An emergency begins, or the daemon ends. */
  yield(): void {
    this.preflights.yield();
  }
}
