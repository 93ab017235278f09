/** The folders of the config: who may write, how much room there is, and what their file systems can and forget. */
import { accessSync, constants, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { formatSize } from "../../../core/size.ts";
import { collapseUnit } from "../../../platform/collapse.ts";
import { diskFree } from "../../../platform/machine.ts";
import type { Dirs } from "../../runtime/config/paths.ts";
import { ok, problem, warning, type Finding } from "./finding.ts";

/** Free space below which a journal, a lockout and reports may find no room. */
const LOW_DISK_BYTES = 256 * 1024 ** 2;
/** Free inodes below which the same holds. */
const FEW_FILES = 1_000;

/** Magic numbers of statfs(2). */
const TMPFS = 0x01021994;
const OVERLAY = 0x794c7630;
const NFS = 0x6969;

export function folderFindings(dirs: Dirs): readonly Finding[] {
  return [
    roomFinding("stateDir", dirs.stateDir),
    ...lastingFindings(dirs.stateDir),
    roomFinding("runtimeDir", dirs.runtimeDir),
    roomFinding("logDir", dirs.logDir),
    ...collapseFindings(dirs.logDir),
  ];
}

function roomFinding(check: keyof Dirs, folder: string): Finding {
  const existing = nearestExisting(folder);
  if (!mayWrite(existing))
    return problem(
      check,
      `${folder}: cannot be written by this user`,
      "ask as the daemon's user; give the folder to it if it is the same",
    );
  const space = diskFree(existing);
  if (space === undefined) return ok(check, `${folder}: unknown space`);
  const free = `${formatSize(space.freeBytes)} free`;
  // Sockets take no room.
  if (check === "runtimeDir") return ok(check, `${folder}: ${free}`);
  if (space.freeBytes < LOW_DISK_BYTES)
    return problem(check, `${folder}: only ${free}`, "make room: journal, lockouts and outputs need it");
  if (space.freeFiles !== undefined && space.freeFiles < FEW_FILES)
    return problem(check, `${folder}: only ${space.freeFiles} files can still be made`, "remove small files there");
  return ok(check, `${folder}: ${free}`);
}

/** A lockout that does not outlive the machine is none: the bot would start again after a reboot. */
function lastingFindings(stateDir: string): readonly Finding[] {
  const kind = fileSystemOf(nearestExisting(stateDir));
  if (kind === TMPFS)
    return [
      problem(
        "stateDir",
        `${stateDir} is in memory (tmpfs): after a reboot a locked bot would start again, and nothing is known of what happened`,
        "stateDir on a disk, for example /var/lib/tradingbot",
      ),
    ];
  if (kind === OVERLAY)
    return [
      warning(
        "stateDir",
        `${stateDir} is in a container's own layer: lockouts and journal are gone with the container`,
        "mount a volume there",
      ),
    ];
  if (kind === NFS)
    return [
      warning(
        "stateDir",
        `${stateDir} is on NFS: the lock that keeps a second supervisor away may not hold, and a server that hangs stops us`,
        "stateDir on a local disk",
      ),
    ];
  return [];
}

function fileSystemOf(path: string): number | undefined {
  try {
    return statfsSync(path).type;
  } catch {
    return undefined;
  }
}

/** Tried for real, with a file of our own in the folder, which is removed again. */
function collapseFindings(logDir: string): readonly Finding[] {
  if (nearestExisting(logDir) !== logDir || !mayWrite(logDir)) return [];
  try {
    if (collapseUnit(join(logDir, "doctor")) !== undefined)
      return [
        ok(
          "rotation",
          "the file system of logDir takes bytes out of a file (FALLOC_FL_COLLAPSE_RANGE): no line is lost",
        ),
      ];
  } catch {
    // A full disk, which the line above tells.
    return [];
  }
  return [
    warning(
      "rotation",
      "the file system of logDir cannot take bytes out of a file: outputs are copied and truncated, and what a bot writes in the instant between is lost",
      "logDir on ext4 or xfs",
    ),
  ];
}

function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The folder itself, or the nearest one above it that exists. */
function nearestExisting(path: string): string {
  try {
    accessSync(path, constants.F_OK);
    return path;
  } catch {
    return path === dirname(path) ? path : nearestExisting(dirname(path));
  }
}
