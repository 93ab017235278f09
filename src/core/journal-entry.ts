/**
 * One line of the journal: what was decided or learned, and when. Decisions hold the whole event, so that replaying them
 * through `step` gives the same states again.
 */
import * as z from "zod";
import { later } from "./later.ts";

/** Format version of a journal line; a reader refuses a newer one. */
export const JOURNAL_VERSION = 1;

const base = later(() => ({
  v: z.literal(JOURNAL_VERSION),
  /** Counts the lines of one daemon; a gap shows that lines were dropped. */
  seq: z.int(),
  at: z.string(),
  bot: z.string().optional(),
  level: z.enum(["debug", "info", "warn", "alert"]),
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

type Unnumbered<E> = E extends JournalEntry ? Omit<E, "v" | "seq" | "at"> : never;
/** What a writer supplies; the journal adds version, number and time. */
export type JournalInput = Unnumbered<JournalEntry>;
