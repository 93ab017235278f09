/** Orphans of the bots come to us instead of to PID 1, and their zombies are reaped one by one (prctl(2) PR_SET_CHILD_SUBREAPER). */
import { lookAtChildren } from "./child-look.ts";
import { systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { libc } from "./libc.ts";
import { children, isLive, readStat } from "./proc.ts";
import type { ProcessId, ProcessStat } from "./proc.ts";

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;
/** Between two looks whether one that was owned is gone, ms: its pid may be another's then. */
const OWNED_LOOK_MS = 1_000;
/**
 * Age of a zombie before it is taken for an orphan, ms. The runtime reaps its own children within one turn and dies if we
 * do it first, so a child that somebody started past our wrappers gets this long to be reaped properly.
 */
const ORPHAN_ZOMBIE_MS = 1_000;

/**
 * Children that the runtime waits for itself: each wrapper of `Bun.spawn` adds its child and takes it out when it exited; and orphans that
 * are known to be no bot's (`ownUntilGone`).
 */
export const ownPids = new Set<number>();

/** Those of them that `ownUntilGone` has put there. */
const leftOver = new Map<number, ProcessId>();

/** Those of them that are the main process of a bot. */
export const botPids = new Set<number>();

let isSubreaper = false;

const zombieSinceMs = new Map<number, number>();

/** Makes this process the parent of its descendants' orphans; `false` where FFI is absent or the kernel refuses. */
export function becomeSubreaper(): boolean {
  const c = libc();
  const became = c?.prctl(PR_SET_CHILD_SUBREAPER, 1) === 0;
  const pidfd = became ? c.pidfdOpen(process.pid) : -1;
  if (pidfd >= 0) c?.close(pidfd);
  isSubreaper = pidfd >= 0;
  return became;
}

/**
 * Whether every orphan among our descendants comes to us, and stays on the list of our children until this thread waits
 * for it: without pidfds the runtime waits in a thread of its own.
 */
export function isReaper(): boolean {
  return isSubreaper;
}

/**
 * What a worker of ours has left and SIGKILL does not end, as it waits for a dead disk: it comes to us as an orphan, and must not pass for
 * a bot's, which would be stuck for as long.
 */
export function ownUntilGone(left: readonly ProcessId[], clock: Clock): void {
  for (const { pid, startTicks } of left) {
    if (!isSubreaper || ownPids.has(pid)) continue;
    ownPids.add(pid);
    leftOver.set(pid, { pid, startTicks });
    const look = (): void => {
      if (lives(pid, startTicks)) return void clock.after(OWNED_LOOK_MS, look);
      ownPids.delete(pid);
      leftOver.delete(pid);
    };
    look();
  }
}

/** What `ownUntilGone` owns now: an upgrade hands it over, as it would pass for a bot's again. */
export function ownedLeft(): readonly ProcessId[] {
  return [...leftOver.values()];
}

function lives(pid: number, startTicks: number): boolean {
  try {
    return isLive(pid, startTicks);
  } catch {
    // Unknown is not gone.
    return true;
  }
}

/** Living children of ours that the runtime did not start: what escaped from some bot by losing its parent. */
export function adoptedOrphans(): ProcessStat[] {
  return ourChildren().filter((stat) => !isZombie(stat));
}

/**
 * Reaps the zombies of adopted orphans and says how many. Call it on each tick: one is reaped at the second sight.
 * Only specific pids are waited for, as waitpid(-1) would steal the runtime's own children.
 */
export function reapOrphans(clock: Clock = systemClock): number {
  const c = libc();
  const look = lookAtChildren();
  // The usual case, known by one call: nobody is dead, so nobody has been for a while.
  if (look === "none" || look === "living") {
    zombieSinceMs.clear();
    return 0;
  }
  const zombies = ourChildren().filter(isZombie);
  const seen = new Set(zombies.map((stat) => stat.pid));
  for (const pid of zombieSinceMs.keys()) if (!seen.has(pid)) zombieSinceMs.delete(pid);
  if (c === undefined) return 0;
  let reaped = 0;
  const nowMs = clock.monotonicMs();
  for (const pid of seen) {
    const sinceMs = zombieSinceMs.get(pid);
    if (sinceMs === undefined) zombieSinceMs.set(pid, nowMs);
    else if (nowMs - sinceMs >= ORPHAN_ZOMBIE_MS && c.waitpid(pid, new Uint8Array(4), WNOHANG) === pid) reaped += 1;
  }
  return reaped;
}

function ourChildren(): ProcessStat[] {
  return children(process.pid)
    .filter((pid) => !ownPids.has(pid))
    .flatMap((pid) => readStat(pid) ?? [])
    .filter((stat) => stat.ppid === process.pid);
}

function isZombie(stat: ProcessStat): boolean {
  return stat.state === "Z";
}
