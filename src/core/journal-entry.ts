/**
 * One line of the journal: what was decided or learned, and when. Decisions hold the whole event, so that replaying them
 * through `step` gives the same states again.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { isRecord, isWhole } from "./plain-check.ts";

/** Format version of a journal line; a reader refuses a newer one. */
export const JOURNAL_VERSION = 1;

const LEVELS = ["debug", "info", "warn", "alert"] as const;
const levels: ReadonlySet<unknown> = new Set(LEVELS);

const base = later(() => ({
  v: z.literal(JOURNAL_VERSION),
  /** Counts the lines of one daemon; a gap shows that lines were dropped. */
  seq: z.int(),
  at: z.string(),
  bot: z.string().optional(),
  level: z.enum(LEVELS),
  text: z.string(),
}));

export const journalEntrySchema = later(() =>
  z.discriminatedUnion("kind", [
    z.looseObject({
      ...base,
      kind: z.literal("decision"),
      bot: z.string(),
      generation: z.int(),
      event: z.looseObject({ kind: z.string(), atMs: z.number() }),
      from: z.string(),
      to: z.string(),
      effects: z.array(z.looseObject({ kind: z.string() })),
    }),
    /** What the shell saw or did beside decisions: probe verdicts, close progress, refused messages. */
    z.looseObject({ ...base, kind: z.literal("fact") }),
    /** The daemon itself: start, stop, trouble with its own files. */
    z.looseObject({ ...base, kind: z.literal("daemon") }),
  ]),
);
export type JournalEntry = z.output<typeof journalEntrySchema>;

/** What a line of the journal holds, parsed; `undefined` for what is no entry, or one of a newer format. */
export function readEntry(value: unknown): JournalEntry | undefined {
  return isPlainEntry(value) ? value : journalEntrySchema.safeParse(value).data;
}

function isPlainEntry(value: unknown): value is JournalEntry {
  if (!isRecord(value)) return false;
  const { v, seq, at, bot, level, text, kind } = value;
  if (v !== JOURNAL_VERSION || !isWhole(seq) || typeof at !== "string") return false;
  if (!levels.has(level) || typeof text !== "string") return false;
  if (kind === "decision") return typeof bot === "string" && isPlainDecision(value);
  return (kind === "fact" || kind === "daemon") && (bot === undefined || typeof bot === "string");
}

function isPlainDecision({ generation, event, from, to, effects }: Readonly<Record<string, unknown>>): boolean {
  if (!isWhole(generation) || typeof from !== "string" || typeof to !== "string") return false;
  if (!isRecord(event) || typeof event["kind"] !== "string" || !Number.isFinite(event["atMs"])) return false;
  return Array.isArray(effects) && effects.every((each) => isRecord(each) && typeof each["kind"] === "string");
}

type Unnumbered<E> = E extends JournalEntry ? Omit<E, "v" | "seq" | "at"> : never;
/** What a writer supplies; the journal adds version, number and time. */
export type JournalInput = Unnumbered<JournalEntry>;
