/** One state folder is one installation: its lock, and the short name that tells its cgroups from another's. */
import { dirname, join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import { inheritLock, lockHolder, tryLock, type Lock } from "../../platform/lock.ts";
import { isListenedOn } from "../../platform/unix-listeners.ts";
import { controlSocketPath } from "./config/paths.ts";

/** Characters of the short name; two folders of one machine collide once in four thousand million. */
const NAME_CHARS = 8;

/** Name of the file in the state folder that one supervisor has locked. */
export const LOCK_FILE = "supervisor.lock";

/** Where the last known state lies. */
export function statusFile(stateDir: string): string {
  return join(stateDir, "status.json");
}

/**
 * The short name. Of two supervisors that live, each was started on the same path when that was another folder, no two have the same
 * control socket, and one must never find the other's bot in a cgroup that it takes for its own.
 */
export function installationOf({ stateDir, runtimeDir }: Folders): string {
  const text = `${stateDir}\0${controlSocketPath(runtimeDir)}`;
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, NAME_CHARS);
}

/** Another supervisor has the state folder. */
class FolderTakenError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "stop that one first: one supervisor runs one state folder";
}

/**
 * The lock that makes one supervisor of one state folder; held until `release` or the end of the process. `inherited` is
 * the descriptor by which an earlier version in this process held it.
 */
export function takeLock(path: string, inherited?: number): Lock {
  const lock = (inherited === undefined ? undefined : inheritLock(path, inherited)) ?? tryOpenLock(path);
  if (lock !== undefined) return lock;
  const holder = lockHolder(path);
  const who = holder === undefined ? "another supervisor" : `the supervisor with pid ${holder}`;
  throw new FolderTakenError(`cannot run on ${dirname(path)}: ${who} has it`);
}

/** A supervisor lives whose state folder was moved or removed, and this one is in its place. */
class FolderReplacedError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint =
    "it still runs its bots: end it first (ps -eo pid,args finds it), or put its folder back and stop it by supervisor stop and SIGTERM";
}

/**
 * Looks for a supervisor at the control socket's name, and the time between two of them, ms: one that ends drops its lock an instant
 * before its socket.
 */
const LOOKS = 10;
const LOOK_MS = 20;

/**
 * The lock of the daemon's state folder. Throws also where the lock is free but another supervisor listens at the name of our control
 * socket: it has the lock of a folder that is not at its path any more, and would run the same bots.
 */
export function takeFolder({ stateDir, runtimeDir }: Folders, inherited: number | undefined): Lock {
  const lock = takeLock(join(stateDir, LOCK_FILE), inherited);
  const socket = controlSocketPath(runtimeDir);
  for (let look = 1; isListenedOn(socket); look += 1) {
    if (look === LOOKS) {
      lock.release();
      throw new FolderReplacedError(
        `cannot run on ${stateDir}: a supervisor that was started here lives and listens at ${socket}; its state folder was moved or removed meanwhile`,
      );
    }
    Bun.sleepSync(LOOK_MS);
  }
  return lock;
}

interface Folders {
  readonly stateDir: string;
  readonly runtimeDir: string;
}

/** The lock file is there and is none that can be locked. */
class LockFileError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint = "look at what is there; if no supervisor runs on this folder, remove it";
}

function tryOpenLock(path: string): Lock | undefined {
  try {
    return tryLock(path);
  } catch (cause) {
    throw new LockFileError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
