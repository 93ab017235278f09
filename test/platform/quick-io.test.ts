import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { quickIo } from "../../src/platform/quick-io.ts";

const dir = mkdtempSync(join(tmpdir(), "qi-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

test("readText() reads a file up to the limit, whatever its name", () => {
  const path = file("größe \u{1F600}.yaml", "a: é\n");
  expect(quickIo()?.readText(path, 6)).toBe("a: é\n");
  expect(quickIo()?.readText(path, 5)).toBeUndefined();
});

test("readText() leaves all that is not plain to the usual way, and takes nothing out of a pipe", () => {
  const fifo = join(dir, "fifo");
  expect(Bun.spawnSync(["mkfifo", fifo]).exitCode).toBe(0);
  mkdirSync(join(dir, "folder"));
  for (const path of [fifo, join(dir, "folder"), join(dir, "none"), file("empty", ""), "/dev/null", "/dev/zero"])
    expect([path, quickIo()?.readText(path, 1_000)]).toEqual([path, undefined]);
});

test("write() writes all, and tells how much where the descriptor takes nothing", () => {
  const path = join(dir, "out");
  const fd = openSync(path, "w");
  const text = "x".repeat(100_000);
  expect(quickIo()?.write(fd, new TextEncoder().encode(text))).toBe(100_000);
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe(text);
  expect(quickIo()?.write(fd, new TextEncoder().encode("x"))).toBe(0);
});

test("exists() and isTerminal() tell files, folders and terminals apart", () => {
  const io = quickIo();
  expect([io?.exists(dir), io?.exists(join(dir, "none"))]).toEqual([true, false]);
  const [zero, ptmx] = [openSync("/dev/null", "r"), openSync("/dev/ptmx", "r+")];
  expect([io?.isTerminal(zero), io?.isTerminal(ptmx), io?.isTerminal(-1)]).toEqual([false, true, false]);
  closeSync(zero);
  closeSync(ptmx);
});
