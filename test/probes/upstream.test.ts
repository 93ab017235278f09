import { hostname, networkInterfaces } from "node:os";
import { describe, expect, test } from "vitest";
import { probeSchema } from "../../src/probes/index.ts";
import { isUpstream } from "../../src/probes/upstream.ts";

const own = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .filter(({ internal, family }) => !internal && family === "IPv4")
  .map(({ address }) => address);

describe("isUpstream()", () => {
  test.each([
    ["http://127.0.0.1:8080/health", false],
    ["http://127.9.9.9/health", false],
    ["http://[::1]:8080/health", false],
    ["http://localhost:8080/", false],
    ["http://LOCALHOST/", false],
    ["http://bot.localhost/", false],
    ["http://0.0.0.0:8080/", false],
    [`http://${hostname().toLowerCase()}:8080/`, false],
    ["https://fapi.binance.com/fapi/v1/ping", true],
    ["http://203.0.113.7/", true],
    ["http://[2001:db8::1]/", true],
    ["http://127.0.0.1.example.com/", true],
  ])("%s: %s", (url, expected) => {
    expect(isUpstream(probeSchema.parse({ kind: "http", url }))).toBe(expected);
  });

  test.skipIf(own.length === 0)("an address of this machine is the bot's", () => {
    for (const host of own) expect(isUpstream(probeSchema.parse({ kind: "tcp", port: 1, host }))).toBe(false);
  });

  test.each([
    [{ kind: "tcp", port: 1 }, false],
    [{ kind: "tcp", port: 1, host: "203.0.113.7" }, true],
    [{ kind: "tcp", port: 1, host: "203.0.113.7", upstream: false }, false],
    [{ kind: "http", url: "http://127.0.0.1/", upstream: true }, true],
    [{ kind: "http", url: "http://venue/", unixSocket: "bot.sock" }, false],
    [{ kind: "exec", command: ["true"] }, false],
    [{ kind: "exec", command: ["ping"], upstream: true }, true],
    [{ kind: "heartbeat" }, false],
  ])("%j: %s", (config, expected) => {
    expect(isUpstream(probeSchema.parse(config))).toBe(expected);
  });
});
