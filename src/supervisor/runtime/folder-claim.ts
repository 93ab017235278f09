/** Whether a supervisor may run on a state folder at all: a copy of one that is still there would run the same bots on the same accounts. */
import { existsSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import {
  judgeFolder,
  markText,
  readMark,
  renewMark,
  type FolderMark,
  type FolderPlace,
  type Origin,
} from "../../core/folder-mark.ts";
import { readTextIfExists, replaceFile } from "../../platform/files.ts";
import { makeRoom, moveAway } from "./quarantine.ts";

/** Nine paths at most. */
const MAX_MARK_BYTES = 64 * 1024;

type MarkReading = ReturnType<typeof readMark>;

/** The folder is a copy, or may be one; exit code 2. */
class CopiedFolderError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(here: string, why: string, origin: string) {
    super(`cannot run on ${here}: ${why}; two supervisors would run the same bots`);
    this.hint = `if ${origin} is not used any more, remove ${markFile(origin)}; if this one is for other accounts, begin with an empty state folder, or remove ${markFile(here)}`;
  }
}

class NewerMarkError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "run the newer supervisor";
}

function markFile(stateDir: string): string {
  return join(stateDir, "installation.json");
}

/** Whether a supervisor has marked what is in the folder. */
export function isClaimed(stateDir: string): boolean {
  return existsSync(markFile(stateDir));
}

/**
 * Marks the folder as this one, which exists and is locked by us, and answers with what is to be told of that. Throws when it
 * is a copy of a folder that is still there.
 */
export function claimFolder(stateDir: string): readonly string[] {
  const file = markFile(stateDir);
  const said: (string | undefined)[] = [makeRoom(file, "file")];
  const here = placeOf(stateDir);
  const reading = readingOf(file);
  refuseNewer(stateDir, reading);
  if (reading.kind === "damaged") said.push(moveAway(file, reading.reason));
  const mark = reading.kind === "known" ? reading.mark : undefined;
  const verdict = mark === undefined ? "renew" : judge(stateDir, mark, here);
  const next = mark === undefined ? { id: crypto.randomUUID(), ...here, former: [] } : renewMark(mark, here);
  if (verdict === "renew") said.push(write(file, next));
  return said.filter((text) => text !== undefined);
}

/** Throws what `claimFolder` would throw, and changes nothing. */
export function refuseClaim(stateDir: string): void {
  refuseNewer(stateDir, readingOf(markFile(stateDir)));
  refuseCopy(stateDir);
}

function refuseNewer(stateDir: string, reading: MarkReading): void {
  if (reading.kind !== "newer") return;
  throw new NewerMarkError(
    `cannot run on ${stateDir}: ${markFile(stateDir)} has format version ${reading.version}, which a newer release wrote`,
  );
}

/** Throws when the folder is a copy of one that is still there; for a command that acts on it without a daemon. */
export function refuseCopy(stateDir: string): void {
  if (statSync(stateDir, { throwIfNoEntry: false }) === undefined) return;
  const reading = readingOf(markFile(stateDir));
  if (reading.kind === "known") judge(stateDir, reading.mark, placeOf(stateDir));
}

function judge(stateDir: string, mark: FolderMark, here: FolderPlace): "own" | "renew" {
  const verdict = judgeFolder(mark, here, (path) => originAt(path, mark, here));
  switch (verdict.kind) {
    case "copy": {
      const there = verdict.of === mark.path ? "still there" : "there again";
      throw new CopiedFolderError(stateDir, `it is a copy of ${verdict.of}, which is ${there}`, verdict.of);
    }
    case "doubt":
      throw new CopiedFolderError(stateDir, `it may be a copy of ${verdict.of}, which cannot be looked at`, verdict.of);
    case "own":
    case "renew":
      return verdict.kind;
  }
}

/** What is now at a path where the folder is or was by its mark. */
function originAt(path: string, mark: FolderMark, here: FolderPlace): Origin {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return "gone";
    if (stat.dev === here.device && stat.ino === here.inode) return "itself";
    const there = readMark(readTextIfExists(markFile(path), MAX_MARK_BYTES));
    if (there.kind !== "known" || there.mark.id !== mark.id) return "another";
    return there.mark.path === realpathSync(path) ? "twin" : "stray";
  } catch (error) {
    // A file where a folder of the path was: what was there is gone.
    return error instanceof Error && "code" in error && error.code === "ENOTDIR" ? "gone" : "unknown";
  }
}

function placeOf(stateDir: string): FolderPlace {
  const path = realpathSync(stateDir);
  const { dev: device, ino: inode } = statSync(path);
  return { path, device, inode };
}

function readingOf(file: string): MarkReading {
  try {
    return readMark(readTextIfExists(file, MAX_MARK_BYTES));
  } catch (error) {
    return { kind: "damaged", reason: error instanceof Error ? error.message : String(error) };
  }
}

/** A full disk keeps no supervisor from its bots: the folder is marked by the next start then. */
function write(file: string, mark: FolderMark): string | undefined {
  try {
    replaceFile(file, markText(mark));
    return undefined;
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}; a copy of this folder would not be told from it`;
  }
}
