/** Addresses of Redis servers as the config has them. */
import { expect, test } from "vitest";
import { parseRedisUrl, redisUrlError } from "../../src/core/redis-url.ts";

test.each([
  ["redis://127.0.0.1", undefined, { kind: "tcp", host: "127.0.0.1", port: 6_379 }],
  ["redis://cache.example:7000/2", undefined, { kind: "tcp", host: "cache.example", port: 7_000 }],
  ["redis://backup@[::1]:7000/", "backup", { kind: "tcp", host: "::1", port: 7_000 }],
  ["redis+unix:///run/redis/redis.sock", undefined, { kind: "unix", path: "/run/redis/redis.sock" }],
  ["redis+unix://backup@/run/s", "backup", { kind: "unix", path: "/run/s" }],
])("parseRedisUrl() reads %s", (url, username, at) => {
  expect(parseRedisUrl(url)).toEqual({ username, at });
  expect(redisUrlError(url)).toBe(undefined);
});

test.each([
  ["redis://:secret@127.0.0.1", "passwordFile"],
  ["redis://ops:secret@127.0.0.1:1/0", "passwordFile"],
  ["redis+unix://ops:secret@/run/s", "passwordFile"],
  ["rediss://127.0.0.1", "TLS"],
  ["redis://127.0.0.1:70000", "write redis://HOST:PORT"],
  ["redis://", "write redis://HOST:PORT"],
  ["127.0.0.1:6379", "write redis://HOST:PORT"],
])("redisUrlError() says what to do about %s, without quoting it", (url, fix) => {
  expect(redisUrlError(url)).toContain(fix);
  expect(redisUrlError(url)).not.toContain("secret");
});
