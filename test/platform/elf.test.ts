import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findSection } from "../../src/platform/elf.ts";

test("findSection() finds the code of a program where the kernel has mapped it", () => {
  const text = findSection(process.execPath, ".text");
  const maps = readFileSync("/proc/self/maps", "utf8").split("\n");
  const executable = maps.filter((line) => line.includes(" r-xp ") && line.endsWith(process.execPath));
  const around = executable.filter((line) => {
    const [from = "", to = ""] = (line.split(" ")[0] ?? "").split("-");
    return text !== undefined && BigInt(`0x${from}`) <= text.from && text.to <= BigInt(`0x${to}`);
  });
  expect(around).toHaveLength(1);
});

test("findSection() finds nothing in a program without the section, in other files, and in half a program", () => {
  const folder = mkdtempSync(join(tmpdir(), "elf-"));
  try {
    const cut = join(folder, "cut");
    writeFileSync(cut, readFileSync(process.execPath).subarray(0, 4_096));
    const script = join(folder, "script");
    writeFileSync(script, "#!/bin/sh\n");
    const empty = join(folder, "empty");
    writeFileSync(empty, "");
    const short = join(folder, "short");
    writeFileSync(short, readFileSync(cut));
    truncateSync(short, 40);
    const found = [cut, script, empty, short, join(folder, "absent")].map((path) => findSection(path, ".text"));
    expect(found).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(findSection(process.execPath, ".no-such-section")).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
