/** A log that goes on: over restarts, torn lines, rotation, and disks that are full or gone. */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AppendLog } from "../../src/platform/append-log.ts";
import { FakeClock } from "../harness/fake-clock.ts";

let folder = "";
let dir = "";
let clock = new FakeClock();
const mounted: string[] = [];
const open = (maxBytes = 1_000, keep = 3): AppendLog => new AppendLog({ dir, maxBytes, keep, clock });
/** A line of 2 KB that says its number twice. */
const line = (n: number): string => `{"n":${n},"pad":"${"x".repeat(2_000)}","end":${n}}`;
const read = (name: string): string => readFileSync(join(dir, name), "utf8");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "log-"));
  dir = join(folder, "journal");
  clock = new FakeClock();
});
afterEach(() => {
  for (const path of mounted.splice(0)) Bun.spawnSync({ cmd: ["umount", path] });
  rmSync(folder, { recursive: true, force: true });
});

test("AppendLog writes each line at once and continues the last file after a restart", () => {
  const first = open();
  expect([first.append('{"n":1}'), first.append('{"n":2}', { sync: true })]).toEqual([true, true]);
  first.close();
  const second = open();
  expect(second.append('{"n":3}')).toBe(true);
  second.close();
  expect(read("000001.ndjson")).toBe('{"n":1}\n{"n":2}\n{"n":3}\n');
});

test("AppendLog ends a line that a power cut tore before it appends the next", () => {
  mkdirSync(dir);
  writeFileSync(join(dir, "000004.ndjson"), '{"n":1}\n{"n":');
  const log = open();
  log.append('{"n":3}');
  log.close();
  expect(read("000004.ndjson")).toBe('{"n":1}\n{"n":\n{"n":3}\n');
});

test("AppendLog starts the next file before one grows beyond its size, and keeps the newest", () => {
  const log = open(20, 2);
  for (let n = 0; n < 5; n += 1) log.append(`{"line":"${n}"}`);
  log.close();
  expect(readdirSync(dir).sort()).toEqual(["000004.ndjson", "000005.ndjson"]);
  expect(read("000005.ndjson")).toBe('{"line":"4"}\n');
});

test("AppendLog drops and counts on an unwritable disk, backs off by its clock, and recovers", () => {
  // A file in the folder's place cannot be written below, whoever we are.
  writeFileSync(dir, "");
  const log = open();
  expect(log.append("a")).toBe(false);
  expect(log.lastError).toMatch(/ENOTDIR|EEXIST/);
  rmSync(dir);
  expect([log.append("b"), log.dropped]).toEqual([false, 2]);
  clock.advance(100);
  expect([log.append("c"), log.dropped, log.lastError]).toEqual([true, 2, undefined]);
  log.close();
  expect(read("000001.ndjson")).toBe("c\n");
});

test("AppendLog tries a line that must be durable also during the back-off", () => {
  writeFileSync(dir, "");
  const log = open();
  log.append("a");
  rmSync(dir);
  expect(log.append("b", { sync: true })).toBe(true);
  log.close();
});

test("AppendLog writes to a new file when the old one was deleted under it", () => {
  const log = open();
  log.append("a");
  renameSync(dir, join(folder, "moved"));
  rmSync(join(folder, "moved"), { recursive: true });
  expect(log.append("b")).toBe(true);
  log.close();
  expect(read("000001.ndjson")).toBe("b\n");
});

test("AppendLog lets go of a deleted file whose name another one has by now", () => {
  const log = open();
  log.append("a");
  rmSync(join(dir, "000001.ndjson"));
  writeFileSync(join(dir, "000001.ndjson"), "other\n");
  clock.advance(1_000);
  log.append("b");
  log.close();
  expect(read("000001.ndjson")).toBe("other\nb\n");
});

test("AppendLog follows no link out of its folder", () => {
  mkdirSync(dir);
  symlinkSync(join(folder, "elsewhere"), join(dir, "000001.ndjson"));
  const log = open();
  expect([log.append("a"), log.dropped]).toEqual([true, 0]);
  log.close();
  expect(readdirSync(folder)).toEqual(["journal"]);
  expect(read("000002.ndjson")).toBe("a\n");
});

test("AppendLog survives a full disk: no throw, whole lines before and after, at most one torn between", (context) => {
  mkdirSync(dir);
  const mount = Bun.spawnSync({ cmd: ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir], stderr: "ignore" });
  if (mount.exitCode !== 0) context.skip("no right to mount a tmpfs");
  mounted.push(dir);
  const log = open(1_000_000);
  let written = 0;
  while (log.append(line(written)) && written < 100) written += 1;
  expect(log.dropped).toBe(1);
  rmSync(join(dir, "ballast"), { force: true });
  Bun.spawnSync({ cmd: ["mount", "-o", "remount,size=1m", dir] });
  clock.advance(5_000);
  expect(log.append(line(-1))).toBe(true);
  log.close();
  const lines = read("000001.ndjson").trimEnd().split("\n");
  const whole = lines.filter((text) => text.endsWith("}"));
  expect(whole).toEqual([...Array.from({ length: written }, (_, n) => line(n)), line(-1)]);
  expect(lines.length - whole.length).toBeLessThanOrEqual(1);
});

test.each(["a FIFO", "a folder", "a link"])(
  "AppendLog leaves %s with a log file's name and goes on in the next file",
  (what) => {
    mkdirSync(dir);
    const path = join(dir, "000001.ndjson");
    if (what === "a FIFO") Bun.spawnSync(["mkfifo", path]);
    else if (what === "a folder") mkdirSync(path);
    else symlinkSync("/nonexistent/place", path);
    const log = open();
    for (let n = 0; n < 3; n += 1) expect(log.append(`{"n":${n}}`)).toBe(true);
    log.close();
    expect(log.dropped).toBe(0);
    expect(read("000002.ndjson").split("\n")).toHaveLength(4);
  },
);

test("AppendLog keeps its number of files also where one of them cannot be removed", () => {
  const log = open();
  mkdirSync(join(dir, "000001.ndjson"), { recursive: true });
  for (let n = 0; n < 9; n += 1) log.append(line(n));
  log.close();
  // Two lines would not fit into one file: each rotation removes what is beyond the last three, the folder excepted.
  expect(readdirSync(dir)).toHaveLength(4);
});
