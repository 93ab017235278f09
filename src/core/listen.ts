/** Addresses to listen on, as the config writes them: `127.0.0.1:8001`, `[::1]:8001`, `localhost:8001`; `:8001` is every address. */
import * as z from "zod";
import { tag } from "./tag.ts";
import { later } from "./later.ts";

const PATTERN = /^(localhost|[0-9.]+|\[([0-9A-Fa-f:.]+)\])?:([0-9]{1,5})$/;
const MAX_PORT = 65_535;
const ipv4 = later(() => z.ipv4());
const ipv6 = later(() => z.ipv6());

export interface ListenAddress {
  /** An IP address without brackets, or `localhost`; `undefined`: every address of the machine. */
  readonly host: string | undefined;
  /** 0: the kernel picks one. */
  readonly port: number;
}

/** The address that `text` names, or `undefined` when it names none. Other host names are not taken: they may change their meaning. */
export function parseListen(text: string): ListenAddress | undefined {
  const match = PATTERN.exec(text);
  if (match === null) return undefined;
  const [, written, bracketed, digits] = match;
  const host = bracketed ?? written;
  const port = Number(digits);
  if (port > MAX_PORT || (host !== undefined && !isHost(host, bracketed !== undefined))) return undefined;
  return { host, port };
}

/** Whether only this machine can reach the address. An IPv4 address written as IPv6 does not count: better asked once too often. */
export function isLoopback({ host }: ListenAddress): boolean {
  if (host === undefined) return false;
  if (host === "localhost" || host.startsWith("127.")) return true;
  return host.includes(":") && new URL(`http://[${host}]`).hostname === "[::1]";
}

/** A zod type for a listening address; it stays text. */
export function listenAddress() {
  return tag(
    z
      .string()
      .meta({ pattern: PATTERN.source, examples: ["127.0.0.1:8001"] })
      .refine((text) => parseListen(text) !== undefined, {
        error: ({ input }) =>
          `"${String(input)}" is not an address to listen on; write it as 127.0.0.1:8001, "[::1]:8001" or :8001 (every address)`,
      }),
    "listen",
  );
}

function isHost(host: string, bracketed: boolean): boolean {
  if (bracketed) return ipv6.safeParse(host).success;
  return host === "localhost" || ipv4.safeParse(host).success;
}
