/** The numbers of a restart policy as zod types: the delays of backoff.ts and the budget of budget.ts. */
import * as z from "zod";
import { later } from "./later.ts";
import { duration } from "./quantities.ts";

/** The fields, to be spread into the config's `restart` section. */
export const backoffFields = later(() => ({
  base: duration()
    .prefault("1s")
    .describe("Delay before the first restart in a row; after a start that came to no process it is 1s at the least."),
  factor: z.number().min(1).max(10).default(2).describe("Growth of the delay per restart in a row, a ratio."),
  cap: duration().prefault("60s").describe("Upper bound of the delay, jitter included."),
  jitter: z.number().min(0).max(1).default(0.1).describe("Share of the delay that is added at random, 0 to 1."),
}));

export const backoffSchema = later(() =>
  z
    .strictObject(backoffFields)
    .refine((b) => b.base <= b.cap, { path: ["base"], message: "base must not be larger than cap" }),
);
export type Backoff = z.output<typeof backoffSchema>;

/** The fields, to be spread into the config's `restart` section. */
const budgetFields = later(() => ({
  intensity: z.int().min(0).max(1_000_000_000).default(5).describe("Restarts allowed within the period."),
  period: duration()
    .prefault("10m")
    .describe("Length of the sliding window that intensity counts in; 0s is a budget without limit."),
}));

export const budgetSchema = later(() => z.strictObject(budgetFields));
export type Budget = z.output<typeof budgetSchema>;
