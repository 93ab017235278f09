/** Asks the venue what an emergency close would close. Reads only, and needs neither daemon nor lockout. */
import type { CloseGoal } from "../../core/close-goal.ts";
import type { Clock } from "../../platform/clock.ts";
import type { BotPlan } from "./bot-plan.ts";
import type { Fence } from "./fence.ts";
import { runClose, type CloseEnd } from "./closing.ts";

/** Incident id of a plan: nothing is journaled or sent under it. */
const PLAN_INCIDENT = "plan00";

export interface PlanSubject {
  readonly plan: BotPlan;
  /** By what living processes of the bot are recognised; a plan only reports them. */
  readonly fence?: Fence;
}

/** The worker's report in mode `plan`. Never throws. */
export function planClose(
  subject: PlanSubject,
  { clock, env }: { readonly clock: Clock; readonly env: Readonly<Record<string, string | undefined>> },
  goal?: CloseGoal,
): Promise<CloseEnd> {
  return runClose({
    plan: subject.plan,
    mode: "plan",
    goal,
    lockout: { incident: PLAN_INCIDENT, trigger: "operator" },
    fence: subject.fence ?? [],
    env,
    clock,
    onProgress: () => {},
  });
}
