/** What the daemon and the worker that looks at a bot's account say to each other: one job, one answer, and the worker is gone. */
import * as z from "zod";
import { later } from "./later.ts";
import { closeJobSchema } from "./close-job.ts";

export const watchJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    venue: closeJobSchema.shape.venue,
    /** Read the equity, and the transfers since this time, ms since 1970; null: neither is wanted. */
    loss: z.strictObject({ sinceMs: z.number().nullable() }).nullable(),
    /** null: the switch is left alone. `armed`: the symbols whose countdown runs. */
    deadman: z
      .strictObject({
        duty: z.enum(["refresh", "disarm"]),
        timeoutMs: z.number().int().positive(),
        armed: z.array(z.string()),
      })
      .nullable(),
  }),
);
export type WatchJob = z.output<typeof watchJobSchema>;

export const watchAnswerSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    /** The venue's time, ms since 1970. */
    venueMs: z.number(),
    /** Σ|notional|; null: not known. */
    exposure: z.number().nullable(),
    equity: z.number().nullable(),
    /** What came in less what went out; null: not known, or nobody asked since when. */
    transfers: z.number().nullable(),
    /** Why something is null; null: nothing failed. */
    trouble: z.string().nullable(),
    deadman: z
      .strictObject({
        done: z.boolean(),
        /** Countdowns that run now, by symbol; `*` for the account. */
        armed: z.array(z.string()),
        reason: z.string().nullable(),
      })
      .nullable(),
  }),
);
export type WatchAnswer = z.output<typeof watchAnswerSchema>;
