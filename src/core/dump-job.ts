/** What the daemon and the workers that make crash dumps say to each other. */
import * as z from "zod";
import { STACK_MODES } from "./stack-choice.ts";

const secrets = z.strictObject({
  /** Words that must not stand in the dump. */
  values: z.array(z.string()),
  /** Files each of which holds such words, one a line. */
  files: z.array(z.string()),
});

/** Reads a living bot, before anything is done to it. */
export const captureJobSchema = z.strictObject({
  version: z.literal(1),
  pid: z.int().min(1),
  startTicks: z.int().min(0),
  cgroup: z.string().optional(),
  /** Folder that the entries are written to; made by the worker. */
  folder: z.string(),
  /** File with the key of the tags that stand for values of variables; made when absent. */
  tagKey: z.string(),
  stack: z.enum(STACK_MODES),
  /** It gives no sign of life or progress. */
  hung: z.boolean(),
  /** Where its output goes, if that is a file. */
  output: z.strictObject({ log: z.string(), index: z.string() }).optional(),
  secrets,
});
export type CaptureJob = z.output<typeof captureJobSchema>;

/** All that the daemon waits for is read: the bot may be signalled now. It is the only thing that the worker says. */
export interface CaptureLine {
  readonly kind: "read";
}

/** Packs what was captured with what is left after a death. */
export const packJobSchema = z.strictObject({
  version: z.literal(1),
  /** Folder of the capture; `undefined` where the bot was dead before. */
  captured: z.string().optional(),
  /** Entries of a bot that was killed without a capture, by name: what was read in the moment before. */
  glance: z.record(z.string(), z.string()).optional(),
  /** Folder of all dumps. */
  dumps: z.string(),
  file: z.string(),
  manifest: z.looseObject({ id: z.string(), bot: z.string() }),
  blackbox: z.strictObject({ blackbox: z.string(), sealed: z.string() }),
  /** Folder of the state that the bot keeps, if it does. */
  state: z.string(),
  samples: z.string(),
  output: z.strictObject({ log: z.string(), index: z.string(), runs: z.string() }),
  journal: z.string(),
  /** The bot's part of the status, and the config in force with secrets left out. */
  status: z.unknown(),
  config: z.string(),
  secrets,
  policy: z.strictObject({
    keep: z.int().min(1),
    maxTotal: z.int().min(1),
    maxAge: z.int().min(1),
    minFree: z.int().min(0),
    minFreeRatio: z.number().min(0).max(1),
  }),
});
export type PackJob = z.output<typeof packJobSchema>;

export const packLineSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("dumped"), file: z.string(), bytes: z.int(), entries: z.int(), removed: z.int() }),
  /** There is too little room. */
  z.object({ kind: z.literal("skipped"), reason: z.string() }),
]);
export type PackLine = z.output<typeof packLineSchema>;
