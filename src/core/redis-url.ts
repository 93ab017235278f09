/** Where a Redis server listens, as the config names it. A password is never part of it. */

/** Redis itself listens there (redis.conf). */
const STANDARD_PORT = 6_379;
const TCP = /^redis:\/\/(?:([^:@/\s]+)@)?(\[[0-9a-fA-F:.]+\]|[^:@/\s[\]]+)(?::(\d{1,5}))?(?:\/\d*)?$/;
const UNIX = /^redis\+unix:\/\/(?:([^:@/\s]+)@)?(\/\S+)$/;

export interface RedisPlace {
  /** `undefined`: the default user. */
  readonly username: string | undefined;
  readonly at:
    | { readonly kind: "tcp"; readonly host: string; readonly port: number }
    | { readonly kind: "unix"; readonly path: string };
}

/** `undefined` when it is no such address. The number of a database at its end means nothing: a backup has all of them. */
export function parseRedisUrl(url: string): RedisPlace | undefined {
  const [, tcpUser, host, port = String(STANDARD_PORT)] = TCP.exec(url) ?? [];
  if (host !== undefined && Number(port) >= 1 && Number(port) <= 65_535)
    return { username: tcpUser, at: { kind: "tcp", host: host.replace(/^\[|\]$/g, ""), port: Number(port) } };
  const [, unixUser, path] = UNIX.exec(url) ?? [];
  return path === undefined ? undefined : { username: unixUser, at: { kind: "unix", path } };
}

/** What is wrong with the address, with the fix; `undefined` when nothing is. Never quotes what may be a password. */
export function redisUrlError(url: string): string | undefined {
  if (parseRedisUrl(url) !== undefined) return undefined;
  if (/^redis(\+unix)?:\/\/[^/]*:[^/]*@/.test(url))
    return "holds a password; write it into a file and name that in passwordFile";
  if (url.startsWith("rediss:"))
    return "asks for TLS, which is not supported; use a tunnel, or a unix socket on the server's machine";
  return "is not the address of a Redis server; write redis://HOST:PORT, or redis+unix:///PATH/TO/redis.sock";
}
