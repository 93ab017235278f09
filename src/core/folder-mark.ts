/** The mark of a state folder, `<stateDir>/installation.json`: by it a copy of the folder is told from the folder itself. */
import { versionOf } from "./file-version.ts";

const MARK_VERSION = 1;

/** Where a folder is: its path without links, and what the kernel knows it by (stat(2)). */
export interface FolderPlace {
  readonly path: string;
  readonly device: number;
  readonly inode: number;
}

export interface FolderMark extends FolderPlace {
  /** Drawn once; whatever is copied from the folder has it too. */
  readonly id: string;
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
  const { id, path, device, inode } = fieldsOf(parsed);
  if (version !== MARK_VERSION || typeof id !== "string" || typeof path !== "string")
    return { kind: "damaged", reason: "it is not the mark of a state folder" };
  if (typeof device !== "number" || typeof inode !== "number")
    return { kind: "damaged", reason: "it does not say which folder it is of" };
  return { kind: "known", mark: { id, path, device, inode } };
}

function fieldsOf(parsed: unknown): Readonly<Partial<Record<keyof FolderMark, unknown>>> {
  return typeof parsed === "object" && parsed !== null ? parsed : {};
}

export function markText(mark: FolderMark): string {
  return `${JSON.stringify({ version: MARK_VERSION, ...mark })}\n`;
}

/** What is now where the mark says that its folder was: nothing, this very folder by another path, another one, or one with the same id. */
export type Origin = "gone" | "itself" | "another" | "twin" | "unknown";

/** `own`: nothing to do. `renew`: ours, and the mark is to say where it is now. */
export type FolderVerdict = "own" | "renew" | "copy" | "doubt";

/**
 * Whether a supervisor may run on the folder `here` that has this mark. Of a folder and its copies the one where the mark says
 * runs; the others are refused as long as that one is there. One that was moved, or whose original is gone, is nobody's copy.
 */
export function judgeFolder(mark: FolderMark, here: FolderPlace, origin: Origin): FolderVerdict {
  if (mark.path === here.path) return mark.device === here.device && mark.inode === here.inode ? "own" : "renew";
  switch (origin) {
    case "twin":
      return "copy";
    case "unknown":
      return "doubt";
    case "gone":
    case "itself":
    case "another":
      return "renew";
  }
}
