/** An AF_UNIX datagram socket that a test reads: the supervisor's end of the notify protocol. */
import { dlopen, ptr } from "bun:ffi";
import { onTestFinished } from "vitest";
import { socketAddress } from "../../src/bot/datagram.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const BUFFER_BYTES = 8_192;

/** Takes the next datagram; `undefined` when there is none. */
export interface Receiver {
  (): string | undefined;
  /** As the death of the process does: the socket is closed, and a path stays where it is. */
  readonly die: () => void;
}

/** Binds `address` until the test ends, or until it dies. A concurrent test gives its own `atEnd`. */
export function receiveDatagrams(address: string, atEnd = onTestFinished): Receiver {
  const { symbols: libc } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
    recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
  });
  const target = socketAddress(address);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM, 0);
  if (target === undefined || libc.bind(fd, ptr(target), target.byteLength) !== 0)
    throw new Error(`cannot bind ${address}`);
  let open = true;
  const die = (): void => {
    if (open) libc.close(fd);
    open = false;
  };
  atEnd(die);
  const buffer = new Uint8Array(BUFFER_BYTES);
  const next = (): string | undefined => {
    const bytes = Number(libc.recv(fd, ptr(buffer), buffer.byteLength, MSG_DONTWAIT));
    return bytes < 0 ? undefined : new TextDecoder().decode(buffer.subarray(0, bytes));
  };
  return Object.assign(next, { die });
}
