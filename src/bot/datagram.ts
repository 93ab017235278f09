/** Sends datagrams to an AF_UNIX socket, which Bun has no call for: socket(2), sendto(2) and unix(7) through bun:ffi. */
import { createRequire } from "node:module";

export interface DatagramSender {
  /** `false` when the receiver is gone or its queue is full; never waits. */
  send(message: Uint8Array): boolean;
  close(): void;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** A supervisor that does not read must not stop the bot. */
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` of sockaddr_un, bytes. */
const MAX_PATH_BYTES = 108;

/** A sender to `address` (a path, or an abstract name that starts with `@`); `undefined` where that does not work here. */
export function datagramSender(address: string): DatagramSender | undefined {
  const target = socketAddress(address);
  if (target === undefined || typeof Bun === "undefined") return undefined;
  try {
    const { dlopen, ptr } = loadFfi();
    // No FFI under a strict memory limit, no libc.so.6 on musl: the caller falls back.
    const { symbols: libc } = dlopen("libc.so.6", {
      socket: { args: ["i32", "i32", "i32"], returns: "i32" },
      sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
      close: { args: ["i32"], returns: "i32" },
    });
    const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return undefined;
    let open = true;
    return {
      send(message) {
        if (!open || message.byteLength === 0) return false;
        const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        const sent = libc.sendto(fd, ptr(message), message.byteLength, flags, ptr(target), target.byteLength);
        return Number(sent) === message.byteLength;
      },
      close() {
        if (open) libc.close(fd);
        open = false;
      },
    };
  } catch {
    return undefined;
  }
}

/** Loaded when it is needed: other runtimes refuse a module that imports it. */
function loadFfi(): typeof import("bun:ffi") {
  const require = createRequire(import.meta.url);
  return require("bun:ffi");
}

/** A sockaddr_un: family, then the path with its final zero, or a zero and the abstract name without one. */
export function socketAddress(address: string): Uint8Array | undefined {
  const abstract = address.startsWith("@");
  if (!abstract && !address.startsWith("/")) return undefined;
  const name = new TextEncoder().encode(abstract ? `\0${address.slice(1)}` : `${address}\0`);
  if (name.byteLength > MAX_PATH_BYTES) return undefined;
  const target = new Uint8Array(2 + name.byteLength);
  new DataView(target.buffer).setUint16(0, AF_UNIX, true);
  target.set(name, 2);
  return target;
}
