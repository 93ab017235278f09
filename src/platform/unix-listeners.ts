/** Who listens on a unix socket of a name, also where the file of that name is gone (proc_net(5), /proc/net/unix). */
import { statSync } from "node:fs";
import { ERRNO, libc } from "./libc.ts";
import { readProc } from "./proc.ts";
import { unixAddress } from "./unix-address.ts";

/** Longest table read, bytes: some hundred thousand sockets. */
const MAX_TABLE_BYTES = 16 * 1_024 ** 2;
/** __SO_ACCEPTCON of linux/net.h: the socket accepts connections. */
const LISTENS = 0x10000;

const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0x800 | 0x80000;

/** `unknown` is never nobody: what hinders us to ask does not hinder the one who listens. */
export type Listener = { readonly kind: "listens" | "nobody" } | { readonly kind: "unknown"; readonly reason: string };

/** Whether somebody listens at the socket file at `path`, which is asked for by a connection. Never throws. */
export function listenerAt(path: string): Listener {
  const c = libc();
  if (c === undefined) return listenerInTables(path);
  const address = unixAddress(path);
  if (address === undefined) return { kind: "unknown", reason: "it is no path that a socket can have" };
  const fd = c.socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
  if (fd < 0) return { kind: "unknown", reason: `socket(2) failed with errno ${c.errno()}` };
  const errno = c.connect(fd, address) === 0 ? 0 : c.errno();
  c.close(fd);
  switch (errno) {
    case 0:
    // More wait already than it takes on at once (connect(2)): one that listens does so.
    case ERRNO.EAGAIN:
      return { kind: "listens" };
    case ERRNO.ENOENT:
    case ERRNO.ECONNREFUSED:
      return { kind: "nobody" };
    default:
      return { kind: "unknown", reason: `connect(2) failed with errno ${errno}` };
  }
}

/** Without bun:ffi. The table has the sockets of this network namespace alone: one that is not in it may be of another. */
function listenerInTables(path: string): Listener {
  if (isListenedOn(path)) return { kind: "listens" };
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return { kind: "nobody" };
  } catch {
    // It cannot be looked at.
  }
  return { kind: "unknown", reason: "bun:ffi does not work here" };
}

/**
 * Whether a socket that was bound to `path`, an absolute path, accepts connections in this network namespace. It does so until its
 * last holder ends, wherever the file has gone since. False where the table cannot be read.
 */
export function isListenedOn(path: string): boolean {
  return (readProc("/proc/net/unix", MAX_TABLE_BYTES) ?? "").split("\n").some((line) => {
    // Num: RefCount Protocol Flags Type St Inode Path; a path may have spaces.
    const [, flags = "", bound] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +\d+ (.*)$/.exec(line) ?? [];
    return bound === path && (Number.parseInt(flags, 16) & LISTENS) !== 0;
  });
}
