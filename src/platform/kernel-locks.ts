/** What the kernel lists of the locks on files: proc_locks(5). */
import { readProc } from "./proc.ts";

/** Some forty thousand locks, bytes. */
const MAX_LOCKS_BYTES = 4 * 1_024 ** 2;
/** A line as `1: POSIX  ADVISORY  READ 1234 08:01:5678 128 128`; of one that waits there is an arrow after the number. */
const LINE = /^\d+: (-> )?(\w+) +\S+ +\S+ +(-?\d+) ([0-9a-f]+:[0-9a-f]+):(\d+) /gm;

export interface KernelLock {
  /** As `FLOCK` or `POSIX`. */
  readonly kind: string;
  /** It waits for another one's end. */
  readonly waits: boolean;
  /** Of its holder as seen from here; 0 or less: the kernel does not tell, as of another container. */
  readonly pid: number;
  /** As stat(2) has them. */
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Empty where they cannot be read. */
export function kernelLocks(): readonly KernelLock[] {
  const lines = (readProc("/proc/locks", MAX_LOCKS_BYTES) ?? "").matchAll(LINE);
  return Array.from(lines, ([, waits, kind = "", pid = "", device = "", inode = ""]) => ({
    kind,
    waits: waits !== undefined,
    pid: Number(pid),
    dev: deviceNumber(device),
    ino: BigInt(inode),
  }));
}

/** The device number of stat(2) from `major:minor` in hexadecimal digits, as glibc's makedev packs it. */
export function deviceNumber(text: string): bigint {
  const [major = 0n, minor = 0n] = text.split(":").map((part) => BigInt(`0x${part}`));
  return ((major & 0xfffff000n) << 32n) | ((major & 0xfffn) << 8n) | ((minor & 0xffffff00n) << 12n) | (minor & 0xffn);
}
