/** A grip on one process that a recycled pid cannot turn on a stranger: pidfd_open(2) checked by the start time. */
import { constants } from "node:os";
import { libc } from "./libc.ts";
import { isLive } from "./proc.ts";
import type { ProcessId } from "./proc.ts";

/** Name of a signal, as `SIGTERM`. */
export type SignalName = keyof typeof constants.signals;

/** The first name of a number counts: SIGABRT and SIGIO, not SIGIOT and SIGPOLL. */
const SIGNALS = new Map<number, string>(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name]),
);

/** Name of the signal that ended a child, which the runtime reports as a name or a number; `null` for none. */
export function signalName(signal: string | number | null): string | null {
  return typeof signal === "number" ? (SIGNALS.get(signal) ?? `SIG${signal}`) : signal;
}

export interface ProcessHandle extends ProcessId {
  /** The pidfd; `undefined` in the degraded mode without FFI, where each signal checks the start time first. */
  readonly pidfd: number | undefined;
  /** Sends the signal; `false` when the process is gone or not ours to signal. */
  readonly signal: (name: SignalName) => boolean;
  /** Gives the descriptor up; later signals answer `false`. */
  readonly close: () => void;
}

/** A handle on the running process, or `undefined` when it is gone or the pid now belongs to another. */
export function openProcess(id: ProcessId): ProcessHandle | undefined {
  const handle = openOwnChild(id);
  // The descriptor is opened first: if the pid still has our start time now, the descriptor is of our process.
  if (isLive(id.pid, id.startTicks)) return handle;
  handle.close();
  return undefined;
}

/** A handle on a child of ours in the very turn that started it: until we wait for it, its pid goes to nobody else. */
export function openOwnChild({ pid, startTicks }: ProcessId): ProcessHandle {
  const c = libc();
  let pidfd = c === undefined ? -1 : c.pidfdOpen(pid);
  let closed = false;
  return {
    pid,
    startTicks,
    pidfd: pidfd < 0 ? undefined : pidfd,
    signal(name) {
      if (closed) return false;
      if (c === undefined || pidfd < 0) return killChecked({ pid, startTicks }, name);
      return c.pidfdSendSignal(pidfd, constants.signals[name]) === 0;
    },
    close() {
      closed = true;
      if (c !== undefined && pidfd >= 0) c.close(pidfd);
      pidfd = -1;
    },
  };
}

/** Sends one signal to the process if it still is the one meant. */
export function signalProcess(id: ProcessId, name: SignalName): boolean {
  const handle = openProcess(id);
  if (handle === undefined) return false;
  try {
    return handle.signal(name);
  } finally {
    handle.close();
  }
}

/** Without pidfds: the pid could be recycled between the two lines, which takes a full turn of the pid counter. */
function killChecked({ pid, startTicks }: ProcessId, name: SignalName): boolean {
  if (!isLive(pid, startTicks)) return false;
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
