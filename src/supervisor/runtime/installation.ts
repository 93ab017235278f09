/** One state folder is one installation: its lock, and the short name that tells its cgroups from another's. */
import { dirname, join } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import { inheritLock, lockHolder, tryLock, type Lock } from "../../platform/lock.ts";

/** Characters of the short name; two folders of one machine collide once in four thousand million. */
const NAME_CHARS = 8;

/** Where the last known state lies. */
export function statusFile(stateDir: string): string {
  return join(stateDir, "status.json");
}

export function installationOf(stateDir: string): string {
  return new Bun.CryptoHasher("sha256").update(stateDir).digest("hex").slice(0, NAME_CHARS);
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
