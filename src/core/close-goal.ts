/** What a close is to reach: everything closed, only the orders gone, or less exposure. */
import * as z from "zod";
import { later } from "./later.ts";

export const closeGoalSchema = later(() =>
  z.discriminatedUnion("kind", [
    /** No position and no order is left. */
    z.strictObject({ kind: z.literal("flat") }),
    /** No order is left, but for stops of positions that are open: these stay as they are. */
    z.strictObject({ kind: z.literal("cancel") }),
    /** As `cancel`, and the sum of all notionals is at most `exposure`, in the quote currency. */
    z.strictObject({ kind: z.literal("reduce"), exposure: z.number().positive() }),
  ]),
);
export type CloseGoal = z.output<typeof closeGoalSchema>;

export const FLAT: CloseGoal = { kind: "flat" };

/** How the goal is said in a sentence. */
export function goalText(goal: CloseGoal): string {
  switch (goal.kind) {
    case "flat":
      return "close every position";
    case "cancel":
      return "cancel open orders, and keep the positions and their stops";
    case "reduce":
      return `reduce the exposure to ${goal.exposure}`;
  }
}
