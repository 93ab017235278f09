/** How long each state may last in the simulated world, ms: every state that is not final is left in bounded time. */
import { CLOSE_RETRY_MS, retriesByItself } from "../../src/core/ladder.ts";
import { EXTEND_LIMIT_FACTOR, SWEEP_RETRY_MS } from "../../src/core/lifecycle-moves.ts";
import type { Policy, State } from "../../src/core/lifecycle-types.ts";
import { KILL_GRACE_MS } from "../../src/supervisor/runtime/bot-plan.ts";
import { UNKILLABLE_MS } from "./machine.ts";
import { WORK_MS } from "./venue.ts";

/** What the made-up machine needs beyond the program's own timeouts: late words of the kernel, slow looks, ms. */
const SLACK_MS = 3_000;
/** Three tries of a worker, each of which may wait for those that dead daemons left behind. */
const CLOSE_MS = 3 * (KILL_GRACE_MS + 4 * (WORK_MS + SLACK_MS));
const FOREVER_MS = Number.POSITIVE_INFINITY;

export function stateBoundMs(
  policy: Policy,
  state: State,
  { mainLives, acknowledged }: { mainLives: boolean; acknowledged: boolean },
): number {
  switch (state.kind) {
    case "starting":
      return mainLives ? EXTEND_LIMIT_FACTOR * policy.startTimeout + SLACK_MS : SLACK_MS;
    case "stopping":
      return state.phase === "kill" ? KILL_GRACE_MS + SLACK_MS : EXTEND_LIMIT_FACTOR * policy.stopTimeout + SLACK_MS;
    case "backoff":
      return policy.backoff.cap + SLACK_MS;
    case "recovering":
      return CLOSE_MS;
    case "stuck":
      return UNKILLABLE_MS + SWEEP_RETRY_MS + KILL_GRACE_MS + SLACK_MS;
    case "locked":
      // A person who knows of it has ended the rounds.
      return retriesByItself(state.outcome) && !acknowledged ? CLOSE_RETRY_MS + SLACK_MS : FOREVER_MS;
    case "running":
      // The kernel's word of the end is on its way.
      return mainLives ? FOREVER_MS : SLACK_MS;
    case "halted":
      return policy.emergency === undefined ? FOREVER_MS : policy.emergency.closeAfter + SLACK_MS;
    case "stopped":
      return FOREVER_MS;
  }
}

/** Whether the account has positions that nobody looks after and that nobody has asked for to be left alone. */
export function waitsForGood(state: State): boolean {
  switch (state.kind) {
    case "starting":
    case "backoff":
    case "halted":
      return true;
    case "running":
      return state.health === "unhealthy";
    case "stopping":
    case "stuck":
      return state.after.kind === "restart" || state.after.kind === "halt";
    case "stopped":
    case "recovering":
    case "locked":
      return false;
  }
}
