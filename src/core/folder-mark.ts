/** The mark of a state folder, `<stateDir>/installation.json`: by it a copy of the folder is told from the folder itself. */
import { versionOf } from "./file-version.ts";

const MARK_VERSION = 1;
/** Former places that a mark keeps, the newest first: who moves a folder more often than that leaves no copy at each of them. */
export const MAX_FORMER = 8;

/** Where a folder is: its path without links, and what the kernel knows it by (stat(2)). */
export interface FolderPlace {
  readonly path: string;
  readonly device: number;
  readonly inode: number;
}

export interface FolderMark extends FolderPlace {
  /** Drawn once; whatever is copied from the folder has it too. */
  readonly id: string;
  /** Paths at which supervisors ran on the folder before, or on the one that it was copied from; the newest first. */
  readonly former: readonly string[];
}

export type MarkReading =
  | { readonly kind: "absent" }
  | { readonly kind: "known"; readonly mark: FolderMark }
  | { readonly kind: "damaged"; readonly reason: string }
  /** A newer release wrote it; this one neither understands nor replaces it. */
  | { readonly kind: "newer"; readonly version: number };

/** Reads the text of a mark; `undefined` is a file that does not exist. Never throws. By hand: a schema would cost each start more. */
export function readMark(text: string | undefined): MarkReading {
  if (text === undefined) return { kind: "absent" };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { kind: "damaged", reason: "it is not JSON" };
  }
  const version = versionOf(parsed);
  if (version > MARK_VERSION) return { kind: "newer", version };
  const { id, path, device, inode, former } = fieldsOf(parsed);
  if (version !== MARK_VERSION || typeof id !== "string" || typeof path !== "string")
    return { kind: "damaged", reason: "it is not the mark of a state folder" };
  if (typeof device !== "number" || typeof inode !== "number")
    return { kind: "damaged", reason: "it does not say which folder it is of" };
  return { kind: "known", mark: { id, path, device, inode, former: pathsIn(former) } };
}

/** Absent in a mark of a release that kept none. */
function pathsIn(former: unknown): readonly string[] {
  return Array.isArray(former) ? former.filter((path) => typeof path === "string").slice(0, MAX_FORMER) : [];
}

function fieldsOf(parsed: unknown): Readonly<Partial<Record<keyof FolderMark, unknown>>> {
  return typeof parsed === "object" && parsed !== null ? parsed : {};
}

export function markText(mark: FolderMark): string {
  return `${JSON.stringify({ version: MARK_VERSION, ...mark })}\n`;
}

/** The mark of a folder that is `here` now; `before` is the one that it had. */
export function renewMark(before: FolderMark, here: FolderPlace): FolderMark {
  const former = [...new Set([before.path, ...before.former])].filter((path) => path !== here.path);
  return { ...here, id: before.id, former: former.slice(0, MAX_FORMER) };
}

/**
 * What is now at a path where the mark says that its folder is or was: nothing, this very folder by another path, another one, one
 * with the same id whose own mark says that it is there (`twin`) or somewhere else (`stray`), or something that cannot be looked at.
 */
export type Origin = "gone" | "itself" | "another" | "twin" | "stray" | "unknown";

/** `own`: nothing to do. `renew`: ours, and the mark is to say where it is now. `of`: the path of the other one. */
export type FolderVerdict =
  | { readonly kind: "own" | "renew" }
  | { readonly kind: "copy" | "doubt"; readonly of: string };

/**
 * Whether a supervisor may run on the folder `here` that has this mark. Of a folder and its copies the one where the mark says
 * runs; the others are refused as long as that one is there. One that was moved, or whose original is gone, is nobody's copy until
 * a folder that is at home at one of its former paths is there again: an original whose disk was away. It knows nothing of its copy, so
 * that the copy has to give way. A stray there is a copy of this one, and refused itself; one that cannot be looked at proves nothing.
 */
export function judgeFolder(mark: FolderMark, here: FolderPlace, at: (path: string) => Origin): FolderVerdict {
  const isHome = mark.path === here.path;
  const origin = isHome ? "itself" : at(mark.path);
  if (origin === "twin" || origin === "stray") return { kind: "copy", of: mark.path };
  const twin = mark.former.find((path) => path !== here.path && at(path) === "twin");
  if (twin !== undefined) return { kind: "copy", of: twin };
  if (origin === "unknown") return { kind: "doubt", of: mark.path };
  return { kind: isHome && mark.device === here.device && mark.inode === here.inode ? "own" : "renew" };
}
