/** The size of a terminal, by bun:ffi alone: the runtime's own streams know it too, and cost a command more than its work. */
import { openC, ptr } from "./libc.ts";

/** Request of ioctl_tty(2); the same on x86-64 and arm64. */
const TIOCGWINSZ = 0x5413;

/** Width of the terminal behind `fd`, characters; `undefined` when it is none, does not tell, or bun:ffi does not work. */
export function terminalColumns(fd: number): number | undefined {
  // struct winsize: rows, columns, and the size in pixels.
  const size = new Uint16Array(4);
  try {
    const c = openC({ ioctl: { args: ["int", "u64", "ptr"], returns: "int" } });
    if (c.ioctl(fd, TIOCGWINSZ, ptr(size)) !== 0) return undefined;
  } catch {
    return undefined;
  }
  const [, columns = 0] = size;
  // A terminal that nobody has told its size says 0.
  return columns === 0 ? undefined : columns;
}
