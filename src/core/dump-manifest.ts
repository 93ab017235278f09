/** The manifest of a crash dump: its first entry, which tells what it is of and what else is in it. */
import * as z from "zod";
import { DUMP_VERSION } from "./dump.ts";

export const dumpEntrySchema = z.object({
  path: z.string(),
  bytes: z.int().min(0),
  sha256: z.string(),
  /** Only a part of it is here. */
  truncated: z.boolean(),
  /** Places where a secret was taken out. */
  redactions: z.int().min(0),
  tookMs: z.number().min(0),
});
export type DumpEntry = z.output<typeof dumpEntrySchema>;

const exitSchema = z.object({
  cause: z.string(),
  code: z.int().nullable(),
  signal: z.string().nullable(),
  detail: z.string(),
});

export const dumpManifestSchema = z.object({
  v: z.literal(DUMP_VERSION),
  id: z.string(),
  bot: z.string(),
  account: z.string(),
  generation: z.int().min(0),
  pid: z.int().nullable(),
  /** The cause of the end, or `manual`. */
  reason: z.string(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  /** `null` of a bot that lived on. */
  exit: exitSchema.nullable(),
  restarts: z.int().min(0),
  level: z.string(),
  /** Deaths of the same signature before this one that were not dumped. */
  repeats: z.int().min(0),
  /** The same death was dumped in full a short while before: of this one only what is left of it was kept. */
  light: z.boolean().optional(),
  /** Its processes were read while it lived. */
  live: z.boolean(),
  versions: z.object({ supervisor: z.string(), kernel: z.string(), runtime: z.string() }),
  entries: z.array(dumpEntrySchema),
  /** What could not be read, and why. */
  missing: z.array(z.object({ path: z.string(), why: z.string() })),
});
export type DumpManifest = z.output<typeof dumpManifestSchema>;
