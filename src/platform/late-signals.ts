/**
 * Signals that come while this program gives way to the next one (execve(2)). What the runtime has taken of one and not yet handed to our
 * loop goes with this program; and blocking them keeps neither the runtime's other threads from taking them, nor our children from being
 * deaf. So meanwhile their handler is umask(2): it may be called in a handler, takes the signal's number as it is, and what it sets
 * outlives the exec. Of several signals the last one is known.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { libc } from "./libc.ts";

/** Those that somebody waits for to be obeyed; an upgrade reads the config anew by itself, and has come when another is asked for. */
const NAMES = ["SIGTERM", "SIGINT", "SIGUSR2"] as const;
export type LateSignal = (typeof NAMES)[number];

/** sizeof(struct sigaction) of glibc and musl on 64 bits. */
const SIGACTION_BYTES = 152;
/** SIG_DFL and SIG_IGN: nobody listens. */
const LARGEST_DEFAULT = 1n;

/** Taken from the group where a umask is the number of one of the signals itself, and would not tell that this one came. */
const GROUP_WRITE = 0o020;

export interface Umasks {
  /** What was in place before. */
  readonly umask: number;
  /** What is in place as long as none of the signals has come. */
  readonly noting: number;
}

export interface LateWatch extends Umasks {
  /** What was in place before. */
  readonly handlers: ReadonlyMap<LateSignal, Uint8Array>;
}

/** Notes from here on which signal comes; `undefined` where it cannot be done. */
export function watchLateSignals(): LateWatch | undefined {
  const c = libc();
  const address = c?.addressOfUmask();
  const umask = readUmask();
  if (c === undefined || address === undefined || umask === undefined) return undefined;
  const noting = notingUmask(umask);
  if (noting !== umask) process.umask(noting);
  const handlers = new Map<LateSignal, Uint8Array>();
  for (const name of NAMES) {
    const before = Buffer.alloc(SIGACTION_BYTES);
    if (c.sigaction(constants.signals[name], undefined, before) !== 0) continue;
    if (before.readBigUInt64LE(0) <= LARGEST_DEFAULT) continue;
    const setting = Buffer.from(before);
    setting.writeBigUInt64LE(address, 0);
    if (c.sigaction(constants.signals[name], setting, undefined) === 0) handlers.set(name, before);
  }
  return { umask, noting, handlers };
}

/** A umask as strict as this one that no signal of ours sets. */
function notingUmask(umask: number): number {
  return NAMES.some((name) => constants.signals[name] === umask) ? umask | GROUP_WRITE : umask;
}

/** Which signal has come; `undefined`: none. */
export function lateSignal({ noting }: Umasks): LateSignal | undefined {
  const umask = readUmask();
  return umask === noting ? undefined : NAMES.find((name) => constants.signals[name] === umask);
}

/** Puts everything back, and says which signal came. */
export function endLateWatch({ handlers, ...umasks }: LateWatch): LateSignal | undefined {
  for (const [name, before] of handlers) libc()?.sigaction(constants.signals[name], before, undefined);
  return takeLateSignal(umasks);
}

/** The same in the next program, where no handler is left. */
export function takeLateSignal(umasks: Umasks): LateSignal | undefined {
  const came = lateSignal(umasks);
  if (came !== undefined || umasks.noting !== umasks.umask) process.umask(umasks.umask);
  return came;
}

/** As the kernel says it, without setting it for an instant (proc_pid_status(5)). */
function readUmask(): number | undefined {
  try {
    const [, digits] = /^Umask:\s+([0-7]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return digits === undefined ? undefined : Number.parseInt(digits, 8);
  } catch {
    return undefined;
  }
}
