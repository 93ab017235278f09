/** Watches whether a worker and what it has started move on, by what /proc says of them (proc(5)); core/hang.ts judges. */
import { foldLook, hangOf, type HangBounds, type HangState, type Heard, type WorkLook } from "../core/hang.ts";
import type { Clock } from "./clock.ts";
import { children, isAlive, MS_PER_TICK, readProc, readStat, threadStates, type ProcessId } from "./proc.ts";

/** Processes that are looked at: a worker with a server on scratch has some dozens. */
const MAX_MEMBERS = 1_000;

interface HangWatch {
  readonly root: ProcessId;
  readonly clock: Clock;
  readonly bounds: HangBounds;
  readonly heard: () => Heard;
  /** Called once at most. */
  readonly onHang: (why: string) => void;
}

/** Looks until it hangs, or the returned function is called. */
export function watchHang({ root, clock, bounds, heard, onHang }: HangWatch): () => void {
  let state: HangState | undefined;
  const look = (): void => {
    const seen = lookAtWork(root, bounds.alone === true);
    // What cannot be seen now is looked at again: after some such looks nothing counts that was seen before.
    if (seen !== undefined) state = foldLook(state, seen, clock.monotonicMs(), heard(), bounds);
    const why = state === undefined ? undefined : hangOf(state, heard(), bounds);
    if (why === undefined) cancel = clock.after(bounds.lookMs, look);
    else onHang(why);
  };
  let cancel = clock.after(0, look);
  return () => cancel();
}

/** `undefined`: it is gone, or nothing can be said of it now. */
function lookAtWork(root: ProcessId, alone: boolean): WorkLook | undefined {
  try {
    if (readStat(root.pid)?.startTicks !== root.startTicks) return undefined;
    const members: string[] = [];
    let [cpuMs, bytes] = [0, 0];
    let [stopped, blocked]: (string | undefined)[] = [];
    const found = [root.pid];
    // It grows meanwhile.
    for (const pid of found) {
      const stat = readStat(pid);
      if (stat === undefined || !isAlive(stat) || members.length >= MAX_MEMBERS) continue;
      members.push(`${pid}:${stat.startTicks}`);
      cpuMs += (stat.utimeTicks + stat.stimeTicks) * MS_PER_TICK;
      const moved = bytesMoved(pid);
      bytes += moved ?? 0;
      // A call that waits for a disk may be that of any thread.
      const states = threadStates(pid);
      const name = pid === root.pid ? "it" : stat.comm;
      if (states.includes("T")) stopped ??= name;
      // Who reads from a slow disk is in that state all the time, and need not compute: only what was read tells it from one that hangs.
      if (states.includes("D") && moved !== undefined) blocked ??= name;
      if (!alone) found.push(...children(pid));
    }
    return members.length === 0 ? undefined : { members: members.join(" "), cpuMs, bytes, stopped, blocked };
  } catch {
    return undefined;
  }
}

/** `undefined`: another user's, as a server's on scratch, is not shown to us without CAP_SYS_PTRACE, as in a container. */
function bytesMoved(pid: number): number | undefined {
  const text = readProc(`/proc/${pid}/io`);
  if (text === undefined) return undefined;
  // What is read through mapped pages is in `read_bytes` alone.
  return [...text.matchAll(/^(?:rchar|wchar|read_bytes): (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}
