import { describe, expect, test } from "vitest";
import { isLoopback, parseListen } from "../../src/core/listen.ts";

describe("parseListen()", () => {
  test.each([
    ["127.0.0.1:8001", "127.0.0.1", 8001],
    ["localhost:8001", "localhost", 8001],
    ["[::1]:8001", "::1", 8001],
    ["[2001:db8::7]:80", "2001:db8::7", 80],
    ["0.0.0.0:0", "0.0.0.0", 0],
    [":8001", undefined, 8001],
    [":65535", undefined, 65_535],
  ])("reads %s", (text, host, port) => {
    expect(parseListen(text)).toEqual({ host, port });
  });

  test.each([
    "",
    "8001",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:8001/x",
    "127.1:8001",
    "127.0.0.256:8001",
    "::1:8001",
    "[::1]",
    "[127.0.0.1]:8001",
    "[1::2::3]:8001",
    "example.org:8001",
    "*:8001",
    " :8001",
    ":8001\n",
  ])("refuses %j", (text) => {
    expect(parseListen(text)).toBeUndefined();
  });
});

describe("isLoopback()", () => {
  test.each([
    ["127.0.0.1:1", true],
    ["127.8.9.10:1", true],
    ["localhost:1", true],
    ["[::1]:1", true],
    ["[0:0:0:0:0:0:0:1]:1", true],
    [":1", false],
    ["0.0.0.0:1", false],
    ["[::]:1", false],
    ["[::ffff:127.0.0.1]:1", false],
    ["[1::]:1", false],
    ["10.0.0.1:1", false],
    ["[fe80::1]:1", false],
  ])("says of %s: %s", (text, loopback) => {
    const address = parseListen(text);
    expect(address !== undefined && isLoopback(address)).toBe(loopback);
  });
});
