/**
 * The journal of a restore on disk, and how a restore that was broken off is finished or taken back: only renames, small files
 * and deletions of what nobody uses, so that the daemon can do it by itself before any bot starts.
 */
import { existsSync, lstatSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import {
  KEEP_ASIDE_MS,
  keptSchema,
  RESTORE_ID,
  RESTORED_MARK,
  restoredMarkSchema,
  restoreJournalSchema,
  settlementOf,
  type Kept,
  type Move,
  type RestoredMark,
  type RestoreJournal,
} from "../../core/restore-journal.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir, readTextIfExists, syncDir, writeFileAtomic } from "../../platform/files.ts";
import { holdersOf } from "../../platform/holders.ts";
import { tryLock, type Lock } from "../../platform/lock.ts";
import { removeTreeBeside } from "../../platform/remove-tree.ts";

/** A journal names some dozen paths. */
const MAX_JSON_BYTES = 1_024 ** 2;
const JOURNAL = ".restore.json";
const LOCK = ".restore.lock";
const KEPT = /^kept-.+\.json$/;

export interface Settled {
  readonly target: string;
  /**
   * busy: the restore is under way. failed: a person must look; the bots stay down. server: it is of databases, which
   * `settleOnServer` ends.
   */
  readonly outcome: "discarded" | "rolledBack" | "finished" | "busy" | "failed" | "server";
  readonly detail: string;
  /** Bots that must not start while the outcome is busy, failed or server; `undefined`: nobody knows which. */
  readonly bots: readonly string[] | undefined;
  /** Bots that the restore had stopped; whoever settled it starts them. */
  readonly stopped: readonly string[];
  /** Command that starts a server which the restore had stopped; whoever settled it runs it first. */
  readonly start?: readonly string[] | undefined;
}

function restoresFolder(stateDir: string): string {
  return join(stateDir, "backups", "restores");
}

function journalPath(stateDir: string, target: string): string {
  return join(restoresFolder(stateDir), `${target}${JOURNAL}`);
}

/** The lock that one restore of the target holds from its first line to its last; `undefined` while another does. */
export function lockRestore(stateDir: string, target: string): Lock | undefined {
  ensureDir(join(stateDir, "backups"), 0o750);
  ensureDir(restoresFolder(stateDir), 0o700);
  return tryLock(join(restoresFolder(stateDir), `${target}${LOCK}`));
}

export function writeJournal(stateDir: string, journal: RestoreJournal): void {
  writeFileAtomic(journalPath(stateDir, journal.target), `${JSON.stringify(journal, null, 2)}\n`);
}

/** Targets whose restore was not ended, whether somebody is still at it or not. */
export function openRestores(stateDir: string): readonly string[] {
  const folder = restoresFolder(stateDir);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(JOURNAL))
    .map((name) => name.slice(0, -JOURNAL.length));
}

/** Ends what was broken off. Never throws for one of them. */
export function settleRestores(stateDir: string, clock: Clock): readonly Settled[] {
  return openRestores(stateDir).flatMap((target) => settleOne(stateDir, target, clock) ?? []);
}

/** A restore that has not ended and holds a bot down. */
export interface OpenRestore {
  readonly target: string;
  /** What it brings back, since when, and whether it has stopped the bot; `undefined`: its journal cannot be read. */
  readonly known: { readonly backup: string; readonly since: string; readonly stopped: boolean } | undefined;
}

/** The first one that holds the bot; `undefined`: none does. Reads the folder anew: a worker may have come or gone. */
export function openRestoreOf(stateDir: string, bot: string): OpenRestore | undefined {
  for (const target of openRestores(stateDir)) {
    const journal = tryRead(stateDir, target);
    if (journal === "none") continue;
    if (journal === "damaged") return { target, known: undefined };
    const { bots, backup, startedAt: since, stopped } = journal;
    if (bots.includes(bot)) return { target, known: { backup, since, stopped: stopped.includes(bot) } };
  }
  return undefined;
}

/** Why the bot may not start now. */
export function heldText({ target, known }: OpenRestore): string {
  const facts = known === undefined ? "" : ` (it began ${known.since}, from ${known.backup})`;
  return `a restore of ${target} has not ended${facts}; supervisor backup list ends one that was broken off`;
}

function settleOne(stateDir: string, target: string, clock: Clock): Settled | undefined {
  try {
    const lock = lockRestore(stateDir, target);
    if (lock !== undefined) {
      try {
        return settleLocked(stateDir, target, clock);
      } finally {
        lock.release();
      }
    }
  } catch (cause) {
    return failure(target, tryRead(stateDir, target), messageOf(cause));
  }
  const journal = tryRead(stateDir, target);
  if (journal === "none") return undefined;
  const bots = journal === "damaged" ? undefined : journal.bots;
  return { target, outcome: "busy", detail: `a restore of ${target} is under way`, bots, stopped: [] };
}

