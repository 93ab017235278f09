/** What a person does after a close, by how it ended; one sentence for the report. */
import type { CloseGoal } from "./close-goal.ts";
import type { CloseJob, CloseOutcome } from "./close-job.ts";

const NEXT: Readonly<Record<CloseOutcome, (bot: string) => string>> = {
  flat: (bot) => `find out why the bot failed, then: supervisor arm ${bot} --reason TEXT`,
  cancelled: () => "the positions and their stops are as they were: decide what becomes of them",
  reduced: () => "the rest of the position is still open: decide what becomes of it",
  residual: (bot) =>
    `look at the account at the venue and close the rest by hand; it is tried again by itself until: supervisor emergency ack ${bot} --reason TEXT`,
  foreign: (bot) => `find and stop what else trades on this account, then: supervisor emergency close ${bot}`,
  refused: () => "remove what the reason names, then close again; nothing was sent",
  keyRefused: () => "repair key, secret, passphrase, rights or allowed addresses at the venue; close by hand meanwhile",
  unreadable: () => "look at the account at the venue by hand: nobody knows what is open; it is tried again by itself",
  unsupported: () => "close by hand, and give the bot a driver that can",
  internal: () => "look at the account at the venue by hand, keep the incident's files, and report the mistake",
  planNotEmpty: (bot) => `nothing was changed; to do it: supervisor emergency close ${bot}`,
};

/** Of a plan, which has changed nothing and is followed by nothing. */
const AFTER_PLAN: Readonly<Partial<Record<CloseOutcome, string>>> = {
  flat: "nothing is open: there is nothing to do",
  cancelled: "there is nothing to cancel",
  reduced: "there is nothing to reduce",
  refused: "remove what the reason names, then look again",
  unreadable: "look at the account at the venue by hand: nobody knows what is open",
  keyRefused: "repair key, secret, passphrase, rights or allowed addresses at the venue",
};

interface Ended {
  readonly outcome: CloseOutcome;
  readonly bot: string;
  readonly mode: CloseJob["mode"];
  readonly goal?: CloseGoal | undefined;
}

export function nextStep({ outcome, bot, mode, goal }: Ended): string {
  const planned = mode === "plan" ? AFTER_PLAN[outcome] : undefined;
  return planned ?? `${NEXT[outcome](bot)}${outcome === "planNotEmpty" ? optionOf(goal) : ""}`;
}

function optionOf(goal: CloseGoal | undefined): string {
  if (goal?.kind === "cancel") return " --cancel-only";
  return goal?.kind === "reduce" ? ` --reduce-to ${goal.exposure}` : "";
}
