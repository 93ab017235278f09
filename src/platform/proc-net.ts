/** The sockets of a process, from /proc/PID/net and its descriptors (proc(5)). */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { readProc } from "./proc.ts";

export interface Socket {
  readonly kind: string;
  readonly local: string;
  readonly localPort: number;
  readonly remote: string;
  /** Of TCP; empty for others. */
  readonly state: string;
}

/** include/net/tcp_states.h */
const TCP_STATES = [
  "",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
];
/** Descriptors looked at. */
const MAX_FDS = 4_096;

/** Every internet socket in the network namespace of `pid`, by inode. */
export function socketsByInode(pid: number): ReadonlyMap<string, Socket> {
  const sockets = new Map<string, Socket>();
  for (const kind of ["tcp", "tcp6", "udp", "udp6"])
    for (const line of (readProc(`/proc/${pid}/net/${kind}`) ?? "").split("\n").slice(1)) {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || inode === undefined) continue;
      sockets.set(inode, {
        kind,
        local: address(local),
        localPort: portOf(local),
        remote: address(remote),
        state: kind.startsWith("tcp") ? (TCP_STATES[Number.parseInt(state ?? "", 16)] ?? "") : "",
      });
    }
  return sockets;
}

export interface Descriptor {
  readonly fd: number;
  /** What it leads to: a path, or for example `socket:[12345]`. */
  readonly target: string;
  readonly inode: string | undefined;
}

/** Open descriptors of `pid`. Throws when they may not be read; one that is closed meanwhile is left out. */
export function descriptorsOf(pid: number): readonly Descriptor[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .slice(0, MAX_FDS)
    .flatMap((fd) => {
      const target = linkOf(join(folder, fd));
      if (target === undefined) return [];
      return [{ fd: Number(fd), target, inode: /^socket:\[(\d+)\]$/.exec(target)?.[1] }];
    });
}

/** TCP ports on which the process itself listens. */
export function listeningPorts(pid: number): ReadonlySet<number> {
  const sockets = socketsByInode(pid);
  return new Set(
    descriptorsOf(pid).flatMap(({ inode }) => {
      const socket = inode === undefined ? undefined : sockets.get(inode);
      return socket?.state === "LISTEN" ? [socket.localPort] : [];
    }),
  );
}

function portOf(text: string): number {
  return Number.parseInt(text.split(":")[1] ?? "", 16);
}

/** `0100007F:2329` is 127.0.0.1:9001: words of four bytes, each in the machine's order, which is little-endian on x64 and arm64. */
function address(text: string): string {
  const words = (text.split(":")[0] ?? "").match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) =>
    (word.match(/../g) ?? []).toReversed().map((pair) => Number.parseInt(pair, 16)),
  );
  if (bytes.length === 4) return `${bytes.join(".")}:${portOf(text)}`;
  const groups = Array.from({ length: 8 }, (_, n) =>
    (((bytes[2 * n] ?? 0) << 8) | (bytes[2 * n + 1] ?? 0)).toString(16),
  );
  return `[${groups.join(":")}]:${portOf(text)}`;
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Closed meanwhile.
    return undefined;
  }
}
