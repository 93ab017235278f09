/** What a person does after a close, by how it ended; one sentence for the report. */
import type { CloseGoal } from "./close-goal.ts";
import type { CloseJob, CloseOutcome } from "./close-job.ts";
import { shellWord } from "./shell-word.ts";

const NEXT: Readonly<Record<CloseOutcome, (bot: string, close: string) => string>> = {
  flat: (bot) => `find out why the bot failed, then: supervisor arm ${bot} --reason TEXT`,
  cancelled: () => "the positions and their stops are as they were: decide what becomes of them",
  reduced: () => "the rest of the position is still open: decide what becomes of it",
  residual: (bot) =>
    `look at the account at the venue and close the rest by hand; it is tried again by itself until: supervisor emergency ack ${bot} --reason TEXT`,
  foreign: (_, close) => `find and stop what else trades on this account, then: ${close}`,
  refused: () => "remove what the reason names, then close again; nothing was sent",
  keyRefused: () => "repair key, secret, passphrase, rights or allowed addresses at the venue; close by hand meanwhile",
  unreadable: () => "look at the account at the venue by hand: nobody knows what is open; it is tried again by itself",
  unsupported: () => "close by hand, and give the bot a driver that can",
  internal: () => "look at the account at the venue by hand, keep the incident's files, and report the mistake",
  planNotEmpty: (_, close) => `nothing was changed; to do it: ${close}`,
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
  readonly account: string;
  readonly mode: CloseJob["mode"];
  readonly goal?: CloseGoal | undefined;
}

export function nextStep({ outcome, bot, account, mode, goal }: Ended): string {
  const planned = mode === "plan" ? AFTER_PLAN[outcome] : undefined;
  return planned ?? NEXT[outcome](bot, closeCommand(bot, account, outcome === "planNotEmpty" ? goal : undefined));
}

/** A close that works as it stands: who shows no token of a plan says yes, and names an account that is not called as the bot. */
export function closeCommand(bot: string, account: string, goal?: CloseGoal): string {
  const named = account === bot ? "" : ` --account ${shellWord(account)}`;
  return `supervisor emergency close ${bot}${optionOf(goal)} --yes${named}`;
}

/** The same for who shows a token. */
export function confirmCommand(bot: string, goal: CloseGoal, token: string): string {
  return `supervisor emergency close ${bot}${optionOf(goal)} --confirm ${token}`;
}

export function planCommand(bot: string, goal?: CloseGoal): string {
  return `supervisor emergency plan ${bot}${optionOf(goal)}`;
}

function optionOf(goal: CloseGoal | undefined): string {
  if (goal?.kind === "cancel") return " --cancel-only";
  return goal?.kind === "reduce" ? ` --reduce-to ${goal.exposure}` : "";
}