/** The same for who holds the lock of the target; `undefined` when there was nothing to end. */
export function settleLocked(stateDir: string, target: string, clock: Clock): Settled | undefined {
  const journal = tryRead(stateDir, target);
  if (journal === "none") return undefined;
  if (journal === "damaged")
    return failure(
      target,
      journal,
      `cannot read ${journalPath(stateDir, target)}; look at it and at the target's files`,
    );
  const { bots, stopped, backup, id, start } = journal;
  if (journal.databases !== undefined)
    return {
      target,
      outcome: "server",
      detail: `a restore of ${target} must be ended on its server`,
      bots,
      stopped: [],
    };
  try {
    const common = { target, bots, stopped, start };
    switch (settlementOf(journal.phase)) {
      case "discard":
        discard(stateDir, journal);
        return {
          ...common,
          outcome: "discarded",
          detail: `restore ${id} of ${target} was broken off: ${left(journal)}`,
        };
      case "rollBack":
        rollBack(stateDir, journal);
        return {
          ...common,
          outcome: "rolledBack",
          detail: `restore ${id} of ${target} was taken back: ${journal.into === "folder" ? "its folder is empty again" : "the old data stands"}`,
        };
      case "finish":
        if (journal.into === "folder") discard(stateDir, journal);
        else finish(stateDir, journal, clock);
        return { ...common, outcome: "finished", detail: `restore ${id} of ${target} is done: ${backup} stands` };
    }
  } catch (cause) {
    return failure(target, journal, messageOf(cause));
  }
}

/** Bots are marked before tables are written, so that they stay careful in either case. */
function left({ into }: RestoreJournal): string {
  return into === "tables" ? "its tables are all restored or none, by SQLite's own log" : "it had changed nothing yet";
}

function failure(target: string, journal: RestoreJournal | "damaged" | "none", why: string): Settled {
  const bots = typeof journal === "string" ? undefined : journal.bots;
  return { target, outcome: "failed", detail: `cannot end the restore of ${target}: ${why}`, bots, stopped: [] };
}

/** Does the renames. `onMoved` hears of each one. Throws at the first that fails, and never replaces anything. */
export function doMoves(moves: readonly Move[], onMoved: (move: Move) => void = () => undefined): void {
  for (const move of moves) {
    if (isThere(move.to)) throw new Error(`cannot move ${move.from}: ${move.to} is there already`);
    renameSync(move.from, move.to);
    onMoved(move);
  }
  syncFolders(moves);
}

/**
 * Takes the renames back, the last first. May run twice and after a kill at any line of itself or of `doMoves`. Throws while a
 * process uses one of the files, and when a rename fails; the journal then stays.
 */
export function rollBack(stateDir: string, journal: RestoreJournal): void {
  const { moves, strays, folder } = journal;
  const files = moves.flatMap(({ from, to }) => [from, to, ...(strays[to] ?? [])]);
  refuseHeld(folder === undefined ? files : [...files, folder]);
  for (const { from, to } of moves.toReversed()) {
    if (isThere(from) || !isThere(to)) continue;
    // The new file was in its place: what has grown beside it since is its own and goes with it.
    for (const stray of strays[to] ?? []) rmSync(stray, { force: true });
    renameSync(to, from);
  }
  syncFolders(moves);
  discard(stateDir, journal);
}

/** Throws when another process uses one of the files. */
export function refuseHeld(paths: readonly string[]): void {
  const pids = holdersOf(paths);
  if (pids.length === 0) return;
  const who = pids.map((pid) => (pid === 0 ? "a process of another container" : `pid ${pid}`)).join(", ");
  throw new Error(`${who} has ${paths[0] ?? "it"} open; stop it, or name its bot under the target's bots`);
}

/** The restored data is proven in its place: the bots are marked, what was there before is kept for a while. */
export function finish(stateDir: string, journal: RestoreJournal, clock: Clock): void {
  const { id, target, backup, aside, databases } = journal;
  const now = clock.wallTime();
  mark(stateDir, journal, now);
  const kept: Kept = {
    version: 1,
    id,
    target,
    backup,
    restoredAt: now.toISOString(),
    keepUntil: new Date(now.getTime() + KEEP_ASIDE_MS).toISOString(),
    aside: aside.filter(isThere),
    ...(databases === undefined ? {} : { databases }),
  };
  writeFileAtomic(join(restoresFolder(stateDir), `kept-${target}-${id}.json`), `${JSON.stringify(kept)}\n`);
  discard(stateDir, journal);
}

