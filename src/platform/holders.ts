/** Who has a file open, mapped or locked: proc_pid_fd(5), proc_pid_maps(5), kernel-locks.ts. */
import { readdirSync, statSync } from "node:fs";
import { deviceNumber, kernelLocks } from "./kernel-locks.ts";
import { listPids, readProc } from "./proc.ts";

/** Maps of a process that are read, bytes: some ten thousand mappings. */
const MAX_MAPS_BYTES = 16 * 1_024 ** 2;

/** A pid that the kernel does not tell us: the process is in another container. */
const UNKNOWN_PID = 0;

interface Node {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * Pids of other processes that use one of the files that exist among `paths`, or work in one of the folders, in order. Of processes that we may not look at
 * (as no root) only a lock shows, which every connection to a database in WAL mode holds. Throws when processes cannot be listed.
 */
export function holdersOf(paths: readonly string[]): readonly number[] {
  const nodes = new Map<string, Node>();
  for (const path of paths) {
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stats?.isFile() === true || stats?.isDirectory() === true) nodes.set(keyOf(stats), stats);
  }
  if (nodes.size === 0) return [];
  const held = new Set(lockHolders(nodes));
  for (const pid of listPids())
    if (isThereNow(`/proc/${pid}/cwd`, nodes) || hasOpen(pid, nodes) || hasMapped(pid, nodes)) held.add(pid);
  held.delete(process.pid);
  return [...held].toSorted((a, b) => a - b);
}

function keyOf({ dev, ino }: Node): string {
  return `${dev}:${ino}`;
}

function hasOpen(pid: number, nodes: ReadonlyMap<string, Node>): boolean {
  const folder = `/proc/${pid}/fd`;
  return namesIn(folder).some((name) => isThereNow(`${folder}/${name}`, nodes));
}

function isThereNow(link: string, nodes: ReadonlyMap<string, Node>): boolean {
  try {
    const stats = statSync(link, { bigint: true, throwIfNoEntry: false });
    return stats !== undefined && nodes.has(keyOf(stats));
  } catch {
    // It ended meanwhile, or closed the descriptor.
    return false;
  }
}

function hasMapped(pid: number, nodes: ReadonlyMap<string, Node>): boolean {
  const maps = readProc(`/proc/${pid}/maps`, MAX_MAPS_BYTES);
  if (maps === undefined) return false;
  return maps.split("\n").some((line) => {
    const [, , , device, inode] = line.split(/\s+/, 5);
    return (
      device !== undefined && inode !== undefined && inode !== "0" && nodes.has(`${deviceNumber(device)}:${inode}`)
    );
  });
}

function lockHolders(nodes: ReadonlyMap<string, Node>): readonly number[] {
  return kernelLocks().flatMap((lock) => (nodes.has(keyOf(lock)) ? [Math.max(lock.pid, UNKNOWN_PID)] : []));
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
