/** What the daemon and the worker that rotates a bot's output say to each other. */
import * as z from "zod";
import { later } from "./later.ts";
import { COMPRESSIONS, MAX_KEEP } from "./output-log.ts";

export const rotateJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    /** The live file. */
    log: z.string(),
    index: z.string(),
    lock: z.string(),
    maxSize: z.int().min(1),
    maxAgeMs: z.int().min(1).optional(),
    keep: z.int().min(1).max(MAX_KEEP),
    compress: z.enum(COMPRESSIONS),
  }),
);
export type RotateJob = z.output<typeof rotateJobSchema>;

/** What the worker says. */
export const rotateLineSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("rotated"),
      segment: z.string(),
      bytes: z.int(),
      method: z.enum(["collapse", "truncate"]),
    }),
    /** Something was found and mended. */
    z.object({ kind: z.literal("note"), text: z.string() }),
    /** It goes on; said now and then while a segment is packed. */
    z.object({ kind: z.literal("progress") }),
    /** Another worker is at it. */
    z.object({ kind: z.literal("busy") }),
    z.object({ kind: z.literal("failed"), reason: z.string() }),
  ]),
);
export type RotateLine = z.output<typeof rotateLineSchema>;
