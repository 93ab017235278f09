/** The size of a terminal, by bun:ffi alone: the runtime's own streams know it too, and cost a command more than its work. */
import { openC, ptr } from "./libc.ts";

/** Request of ioctl_tty(2); the same on x86-64 and arm64. */
const TIOCGWINSZ = 0x5413;

export interface TerminalSize {
  readonly rows: number;
  /** Characters. */
  readonly columns: number;
}

/** Size of the terminal behind `fd`; `undefined` when it is none, does not tell, or bun:ffi does not work. */
export function terminalSize(fd: number): TerminalSize | undefined {
  // struct winsize: rows, columns, and the size in pixels.
  const size = new Uint16Array(4);
  try {
    const c = openC({ ioctl: { args: ["int", "u64", "ptr"], returns: "int" } });
    if (c.ioctl(fd, TIOCGWINSZ, ptr(size)) !== 0) return undefined;
  } catch {
    return undefined;
  }
  const [rows = 0, columns = 0] = size;
  // A terminal that nobody has told its size says 0.
  return rows === 0 || columns === 0 ? undefined : { rows, columns };
}

/** Width of that terminal, characters. */
export function terminalColumns(fd: number): number | undefined {
  return terminalSize(fd)?.columns;
}