/** Nothing of the restore is left but what it moved aside. */
export function discard(stateDir: string, { target, scratch, aside }: RestoreJournal): void {
  for (const folder of scratch) rmSync(folder, { recursive: true, force: true });
  for (const folder of aside) removeEmpty(folder);
  rmSync(journalPath(stateDir, target), { force: true });
  syncDir(restoresFolder(stateDir));
}

/** Marks the bots as running on data older than their account. */
export function mark(stateDir: string, { bots, id, target, backup, snapshotAt }: RestoreJournal, now: Date): void {
  const text: RestoredMark = { version: 1, id, target, backup, snapshotAt, restoredAt: now.toISOString() };
  for (const bot of bots) {
    ensureDir(join(stateDir, "bots", bot), 0o711);
    writeFileAtomic(join(stateDir, "bots", bot, RESTORED_MARK), `${JSON.stringify(text)}\n`);
  }
}

/** Takes back the marks of this very restore; one of an earlier restore stays. */
export function unmark(stateDir: string, { bots, id }: RestoreJournal): void {
  for (const bot of bots) {
    const path = join(stateDir, "bots", bot, RESTORED_MARK);
    const found = restoredMarkSchema.safeParse(parsed(readTextIfExists(path, MAX_JSON_BYTES)));
    if (found.data?.id === id) rmSync(path, { force: true });
  }
}

/**
 * Deletes what was moved aside long enough ago, beside whatever the process has to do: it may be as large as all that was restored.
 * Only folders that a restore has named. Never rejects.
 */
export async function deleteKept(stateDir: string, now: Date): Promise<void> {
  for (const { kept, path } of filesDue(stateDir, now)) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, they share a disk.
      for (const each of kept.aside) if (basename(each) === asideName(kept.id)) await removeTreeBeside(each);
      rmSync(path, { force: true });
    } catch {
      // Its folder cannot be deleted: the next run tries again, and nothing depends on it.
    }
  }
}

/** None where the state folder cannot be read. */
function filesDue(stateDir: string, now: Date): readonly DueKept[] {
  try {
    return dueIn(stateDir, now).filter(({ kept }) => kept.databases === undefined);
  } catch {
    return [];
  }
}

function readKept(path: string): Kept {
  return keptSchema.parse(parsed(readTextIfExists(path, MAX_JSON_BYTES)));
}

interface DueKept {
  readonly kept: Kept;
  readonly path: string;
}

/** What restores of databases have moved aside long enough ago, with the file that remembers it. */
export function dueKept(stateDir: string, now: Date): readonly DueKept[] {
  return dueIn(stateDir, now).filter(({ kept }) => kept.databases !== undefined);
}

/** What is not readable is not due. */
function dueIn(stateDir: string, now: Date): readonly DueKept[] {
  const folder = restoresFolder(stateDir);
  const names = existsSync(folder) ? readdirSync(folder).filter((each) => KEPT.test(each)) : [];
  return names.flatMap((name) => {
    const path = join(folder, name);
    try {
      const kept = readKept(path);
      return Date.parse(kept.keepUntil) <= now.getTime() ? [{ kept, path }] : [];
    } catch {
      return [];
    }
  });
}

/** Targets of which something is to be ended or deleted on their server. Never throws. */
export function serverWork(stateDir: string, now: Date): readonly string[] {
  try {
    const open = openRestores(stateDir).filter((target) => openJournal(stateDir, target)?.databases !== undefined);
    return [...new Set([...open, ...dueKept(stateDir, now).map(({ kept }) => kept.target)])];
  } catch {
    return [];
  }
}

/** The journal of a restore that has not ended; `undefined` when there is none that can be read. */
export function openJournal(stateDir: string, target: string): RestoreJournal | undefined {
  const journal = tryRead(stateDir, target);
  return typeof journal === "string" ? undefined : journal;
}

/** Name of the folder beside the target for what was there before. */
export function asideName(id: string): string {
  if (!RESTORE_ID.test(id)) throw new Error(`internal error: ${id} is no id of a restore`);
  return `pre-restore-${id}`;
}

function tryRead(stateDir: string, target: string): RestoreJournal | "damaged" | "none" {
  try {
    const text = readTextIfExists(journalPath(stateDir, target), MAX_JSON_BYTES);
    if (text === undefined) return "none";
    const journal = restoreJournalSchema.safeParse(parsed(text));
    return journal.success && journal.data.target === target ? journal.data : "damaged";
  } catch {
    return "damaged";
  }
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function syncFolders(moves: readonly Move[]): void {
  const folders = new Set(moves.flatMap(({ from, to }) => [dirname(from), dirname(to)]));
  for (const folder of folders) if (existsSync(folder)) syncDir(folder);
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It holds what was there before, or was never made.
  }
}

/** Also for a link that leads nowhere. */
export function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
