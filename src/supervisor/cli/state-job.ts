/** What `supervisor state` asks of its worker, and what it is answered. */
import * as z from "zod";

export const stateJobSchema = z.discriminatedUnion("what", [
  z.strictObject({ what: z.literal("show"), folder: z.string() }),
  z.strictObject({ what: z.literal("doctor"), folder: z.string() }),
  z.strictObject({
    what: z.literal("level"),
    folder: z.string(),
    level: z.enum(["normal", "degraded", "minimal", "emergency"]),
    reason: z.string(),
  }),
  z.strictObject({
    what: z.literal("rekey"),
    folder: z.string(),
    keyFile: z.string().optional(),
    credentials: z.string().optional(),
  }),
  z.strictObject({ what: z.literal("salvage"), folder: z.string(), to: z.string(), backups: z.array(z.string()) }),
]);
export type StateJob = z.output<typeof stateJobSchema>;

const view = z.object({
  uuid: z.string().optional(),
  rows: z.record(z.string(), z.number()),
  damagedRows: z.number(),
  needsReconcile: z.string().nullable(),
  cleanStop: z.boolean(),
  starts: z.number(),
  level: z.object({ level: z.string(), reason: z.string() }).nullable(),
  breakers: z.array(z.object({ name: z.string(), state: z.string() })),
  positions: z.array(
    z.object({
      id: z.string(),
      symbol: z.string(),
      side: z.string(),
      quantity: z.string(),
      stopLoss: z.string().nullable(),
      status: z.string(),
    }),
  ),
  orders: z.array(
    z.object({
      id: z.string(),
      symbol: z.string(),
      side: z.string(),
      quantity: z.string(),
      status: z.string(),
      createdAt: z.number(),
    }),
  ),
});

const examination = z.object({
  condition: z.enum(["fresh", "whole", "damaged"]),
  uuid: z.string().optional(),
  findings: z.array(z.string()),
  needsReconcile: z.string().nullable(),
  secondCopy: z.object({ rows: z.number(), torn: z.number() }),
  backup: z.object({ madeAt: z.string(), flaws: z.array(z.string()) }).nullable(),
  quarantines: z.array(z.object({ folder: z.string(), recovered: z.boolean(), bytes: z.number() })),
  removedQuarantines: z.number(),
});

const salvage = z.object({
  folder: z.string(),
  uuid: z.string(),
  notes: z.array(z.string()),
  taken: z.record(z.string(), z.number()),
  rows: z.record(z.string(), z.number()),
  gaps: z.number(),
});

export const stateAnswerSchema = z.discriminatedUnion("what", [
  z.object({ what: z.literal("show"), view }),
  z.object({ what: z.literal("doctor"), examination }),
  z.object({ what: z.literal("salvage"), salvage }),
  z.object({ what: z.literal("level") }),
  z.object({ what: z.literal("rekey"), rekeyed: z.object({ renewed: z.number(), keys: z.number() }) }),
  z.object({ what: z.literal("failed"), error: z.string() }),
]);
export type StateAnswer = z.output<typeof stateAnswerSchema>;
