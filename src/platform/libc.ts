/** The C library by bun:ffi, opened at first use; where the JIT is off (RLIMIT_AS, MemoryDenyWriteExecute) it is absent and callers degrade. */
import { dlopen, ptr, read, type FFIFunction } from "bun:ffi";

/** The few calls that Bun does not offer. Each returns what the C function returns; `errno()` is valid right after a failure. */
export interface Libc {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: Uint8Array) => number;
  readonly connect: (fd: number, address: Uint8Array) => number;
  readonly shutdown: (fd: number, how: number) => number;
  readonly setIntOption: (fd: number, level: number, option: number, value: number) => number;
  readonly recvmsg: (fd: number, header: Uint8Array, flags: number) => number;
  /** Without an address on a connected socket. */
  readonly sendto: (fd: number, bytes: Uint8Array, flags: number, address: Uint8Array | undefined) => number;
  /** fcntl with an integer argument. */
  readonly fcntl: (fd: number, command: number, argument: number) => number;
  readonly flock: (fd: number, operation: number) => number;
  readonly prctl: (option: number, argument: number) => number;
  /** Status of `pid` into `status` (4 bytes); 0 when it has not changed and WNOHANG is given. */
  readonly waitpid: (pid: number, status: Uint8Array, options: number) => number;
  /** waitid(2) for any child, with `info` of 128 bytes; 0 with the pid of one in it, 0 and no pid, or -1. */
  readonly waitidAny: (info: Uint8Array, options: number) => number;
  /** pidfd_open(2): a descriptor that names this one process for ever, or -1. */
  readonly pidfdOpen: (pid: number) => number;
  readonly pidfdSendSignal: (pidfd: number, signal: number) => number;
  /** tgkill(2): the signal goes to this one thread of the process. */
  readonly signalThread: (pid: number, thread: number, signal: number) => number;
  /** sched_getscheduler(2) of the calling thread. */
  readonly scheduler: () => number;
  /** sched_setscheduler(2) of the calling thread, for policies that are not real-time. */
  readonly setScheduler: (policy: number) => number;
  readonly close: (fd: number) => number;
  /** madvise(2) on `length` bytes at `address`, both multiples of a page. */
  readonly madvise: (address: bigint, length: bigint, advice: number) => number;
  /** adjtimex(2) with `struct timex` (at least 208 bytes); returns the clock state or -1. */
  readonly adjtimex: (timex: Uint8Array) => number;
  /** clock_gettime(2) into `struct timespec` (16 bytes). */
  readonly clockGettime: (clock: number, timespec: Uint8Array) => number;
  /** fallocate(2); `offset` and `length` in bytes. */
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => number;
  /** execve(2); the two vectors hold addresses of NUL-terminated strings and end with a 0. Returns only when it failed. */
  readonly execve: (path: Uint8Array, args: Uint8Array, environment: Uint8Array) => number;
  /** pthread_sigmask(3) of the calling thread; `set` is a `sigset_t`, 128 bytes. */
  readonly sigmask: (how: number, set: Uint8Array) => number;
  /** sigaction(2) of the whole process; structures of 152 bytes, which begin with the address of the handler. */
  readonly sigaction: (signal: number, action: Uint8Array | undefined, before: Uint8Array | undefined) => number;
  /** Address of umask(2), which may be a signal's handler: it takes one number. */
  readonly addressOfUmask: () => bigint | undefined;
  /** memfd_create(2) without flags: a file in memory whose descriptor outlives an exec; -1 when it fails. */
  readonly memfdCreate: (label: Uint8Array) => number;
  /** Address of the bytes, for structures that hold pointers. The caller keeps the bytes referenced. */
  readonly addressOf: (bytes: Uint8Array) => bigint;
  readonly errno: () => number;
}

/** Address of bytes, for `openC`'s functions; the caller keeps the bytes referenced. */
export { ptr };

/** Command of fcntl(2) that sets the bytes which a pipe holds. */
export const F_SETPIPE_SZ = 1_031;

/** Scheduling policies (sched(7)). */
export const SCHED = { OTHER: 0, BATCH: 3 } as const;

/** Error numbers that callers tell apart (asm-generic/errno.h; the same on x86-64 and arm64). */
export const ERRNO = { ENOENT: 2, ESRCH: 3, EINTR: 4, ECHILD: 10, EAGAIN: 11, ECONNREFUSED: 111 } as const;

/** glibc first, then musl: one of them is loaded in every Bun process. */
const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

/** Any child, for waitid(2). */
const P_ALL = 0;
/** Call numbers of the table that all architectures share since Linux 5.1. */
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;
/** Those of tgkill(2) and of scheduling are older than that table; musl has no function for the latter. */
const SYS_TGKILL = process.arch === "arm64" ? 131 : 234;
const SYS_SCHED_SETSCHEDULER = process.arch === "arm64" ? 119 : 144;
const SYS_SCHED_GETSCHEDULER = process.arch === "arm64" ? 120 : 145;
/** `struct sched_param`. */
const NO_PRIORITY = new Uint8Array(4);

