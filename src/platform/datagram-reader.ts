/** One datagram at a time from a unix socket, with the sender's credentials and descriptors (recvmsg(2), unix(7), cmsg(3)). */
import { ERRNO } from "./libc.ts";
import type { Libc } from "./libc.ts";

export interface Datagram {
  /** The bytes as UTF-8; what is not UTF-8 reads as U+FFFD. One trailing NUL is taken off. */
  readonly text: string;
  /** Credentials of the sender, checked by the kernel. */
  readonly pid: number;
  readonly uid: number;
  /** Descriptors that came along; they are closed after the handler ran, which is the answer to BARRIER=1. */
  readonly fds: number;
}

/** The protocol's buffer (systemd NOTIFY_BUFFER_MAX); a longer datagram is dropped. */
const MAX_DATAGRAM_BYTES = 4_096;
/** BARRIER=1 carries one and a descriptor store message a few; more is an attempt to fill our table. */
const MAX_DESCRIPTORS = 8;

// One buffer: msghdr (56 bytes), iovec (16), control messages, data, all at fixed places. 64-bit little-endian Linux.
const IOVEC_AT = 56;
const CONTROL_AT = 72;
/** Credentials (32 bytes) and the kernel's most descriptors (SCM_MAX_FD 253, 1032 bytes), so that none is lost unclosed. */
const CONTROL_BYTES = 1_088;
const DATA_AT = CONTROL_AT + CONTROL_BYTES;
const HEADER_BYTES = 16;

const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MSG_CTRUNC = 0x08;
const MSG_TRUNC = 0x20;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;

interface Ancillary {
  pid: number;
  uid: number;
  fds: number[];
}

export class DatagramReader {
  /** Datagrams thrown away whole. */
  dropped = 0;
  readonly #libc: Libc;
  // An ArrayBuffer of its own: the structure holds its own addresses, so the bytes must never move.
  readonly #bytes = new Uint8Array(new ArrayBuffer(DATA_AT + MAX_DATAGRAM_BYTES));
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #decoder = new TextDecoder();

  constructor(libc: Libc) {
    this.#libc = libc;
    const address = libc.addressOf(this.#bytes);
    this.#view.setBigUint64(16, address + BigInt(IOVEC_AT), true);
    this.#view.setBigUint64(24, 1n, true);
    this.#view.setBigUint64(32, address + BigInt(CONTROL_AT), true);
    this.#view.setBigUint64(IOVEC_AT, address + BigInt(DATA_AT), true);
    this.#view.setBigUint64(IOVEC_AT + 8, BigInt(MAX_DATAGRAM_BYTES), true);
  }

  /** Reads one datagram and hands a good one to `handle`; `empty` when none waits. */
  read(fd: number, handle: (datagram: Datagram) => void): "handled" | "dropped" | "empty" {
    this.#view.setBigUint64(40, BigInt(CONTROL_BYTES), true);
    this.#view.setInt32(48, 0, true);
    const size = this.#libc.recvmsg(fd, this.#bytes, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) return this.#libc.errno() === ERRNO.EINTR ? this.read(fd, handle) : "empty";
    const ancillary = this.#ancillary();
    try {
      const text = this.#text(size, ancillary);
      if (text === undefined) {
        this.dropped += 1;
        return "dropped";
      }
      handle({ text, pid: ancillary.pid, uid: ancillary.uid, fds: ancillary.fds.length });
      return "handled";
    } finally {
      for (const received of ancillary.fds) this.#libc.close(received);
    }
  }

  #ancillary(): Ancillary {
    const found: Ancillary = { pid: 0, uid: 0, fds: [] };
    const end = CONTROL_AT + Number(this.#view.getBigUint64(40, true));
    for (let at = CONTROL_AT; at + HEADER_BYTES <= end;) {
      const length = Number(this.#view.getBigUint64(at, true));
      if (length < HEADER_BYTES) break;
      if (this.#view.getInt32(at + 8, true) === SOL_SOCKET) this.#take(found, at, Math.min(at + length, end));
      at += Math.ceil(length / 8) * 8;
    }
    return found;
  }

  #take(found: Ancillary, at: number, end: number): void {
    const type = this.#view.getInt32(at + 12, true);
    if (type === SCM_CREDENTIALS && end - at >= HEADER_BYTES + 12) {
      found.pid = this.#view.getInt32(at + HEADER_BYTES, true);
      found.uid = this.#view.getUint32(at + HEADER_BYTES + 4, true);
    }
    if (type !== SCM_RIGHTS) return;
    for (let place = at + HEADER_BYTES; place + 4 <= end; place += 4) {
      found.fds.push(this.#view.getInt32(place, true));
    }
  }

  /** Text of a datagram that keeps the protocol's rules; `undefined` for one to drop. */
  #text(size: number, { pid, fds }: Ancillary): string | undefined {
    const flags = this.#view.getInt32(48, true);
    if (pid <= 0 || (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0 || fds.length > MAX_DESCRIPTORS) return undefined;
    const data = this.#bytes.subarray(DATA_AT, DATA_AT + size);
    const body = data.at(-1) === 0 ? data.subarray(0, -1) : data;
    return body.includes(0) ? undefined : this.#decoder.decode(body);
  }
}
