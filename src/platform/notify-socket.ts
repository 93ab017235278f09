/**
 * The socket that bots report to (sd_notify(3), systemd's manager_dispatch_notify_fd): a datagram carries the sender's
 * credentials, and closing a received descriptor answers BARRIER=1. Read on SIGIO, so that no thread and no poll is needed.
 */
import { chmodSync, chownSync, fchmodSync, lstatSync, rmSync } from "node:fs";
import type { Clock } from "./clock.ts";
import { ERRNO, libc, libcError } from "./libc.ts";
import type { Libc } from "./libc.ts";
import { DatagramReader } from "./datagram-reader.ts";
import type { Datagram } from "./datagram-reader.ts";
import { MAX_SOCKET_PATH_BYTES, unixAddress } from "./unix-address.ts";

export type { Datagram } from "./datagram-reader.ts";

export interface NotifySocketOptions {
  readonly path: string;
  /** Permission bits of the socket file. */
  readonly mode: number;
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly clock: Clock;
  /** Called once for each good datagram, in order; whether its sender may speak is the caller's decision. */
  readonly onDatagram: (datagram: Datagram) => void;
}

export interface NotifySocket {
  readonly path: string;
  /** Datagrams handed to `onDatagram`. */
  readonly received: number;
  /** Datagrams dropped: no credentials, truncated, a NUL inside, or too many descriptors. */
  readonly dropped: number;
  /** Handles what waits, at most for `maxMs` and 200 datagrams, and continues in a later turn; returns the number handled. */
  readonly drain: (maxMs?: number) => number;
  /** Closes the socket and removes its file. */
  readonly close: () => void;
}

const AF_UNIX = 1;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0x800 | 0x80000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_PASSCRED = 16;
const SO_RCVBUFFORCE = 33;
const F_SETFL = 4;
const F_SETOWN = 8;
const F_SETSIG = 10;
const O_NONBLOCK = 0x800;
const O_ASYNC = 0x2000;
const SIGIO = 29;

/** As systemd sets for its own notify socket. */
const RECEIVE_BUFFER_BYTES = 8_388_608;
/** One turn's share of a burst: about 2 ms of work, so that the loop's other duties never wait long. */
const MAX_DATAGRAMS_PER_TURN = 200;
const MAX_TURN_MS = 5;

interface OpenSocket extends NotifySocket {
  readonly wake: () => void;
}

const openSockets = new Set<OpenSocket>();
let listening = false;

/** Opens the socket at `path` in place of a stale one; another kind of file there is an error. */
export function openNotifySocket(options: NotifySocketOptions): NotifySocket | { readonly error: string } {
  const c = libc();
  const refuse = (why: string): { error: string } => ({ error: `cannot open notify socket ${options.path}: ${why}` });
  if (c === undefined) return refuse(libcError() ?? "no C library");
  const address = unixAddress(options.path);
  if (address === undefined) return refuse(`its path is empty or longer than ${MAX_SOCKET_PATH_BYTES} bytes`);
  const fd = c.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
  if (fd < 0) return refuse(`socket(2) failed with errno ${c.errno()}`);
  try {
    removeStale(options.path);
    bindSocket(c, fd, address, options);
  } catch (cause) {
    c.close(fd);
    return refuse(cause instanceof Error ? cause.message : String(cause));
  }
  const socket = createSocket(c, fd, options);
  openSockets.add(socket);
  armSignal(c, fd);
  return socket;
}

function removeStale(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new Error("a file that is not a socket is in its place");
  rmSync(path);
}

/** Credentials are asked for before the path is visible: the kernel attaches them at sending time. */
function bindSocket(c: Libc, fd: number, address: Uint8Array, options: NotifySocketOptions): void {
  if (c.setIntOption(fd, SOL_SOCKET, SO_PASSCRED, 1) !== 0) throw new Error(`SO_PASSCRED: errno ${c.errno()}`);
  // Beyond the system's limit only with CAP_NET_ADMIN; a smaller buffer holds fewer datagrams and is no error.
  if (c.setIntOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES) !== 0) {
    c.setIntOption(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
  }
  // The file gets the mode of the socket: nobody may send before owner and mode are right.
  fchmodSync(fd, 0);
  if (c.bind(fd, address) !== 0) throw new Error(`bind(2) failed with errno ${c.errno()}`);
  if (options.owner !== undefined) chownSync(options.path, options.owner.uid, options.owner.gid);
  chmodSync(options.path, options.mode);
}

function createSocket(c: Libc, fd: number, { path, clock, onDatagram }: NotifySocketOptions): OpenSocket {
  const reader = new DatagramReader(c);
  const state = { open: true, scheduled: false, received: 0 };
  const drain = (maxMs: number): number => {
    const endMs = clock.monotonicMs() + maxMs;
    for (let count = 0; state.open; count += 1) {
      if (count >= MAX_DATAGRAMS_PER_TURN || (count > 0 && clock.monotonicMs() >= endMs)) {
        continueLater();
        return count;
      }
      const outcome = reader.read(fd, (datagram) => {
        state.received += 1;
        onDatagram(datagram);
      });
      if (outcome === "empty") return count;
    }
    return 0;
  };
  const continueLater = (): void => {
    if (state.scheduled) return;
    state.scheduled = true;
    setImmediate(() => {
      state.scheduled = false;
      drain(MAX_TURN_MS);
    });
  };
  const socket: OpenSocket = {
    path,
    get received() {
      return state.received;
    },
    get dropped() {
      return reader.dropped;
    },
    drain: (maxMs = MAX_TURN_MS) => drain(maxMs),
    // In a turn of its own: draining at each signal would leave no turn for anything else while a burst lasts.
    wake: () => continueLater(),
    close() {
      if (!state.open) return;
      state.open = false;
      openSockets.delete(socket);
      c.close(fd);
      rmSync(path, { force: true });
    },
  };
  return socket;
}

/**
 * Lets the kernel raise SIGIO for each arriving datagram (fcntl(2) O_ASYNC). The handler comes first and stays for good: unhandled, SIGIO
 * ends the process. A worker thread gets no signals; there, and where fcntl fails, the owner's tick drains the socket.
 */
function armSignal(c: Libc, fd: number): void {
  if (!Bun.isMainThread) return;
  if (!listening) {
    process.on("SIGIO", () => {
      for (const socket of openSockets) socket.wake();
    });
    listening = true;
  }
  if (c.fcntl(fd, F_SETOWN, process.pid) !== 0 || c.fcntl(fd, F_SETSIG, SIGIO) !== 0) return;
  if (c.fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) !== 0 && c.errno() === ERRNO.EINTR) {
    c.fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
  }
}
