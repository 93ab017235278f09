/**
 * Watches and signals a process that another one started: the bot of a supervisor that died. Its exit code goes to whoever
 * inherited it; a descriptor (pidfd_open(2)) makes sure that no later owner of its pid is ever signalled in its place.
 */
import type { Clock } from "./clock.ts";
import { isLive, type ProcessId } from "./proc.ts";
import { openProcess } from "./process-handle.ts";
import type { ExitResult, SpawnedChild } from "./spawn.ts";

/** Time between two looks whether the process lives, ms: it costs one read of /proc, and delays a restart by half of it. */
const LOOK_MS = 100;

/** The process as a child to be used like one that we started; `undefined` when it is gone. `onExit` is called once. */
export function adoptProcess(id: ProcessId, clock: Clock, onExit: (end: ExitResult) => void): SpawnedChild | undefined {
  const handle = openProcess(id);
  if (handle === undefined) return undefined;
  const look = (): void => {
    if (lives(id)) {
      clock.after(LOOK_MS, look);
      return;
    }
    handle.close();
    onExit({ code: null, signal: null });
  };
  clock.after(LOOK_MS, look);
  return { ...id, pidfd: handle.pidfd, signal: (name) => handle.signal(name) };
}

/** Where /proc cannot be read it may live: the next look tells. */
function lives({ pid, startTicks }: ProcessId): boolean {
  try {
    return isLive(pid, startTicks);
  } catch {
    return true;
  }
}
