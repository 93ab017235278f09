/** A bound on the life of this process that holds also while it waits for a disk: only the kernel can end it then (alarm(2)). */
import { openC } from "./libc.ts";

/** Ends this process by SIGALRM that many seconds from now; where bun:ffi does not work nothing does. */
export function endWithin(seconds: number): void {
  try {
    openC({ alarm: { args: ["u32"], returns: "u32" } }).alarm(seconds);
  } catch {
    // What it bounds is quick by itself on a machine that is well.
  }
}
