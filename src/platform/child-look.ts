/** Whether we have children, and dead ones among them: the kernel's own word, in one call that looks under its lock (waitid(2)). */
import { ERRNO, libc } from "./libc.ts";

const WNOHANG = 0x1;
const WEXITED = 0x4;
const WNOWAIT = 0x0100_0000;
/** Threads' children and those that send no SIGCHLD count too. */
const WALL = 0x4000_0000;
const LOOK_ONLY = WNOHANG | WEXITED | WNOWAIT | WALL;
/** sizeof(siginfo_t); its first word is the signal, zero when nobody is dead. */
const SIGINFO_BYTES = 128;
/** Kept: each restart waits for the look. */
const info = new Int32Array(SIGINFO_BYTES / Int32Array.BYTES_PER_ELEMENT);
const infoBytes = new Uint8Array(info.buffer);

/** `dead`: at least one waits to be reaped. `undefined`: the kernel was not asked or does not say. Nobody is reaped by it. */
export function lookAtChildren(): "none" | "living" | "dead" | undefined {
  const c = libc();
  if (c === undefined) return undefined;
  info[0] = 0;
  if (c.waitidAny(infoBytes, LOOK_ONLY) === 0) return info[0] === 0 ? "living" : "dead";
  return c.errno() === ERRNO.ECHILD ? "none" : undefined;
}
