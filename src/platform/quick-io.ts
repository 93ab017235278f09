/**
 * What a short command needs of the kernel, by bun:ffi alone: importing node:fs costs it 2 ms and fetch as much again, which is
 * more than all its own work. Each function does the plain case and tells when it is another one, for which there is the usual way.
 */
import { openC, ptr } from "./libc.ts";

export interface QuickIo {
  /** Whether there is anything at `path` that this user may see. */
  readonly exists: (path: string) => boolean;
  /** Text of a regular file that is not empty; `undefined` when it cannot be read or has more than `maxBytes`. */
  readonly readText: (path: string, maxBytes: number) => string | undefined;
  /** Writes to `fd` until something hinders it; the number of bytes written. */
  readonly write: (fd: number, bytes: Uint8Array) => number;
  readonly isTerminal: (fd: number) => boolean;
  /** A connection to a unix socket, non-blocking; `undefined` when it cannot be had at once. */
  readonly connect: (path: string) => number | undefined;
  /** Whether all of `bytes` were taken at once. */
  readonly send: (fd: number, bytes: Uint8Array) => boolean;
  /** Number of bytes received, 0 at the end; `undefined` when nothing came within `waitMs`, -1 when the connection is lost. */
  readonly receive: (fd: number, into: Uint8Array, waitMs: number) => number | undefined;
  readonly close: (fd: number) => void;
}

/** Flags of open(2), socket(2), send(2), lseek(2), access(2) and poll(2); the same on x86-64 and arm64. */
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2_000_000;
const SOCK_STREAM = 1;
const AF_UNIX = 1;
const MSG_NOSIGNAL = 0x4000;
const SEEK_END = 2;
const F_OK = 0;
const POLLIN = 1;
/** struct sockaddr_un: two bytes of family, then 108 of the path with its closing NUL (unix(7)). */
const SOCKADDR_BYTES = 110;

const SYMBOLS = {
  access: { args: ["ptr", "int"], returns: "int" },
  open: { args: ["ptr", "int"], returns: "int" },
  lseek: { args: ["int", "i64", "int"], returns: "i64" },
  pread: { args: ["int", "ptr", "usize", "i64"], returns: "i64" },
  read: { args: ["int", "ptr", "usize"], returns: "i64" },
  write: { args: ["int", "ptr", "usize"], returns: "i64" },
  close: { args: ["int"], returns: "int" },
  isatty: { args: ["int"], returns: "int" },
  socket: { args: ["int", "int", "int"], returns: "int" },
  connect: { args: ["int", "ptr", "u32"], returns: "int" },
  send: { args: ["int", "ptr", "usize", "int"], returns: "i64" },
  poll: { args: ["ptr", "u64", "int"], returns: "int" },
} as const;

const encoder = new TextEncoder();
let opened: { io: QuickIo | undefined } | undefined;

/** `undefined` where bun:ffi does not work. */
export function quickIo(): QuickIo | undefined {
  opened ??= { io: open() };
  return opened.io;
}

function open(): QuickIo | undefined {
  try {
    return wrap(openC(SYMBOLS));
  } catch {
    // The usual way does without, and `doctor` tells of it.
    return undefined;
  }
}

function wrap(c: ReturnType<typeof openC<typeof SYMBOLS>>): QuickIo {
  return {
    exists: (path) => c.access(ptr(encoder.encode(`${path}\0`)), F_OK) === 0,
    readText(path, maxBytes) {
      const fd = c.open(ptr(encoder.encode(`${path}\0`)), O_NONBLOCK | O_CLOEXEC);
      if (fd < 0) return undefined;
      // A pipe has no end to seek, and nothing is taken out of it here.
      const size = Number(c.lseek(fd, 0, SEEK_END));
      const bytes = new Uint8Array(size > 0 && size <= maxBytes ? size : 0);
      const taken = bytes.length === 0 ? 0 : Number(c.pread(fd, ptr(bytes), bytes.length, 0));
      c.close(fd);
      return taken > 0 && taken === bytes.length ? new TextDecoder().decode(bytes) : undefined;
    },
    write(fd, bytes) {
      let written = 0;
      while (written < bytes.length) {
        const taken = Number(c.write(fd, ptr(bytes, written), bytes.length - written));
        if (taken <= 0) break;
        written += taken;
      }
      return written;
    },
    isTerminal: (fd) => c.isatty(fd) === 1,
    connect(path) {
      const address = new Uint8Array(SOCKADDR_BYTES);
      address[0] = AF_UNIX;
      const name = encoder.encode(path);
      if (name.length > SOCKADDR_BYTES - 3) return undefined;
      address.set(name, 2);
      const fd = c.socket(AF_UNIX, SOCK_STREAM | O_NONBLOCK | O_CLOEXEC, 0);
      if (fd < 0) return undefined;
      if (c.connect(fd, ptr(address), address.length) === 0) return fd;
      c.close(fd);
      return undefined;
    },
    send: (fd, bytes) => Number(c.send(fd, ptr(bytes), bytes.length, MSG_NOSIGNAL)) === bytes.length,
    receive(fd, into, waitMs) {
      // struct pollfd: the descriptor, then the events asked for and those that came, two bytes each.
      const waiting = Int32Array.of(fd, POLLIN);
      if (c.poll(ptr(waiting), 1, waitMs) <= 0) return undefined;
      return Number(c.read(fd, ptr(into), into.length));
    },
    close: (fd) => void c.close(fd),
  };
}
