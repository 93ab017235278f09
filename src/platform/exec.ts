/**
 * Replaces the program of this very process (execve(2)): same pid, same children, another binary. Until the kernel has
 * taken the new program nothing is given up, so a refusal leaves everything as it was.
 */
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from "node:fs";
import { constants } from "node:os";
import { dirname, isAbsolute, resolve } from "node:path";
import { libc, libcError } from "./libc.ts";

const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** Those below are input, output and errors, which every program has. */
export const FIRST_OWN_FD = 3;
/** Mode bits that let others than the owner change a file, and the bit that makes a folder safe all the same. */
const FOREIGN_WRITE = 0o022;
const STICKY = 0o1000;
/** Bytes of an ELF header up to and with e_machine. */
const ELF_HEAD_BYTES = 20;
const ELF_MAGIC = "\x7fELF";
/** e_machine by architecture (elf(5)). */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };
const ELF_MACHINE_OFFSET = 18;
/** Room for `sigset_t` of glibc; musl's is as large. */
const SIGSET_BYTES = 128;
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;

/**
 * Signals that mean something to the daemon. Blocked across the exec, one that comes before the new program listens
 * waits in the kernel instead of killing it.
 */
const HELD_SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGIO"] as const;

export interface Replacement {
  /** Absolute path of the program. */
  readonly path: string;
  /** Added to the environment that this process was started with; a value of that name is replaced. */
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors that the new program gets besides 0, 1 and 2. */
  readonly pass: readonly number[];
}

/** Becomes the program, with this process's own arguments. Returns only when that failed, and says why. */
export function replaceProcess({ path, env, pass }: Replacement): string {
  const c = libc();
  if (c === undefined) return libcError() ?? "no C library";
  const kept: Uint8Array[] = [];
  const vector = (words: readonly Uint8Array[]): Uint8Array => {
    kept.push(...words);
    const pointers = BigUint64Array.from([...words.map((word) => c.addressOf(word)), 0n]);
    return new Uint8Array(pointers.buffer);
  };
  const program = cString(path);
  const args = vector([program, ...ownArguments().slice(1)]);
  const environment = vector(ownEnvironment(env));
  holdSignals(true);
  sealDescriptors(pass);
  c.execve(program, args, environment);
  const errno = c.errno();
  for (const fd of pass) c.fcntl(fd, F_SETFD, FD_CLOEXEC);
  holdSignals(false);
  return `execve(2) failed with errno ${errno} for ${kept.length} strings`;
}

/** Lets the signals in again that the program before us held back for us; its handlers must be in place. */
export function releaseSignals(): void {
  holdSignals(false);
}

/** Whatever is open stays with this program, except what is passed on purpose; harmless when the exec fails. */
function sealDescriptors(pass: readonly number[]): void {
  const c = libc();
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (fd >= FIRST_OWN_FD) c?.fcntl(fd, F_SETFD, pass.includes(fd) ? 0 : FD_CLOEXEC);
  }
}

function holdSignals(hold: boolean): void {
  const set = new Uint8Array(SIGSET_BYTES);
  for (const name of HELD_SIGNALS) {
    const bit = constants.signals[name] - 1;
    set[bit >> 3] = (set[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  libc()?.sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, set);
}

/** Takes a descriptor that was passed to us: it goes to no program after us. `false` when it is none. */
export function takeDescriptor(fd: number): boolean {
  return libc()?.fcntl(fd, F_SETFD, FD_CLOEXEC) === 0;
}

/** The arguments that the kernel started us with, each with its NUL. */
function ownArguments(): Uint8Array[] {
  return cStrings(readFileSync("/proc/self/cmdline"));
}

/** The environment that the kernel started us with, byte by byte, less and plus `changes`. */
function ownEnvironment(changes: Readonly<Record<string, string>>): Uint8Array[] {
  const kept = cStrings(readFileSync("/proc/self/environ")).filter((entry) => {
    const text = Buffer.from(entry).toString("latin1");
    return !Object.keys(changes).some((name) => text.startsWith(`${name}=`));
  });
  return [...kept, ...Object.entries(changes).map(([name, value]) => cString(`${name}=${value}`))];
}

function cString(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(`${text}\0`));
}

/** Splits after each NUL; every part owns its bytes, so that its address is its own. */
function cStrings(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0, start);
    if (end < 0) break;
    parts.push(bytes.slice(start, end + 1));
    start = end + 1;
  }
  return parts;
}

/**
 * The path by which this program was started, absolute, with links as they were: an upgrade that switches a link is
 * found by it. Ask at the start; later the file may be another. From the kernel's own word where the name leads elsewhere.
 */
export function startedAs(): string {
  const real = process.execPath.replace(/ \(deleted\)$/, "");
  try {
    const [name = ""] = readFileSync("/proc/self/cmdline", "utf8").split("\0");
    const found = name.includes("/") ? resolve(name) : Bun.which(name);
    return found !== null && realpathSync(found) === realpathSync("/proc/self/exe") ? found : real;
  } catch {
    return real;
  }
}

/** Which file a path names now, to tell later whether it is still the same one; throws when there is none. */
export function fileStamp(path: string): string {
  const { dev, ino, size, mtimeMs } = statSync(path);
  return `${dev}:${ino}:${size}:${mtimeMs}`;
}

/**
 * Why a program must not take our rights; `undefined` when it may. Whoever may speak to the daemon must not be able to
 * run a program of his own with them, so file and folders must belong to root or to us and be written by nobody else.
 */
export function programProblem(path: string): string | undefined {
  if (!isAbsolute(path)) return "its path is not absolute";
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return "it is not a file";
    if ((stat.mode & 0o111) === 0) return "it is not executable";
    for (const place of placesOf(path)) {
      const problem = foreignHand(place);
      if (problem !== undefined) return problem;
    }
    return formatProblem(path);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file";
    if (code === "EACCES" || code === "EPERM") return "permission denied for the daemon's user";
    return cause instanceof Error ? cause.message : String(cause);
  }
}

/** The path and every folder above it, once as named and once with all links resolved. */
function placesOf(path: string): Set<string> {
  const places = new Set<string>();
  for (const start of [path, realpathSync(path)])
    for (let place = start; !places.has(place); place = dirname(place)) places.add(place);
  return places;
}

function foreignHand(place: string): string | undefined {
  const { mode, uid } = lstatSync(place);
  // The mode of a link means nothing; its target is looked at by itself.
  const link = (mode & 0o170000) === 0o120000;
  if (uid !== 0 && uid !== process.geteuid?.()) return `${place} belongs to uid ${uid}`;
  const folder = (mode & 0o170000) === 0o040000;
  const shared = (mode & FOREIGN_WRITE) !== 0 && !(folder && (mode & STICKY) !== 0);
  return shared && !link ? `${place} may be written by its group or others` : undefined;
}

function formatProblem(path: string): string | undefined {
  const head = Buffer.alloc(ELF_HEAD_BYTES);
  const fd = openSync(path, "r");
  try {
    readSync(fd, head, 0, ELF_HEAD_BYTES, 0);
  } finally {
    closeSync(fd);
  }
  if (head.toString("latin1", 0, ELF_MAGIC.length) !== ELF_MAGIC) return "it is not a binary of this system";
  const machine = head.readUInt16LE(ELF_MACHINE_OFFSET);
  return machine === MACHINES[process.arch] ? undefined : "it is a binary for another kind of machine";
}
