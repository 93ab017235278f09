/** Sizes and CPU shares of the config, and sizes for people. */
import { describe, expect, test } from "vitest";
import { formatSize } from "../../src/core/size.ts";
import { cpuPercent, size } from "../../src/core/quantities.ts";

describe("size()", () => {
  test.each([
    ["0B", 0],
    ["1B", 1],
    ["512KiB", 524_288],
    ["1500MiB", 1_572_864_000],
    ["2GiB", 2_147_483_648],
    ["1TiB", 1_099_511_627_776],
  ])("reads %s as %i bytes", (text, bytes) => {
    expect(size().parse(text)).toBe(bytes);
  });

  test.each(["", "512", "512KB", "512kib", "1.5GiB", "-1MiB", "1 GiB", "2G", "1000000000000B"])(
    "refuses %j",
    (text) => {
      expect(size().safeParse(text).error?.issues[0]?.message).toBe(
        `"${text}" is not a size; write it as 512KiB, 1500MiB or 2GiB`,
      );
    },
  );

  test("refuses a number: 512 of what?", () => {
    expect(size().safeParse(512).success).toBe(false);
  });
});

describe("cpuPercent()", () => {
  test.each([
    ["1%", 1],
    ["180%", 180],
    ["6400%", 6_400],
  ])("reads %s as %i percent of one core", (text, percent) => {
    expect(cpuPercent().parse(text)).toBe(percent);
  });

  test.each(["", "180", "0%", "-5%", "1.5%", "180 %", "1000000%%"])("refuses %j", (text) => {
    expect(cpuPercent().safeParse(text).error?.issues[0]?.message).toBe(
      `"${text}" is not a CPU share; write it as 50% or 200% (of one core)`,
    );
  });
});

describe("formatSize()", () => {
  test.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [33_030_144, "31.5 MiB"],
    [2_147_483_648, "2.0 GiB"],
    [1_099_511_627_776, "1.0 TiB"],
  ])("writes %i bytes as %s", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
