/**
 * What a restore notes before it touches anything, so that whoever comes after a kill can finish it or take it back, and
 * what it leaves behind for the bots: shapes of the files in `<stateDir>/backups/restores` and of a bot's `restored.json`.
 */
import * as z from "zod";
import { later } from "./later.ts";

const time = () => z.iso.datetime();
const absolute = () => z.string().startsWith("/");

/**
 * prepared: nothing that lives was touched; what was unpacked is thrown away. swapping: some of the moves may be done; all are
 * taken back. checked: the restored data is in its place and was proven there; only the rest of the book-keeping is missing.
 */
const RESTORE_PHASES = ["prepared", "swapping", "checked"] as const;
export type RestorePhase = (typeof RESTORE_PHASES)[number];

/** One rename. It was done when `from` is gone and `to` is there: no target of a move exists before the restore. */
const moveSchema = later(() => z.object({ from: absolute(), to: absolute() }));
export type Move = z.output<typeof moveSchema>;

const BOT = /^[^/\0]{1,255}$/;
export const RESTORE_ID = /^\d{8}T\d{6}Z-[0-9a-f]{6}$/;

/** Databases of a server that a restore renames in the place of files: only the server itself can say how far it came. */
const databasesSchema = later(() =>
  z.object({
    /** The target's address then; never with a password. */
    url: z.string(),
    live: z.string(),
    /** The restored one until it takes the living one's name. */
    scratch: z.string(),
    /** Name of the living one afterwards; `null`: there was none. */
    aside: z.string().nullable(),
  }),
);
export type Databases = z.output<typeof databasesSchema>;

export const restoreJournalSchema = later(() =>
  z.looseObject({
    version: z.literal(1),
    id: z.string().regex(RESTORE_ID),
    target: z.string(),
    /** The backup's id, or the file it comes from. */
    backup: z.string(),
    snapshotAt: time().nullable(),
    startedAt: time(),
    phase: z.enum(RESTORE_PHASES),
    /**
     * tables: written into the database that is there, by one transaction of its own; it never leaves the phase `prepared`. folder:
     * a whole server in a folder that was empty, where nothing lives.
     */
    into: z.enum(["live", "tables", "folder"]),
    /** Bots that use the target: none of them may start meanwhile, and all of them are marked afterwards. */
    bots: z.array(z.string().regex(BOT)),
    /** Those of them that were up and are started again. */
    stopped: z.array(z.string().regex(BOT)),
    /** Renames in order. */
    moves: z.array(moveSchema),
    /** What belongs to a file by its name (`-wal`): gone with it when a move is taken back, by the file's path. */
    strays: z.record(z.string(), z.array(absolute())),
    /** Folder of a server that must be down while its files are moved, in either direction. */
    folder: absolute().optional(),
    /** Command that starts a server which the restore has stopped; whoever ends the restore runs it. */
    start: z.array(z.string()).min(1).optional(),
    /** Folders of unpacked data; always thrown away. */
    scratch: z.array(absolute()),
    /** Folders that hold what was there before. */
    aside: z.array(absolute()),
    /** Of a target that is no file. */
    databases: databasesSchema.optional(),
  }),
);
export type RestoreJournal = z.output<typeof restoreJournalSchema>;

/** What was there before a restore is kept for so long. */
export const KEEP_ASIDE_MS = 7 * 86_400_000;

/** A restore that is done, remembered until what it moved aside is deleted. */
export const keptSchema = later(() =>
  z.looseObject({
    version: z.literal(1),
    id: z.string().regex(RESTORE_ID),
    target: z.string(),
    backup: z.string(),
    restoredAt: time(),
    keepUntil: time(),
    aside: z.array(absolute()),
    databases: databasesSchema.optional(),
  }),
);
export type Kept = z.output<typeof keptSchema>;

/** Names of the databases that this restore makes: nothing else is ever dropped. */
export function databaseNames(id: string): { readonly scratch: string; readonly aside: string } {
  if (!RESTORE_ID.test(id)) throw new Error(`internal error: ${id} is no id of a restore`);
  const tail = id.toLowerCase().replace("-", "_");
  return { scratch: `restore_${tail}`, aside: `pre_restore_${tail}` };
}

/** Beside a bot's identity: its data is older than its account, so it may not open positions until it is reconciled. */
export const restoredMarkSchema = later(() =>
  z.looseObject({
    version: z.literal(1),
    id: z.string().regex(RESTORE_ID),
    target: z.string(),
    backup: z.string(),
    snapshotAt: time().nullable(),
    restoredAt: time(),
  }),
);
export type RestoredMark = z.output<typeof restoredMarkSchema>;

/** Name of the mark in a bot's folder. */
export const RESTORED_MARK = "restored.json";

/** What to do with a restore that was broken off. */
export function settlementOf(phase: RestorePhase): "discard" | "rollBack" | "finish" {
  switch (phase) {
    case "prepared":
      return "discard";
    case "swapping":
      return "rollBack";
    case "checked":
      return "finish";
  }
}

/**
 * The renames that put each `fresh` path in the place of `live`, where `present` are the live path and its sidecars that are
 * there: the old ones go first, so that no old log can ever be taken for the new file's.
 */
export function swapMoves(
  places: readonly {
    readonly fresh: string;
    readonly live: string;
    readonly aside: string;
    readonly present: readonly string[];
  }[],
): readonly Move[] {
  return places.flatMap(({ fresh, live, aside, present }) => [
    ...present.map((from) => ({ from, to: `${aside}/${from.slice(from.lastIndexOf("/") + 1)}` })),
    { from: fresh, to: live },
  ]);
}
