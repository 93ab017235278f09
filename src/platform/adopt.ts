/**
 * Watches and signals a process that another program started: the bot of a supervisor that died, or of an earlier version
 * in this very process. How it ends is known of the latter alone, which is our child still; elsewhere it goes to whoever
 * inherited it. A descriptor (pidfd_open(2)) makes sure that no later owner of its pid is ever signalled in its place.
 */
import type { Clock } from "./clock.ts";
import { libc } from "./libc.ts";
import { isLive, readStat, type ProcessId } from "./proc.ts";
import { openProcess, signalName } from "./process-handle.ts";
import type { ExitResult, SpawnedChild } from "./spawn.ts";
import { ownPids } from "./subreaper.ts";

const WNOHANG = 1;
/** The parts of a wait status (wait(2), WTERMSIG and WEXITSTATUS). */
const SIGNAL_BITS = 0x7f;
const CODE_SHIFT = 8;

/** Time between two looks whether the process lives, ms: it costs one read of /proc, and delays a restart by half of it. */
const LOOK_MS = 100;

/** The process as a child to be used like one that we started; `undefined` when it is gone. `onExit` is called once. */
export function adoptProcess(id: ProcessId, clock: Clock, onExit: (end: ExitResult) => void): SpawnedChild | undefined {
  const handle = openProcess(id);
  if (handle === undefined) return undefined;
  if (isOurChild(id)) ownPids.add(id.pid);
  const look = (): void => {
    if (lives(id)) {
      clock.after(LOOK_MS, look);
      return;
    }
    handle.close();
    onExit(takeExit(id) ?? { code: null, signal: null });
  };
  clock.after(LOOK_MS, look);
  return { ...id, pidfd: handle.pidfd, signal: (name) => handle.signal(name) };
}

/**
 * How our child ended that an earlier version in this process started, and that nobody has waited for yet; `undefined` when
 * it is no such zombie. It is gone afterwards, so this answers once (wait(2)).
 */
export function takeExit(id: ProcessId): ExitResult | undefined {
  if (!isOurChild(id) || lives(id)) return undefined;
  const status = new Uint8Array(4);
  if (libc()?.waitpid(id.pid, status, WNOHANG) !== id.pid) return undefined;
  ownPids.delete(id.pid);
  const word = new DataView(status.buffer).getInt32(0, true);
  const signal = word & SIGNAL_BITS;
  return signal === 0
    ? { code: (word >> CODE_SHIFT) & 0xff, signal: null }
    : { code: null, signal: signalName(signal) };
}

function isOurChild({ pid, startTicks }: ProcessId): boolean {
  try {
    const stat = readStat(pid);
    return stat?.ppid === process.pid && stat.startTicks === startTicks;
  } catch {
    return false;
  }
}

/** Where /proc cannot be read it may live: the next look tells. */
function lives({ pid, startTicks }: ProcessId): boolean {
  try {
    return isLive(pid, startTicks);
  } catch {
    return true;
  }
}
