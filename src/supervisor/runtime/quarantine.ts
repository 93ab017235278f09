/**
 * Makes room for the supervisor's own files: what stands in the place of one and is of another kind (a folder, a FIFO, a file
 * where a socket must be) is set aside, never deleted. Left there it would fail every write, or block the daemon for ever.
 */
import { lstatSync, statSync, type Stats } from "node:fs";
import type { IdentityReading } from "../../core/identity.ts";
import { setAside } from "../../platform/files.ts";
import type { BotFiles } from "./bot-plan.ts";
import { foldersOf } from "./bot-plan.ts";
import { SharedFolders } from "./shared-folders.ts";

/** What has to be at a path, if anything is. */
type Kind = "file" | "folder" | "socket";

/** Says what was set aside, for the journal; `undefined` when nothing was in the way. Never throws. */
export function makeRoom(path: string, wanted: Kind): string | undefined {
  try {
    const stat = lookAt(path, wanted);
    if (stat === undefined || isOfKind(stat, wanted)) return undefined;
    return moveAway(path, `a ${wanted} must be there, and this is ${describe(stat)}`);
  } catch (error) {
    return `cannot look at ${path}: ${messageOf(error)}`;
  }
}

/** Sets a file aside whose content is damaged; says so, or why it could not. Never throws. */
export function moveAway(path: string, reason: string): string {
  try {
    return `${path} is now ${setAside(path, reason)}: ${reason}`;
  } catch (error) {
    return `cannot set ${path} aside (${reason}): ${messageOf(error)}`;
  }
}

/**
 * Sets a damaged identity aside, and makes room for everything that a bot needs besides its lockout, which its own store repairs, and its output, which may be
 * any file or device that somebody chose. The bot's own folder is not replaced either: with it the lockout would be gone.
 */
export function makeRoomForBot(
  files: BotFiles,
  identity: IdentityReading | undefined,
  shared = new SharedFolders(),
): readonly string[] {
  // In a folder that is not there nothing can be in the way.
  const inside = `${files.dir}/`;
  const isNew = isAbsent(files.dir);
  const inTheWay = (path: string, kind: Kind): string | undefined =>
    (path.startsWith(inside) ? isNew : shared.isReady(path) || shared.lacks(path)) ? undefined : makeRoom(path, kind);
  const folders = foldersOf(files).filter(({ path }) => !files.dir.startsWith(path));
  const damaged = identity?.kind === "damaged" ? identity.reason : undefined;
  const moves = [
    damaged === undefined ? undefined : moveAway(files.identity, damaged),
    ...folders.map(({ path }) => inTheWay(path, "folder")),
    ...[files.identity, files.outputIndex, files.runs, files.level, files.noNewOrders, files.closes].map((path) =>
      inTheWay(path, "file"),
    ),
    ...[files.socket, files.notifySocket].map((path) => inTheWay(path, "socket")),
  ];
  return moves.filter((move) => move !== undefined);
}

/** False also for what cannot be looked at: whoever needs it is told of it there. */
function isAbsent(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

/** A link is looked through for a folder; elsewhere the next write replaces the link itself, wherever it leads. */
function lookAt(path: string, wanted: Kind): Stats | undefined {
  const link = lstatSync(path, { throwIfNoEntry: false });
  if (link?.isSymbolicLink() !== true) return link;
  const target = statSync(path, { throwIfNoEntry: false });
  if (wanted === "socket") return undefined;
  return target ?? (wanted === "folder" ? link : undefined);
}

function isOfKind(stat: Stats, wanted: Kind): boolean {
  switch (wanted) {
    case "file":
      return stat.isFile();
    case "folder":
      return stat.isDirectory();
    case "socket":
      return stat.isSocket();
  }
}

function describe(stat: Stats): string {
  if (stat.isFile()) return "a file";
  if (stat.isDirectory()) return "a folder";
  if (stat.isFIFO()) return "a FIFO";
  if (stat.isSocket()) return "a socket";
  return stat.isSymbolicLink() ? "a link to nothing" : "a device";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