const SYMBOLS = {
  socket: { args: ["int", "int", "int"], returns: "int" },
  bind: { args: ["int", "ptr", "u32"], returns: "int" },
  connect: { args: ["int", "ptr", "u32"], returns: "int" },
  shutdown: { args: ["int", "int"], returns: "int" },
  setsockopt: { args: ["int", "int", "int", "ptr", "u32"], returns: "int" },
  recvmsg: { args: ["int", "ptr", "int"], returns: "i64" },
  sendto: { args: ["int", "ptr", "usize", "int", "ptr", "u32"], returns: "i64" },
  fcntl: { args: ["int", "int", "i64"], returns: "int" },
  flock: { args: ["int", "int"], returns: "int" },
  prctl: { args: ["int", "u64", "u64", "u64", "u64"], returns: "int" },
  waitpid: { args: ["int", "ptr", "int"], returns: "int" },
  waitid: { args: ["int", "int", "ptr", "int"], returns: "int" },
  close: { args: ["int"], returns: "int" },
  madvise: { args: ["u64", "u64", "int"], returns: "int" },
  adjtimex: { args: ["ptr"], returns: "int" },
  clock_gettime: { args: ["int", "ptr"], returns: "int" },
  fallocate: { args: ["int", "int", "i64", "i64"], returns: "int" },
  execve: { args: ["ptr", "ptr", "ptr"], returns: "int" },
  pthread_sigmask: { args: ["int", "ptr", "ptr"], returns: "int" },
  sigaction: { args: ["int", "ptr", "ptr"], returns: "int" },
  umask: { args: ["u32"], returns: "u32" },
  memfd_create: { args: ["ptr", "u32"], returns: "int" },
  syscall: { args: ["i64", "i64", "i64", "ptr", "i64"], returns: "i64" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

let opened: { libc: Libc | undefined; error: string | undefined } | undefined;

/** The C library, or `undefined` where bun:ffi does not work; `libcError()` then says why. */
export function libc(): Libc | undefined {
  opened ??= openLibc();
  return opened.libc;
}

/** Why `libc()` is absent, for `doctor` and the journal; `undefined` when it works. */
export function libcError(): string | undefined {
  opened ??= openLibc();
  return opened.error;
}

function openLibc(): { libc: Libc | undefined; error: string | undefined } {
  try {
    return { libc: wrap(openC(SYMBOLS)), error: undefined };
  } catch (error) {
    return { libc: undefined, error: error instanceof Error ? error.message : String(error) };
  }
}

/** Functions of the C library. Throws `cannot open LIBRARY by bun:ffi: why`. */
export function openC<Functions extends Record<string, FFIFunction>>(functions: Functions): Symbols<Functions> {
  let error = "no library tried";
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, functions).symbols;
    } catch (cause) {
      error = `cannot open ${name} by bun:ffi: ${cause instanceof Error ? cause.message : String(cause)}`;
    }
  }
  throw new Error(error);
}

type Symbols<Functions extends Record<string, FFIFunction>> = ReturnType<typeof dlopen<Functions>>["symbols"];

function wrap(c: Symbols<typeof SYMBOLS>): Libc {
  const errnoLocation = c["__errno_location"];
  return {
    socket: (family, type, protocol) => c.socket(family, type, protocol),
    bind: (fd, address) => c.bind(fd, ptr(address), address.byteLength),
    connect: (fd, address) => c.connect(fd, ptr(address), address.byteLength),
    shutdown: (fd, how) => c.shutdown(fd, how),
    setIntOption: (fd, level, option, value) => c.setsockopt(fd, level, option, ptr(Int32Array.of(value)), 4),
    recvmsg: (fd, header, flags) => Number(c.recvmsg(fd, ptr(header), flags)),
    sendto: (fd, bytes, flags, address) =>
      Number(
        c.sendto(
          fd,
          ptr(bytes),
          bytes.byteLength,
          flags,
          address === undefined ? null : ptr(address),
          address?.byteLength ?? 0,
        ),
      ),
    fcntl: (fd, command, argument) => c.fcntl(fd, command, argument),
    flock: (fd, operation) => c.flock(fd, operation),
    prctl: (option, argument) => c.prctl(option, argument, 0, 0, 0),
    madvise: (address, length, advice) => c.madvise(address, length, advice),
    waitpid: (pid, status, options) => c.waitpid(pid, ptr(status), options),
    waitidAny: (info, options) => c.waitid(P_ALL, 0, ptr(info), options),
    pidfdOpen: (pid) => Number(c.syscall(SYS_PIDFD_OPEN, pid, 0, null, 0)),
    pidfdSendSignal: (pidfd, signal) => Number(c.syscall(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, null, 0)),
    scheduler: () => Number(c.syscall(SYS_SCHED_GETSCHEDULER, 0, 0, null, 0)),
    setScheduler: (policy) => Number(c.syscall(SYS_SCHED_SETSCHEDULER, 0, policy, ptr(NO_PRIORITY), 0)),
    // The signature is that of the calls which take an address where this one has the signal.
    signalThread: (pid, thread, signal) => Number(c.syscall(SYS_TGKILL, pid, thread, BigInt(signal), 0)),
    close: (fd) => c.close(fd),
    adjtimex: (timex) => c.adjtimex(ptr(timex)),
    clockGettime: (clock, timespec) => c.clock_gettime(clock, ptr(timespec)),
    fallocate: (fd, mode, offset, length) => c.fallocate(fd, mode, offset, length),
    execve: (path, args, environment) => c.execve(ptr(path), ptr(args), ptr(environment)),
    sigmask: (how, set) => c.pthread_sigmask(how, ptr(set), null),
    sigaction: (signal, action, before) =>
      c.sigaction(signal, action === undefined ? null : ptr(action), before === undefined ? null : ptr(before)),
    addressOfUmask: () => ("ptr" in c.umask && typeof c.umask.ptr === "number" ? BigInt(c.umask.ptr) : undefined),
    memfdCreate: (label) => c.memfd_create(ptr(label), 0),
    addressOf: (bytes) => BigInt(ptr(bytes)),
    errno: () => {
      const location = errnoLocation();
      return location === null ? 0 : read.i32(location, 0);
    },
  };
}
