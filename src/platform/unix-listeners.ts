/** Who listens on a unix socket of a name, also where the file of that name is gone (proc_net(5), /proc/net/unix). */
import { readProc } from "./proc.ts";

/** Longest table read, bytes: some hundred thousand sockets. */
const MAX_TABLE_BYTES = 16 * 1_024 ** 2;
/** __SO_ACCEPTCON of linux/net.h: the socket accepts connections. */
const LISTENS = 0x10000;

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
