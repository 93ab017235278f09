/** The options of the emergency commands that say how far a close goes. */
import { FLAT, type CloseGoal } from "../../core/close-goal.ts";
import { EXIT } from "../../core/exit-code.ts";
import { plainText } from "../../core/plain-text.ts";

export interface GoalOptions {
  readonly cancelOnly?: boolean;
  readonly reduceTo?: string;
}

class GoalError extends Error {
  readonly exitCode = EXIT.usage;
}

export function withGoal<C extends { option(flags: string, text: string): C }>(cmd: C): C {
  return cmd
    .option("--cancel-only", "cancel open orders; positions stay, and so do their stops")
    .option(
      "--reduce-to <amount>",
      "reduce all positions alike until their sum is worth this much, in the quote currency",
    );
}

/** What the options ask for. Throws for two that exclude each other, and for an amount that is none. */
export function goalOf({ cancelOnly, reduceTo }: GoalOptions): CloseGoal {
  if (cancelOnly === true && reduceTo !== undefined)
    throw new GoalError("cannot do both: --cancel-only keeps every position, --reduce-to reduces them");
  if (cancelOnly === true) return { kind: "cancel" };
  if (reduceTo === undefined) return FLAT;
  const exposure = /^\d+(\.\d+)?$/.test(reduceTo) ? Number(reduceTo) : 0;
  if (exposure > 0) return { kind: "reduce", exposure };
  const why = `--reduce-to "${plainText(reduceTo)}" is not an amount above 0; write it as 2500 or 99.5`;
  throw new GoalError(`cannot reduce: ${why}, and leave the option away to close everything`);
}
