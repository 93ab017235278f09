/** The log file of lines: rotated by others, torn by a full disk, in the way of a FIFO. */
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LineFile } from "../../src/platform/line-file.ts";
import { FakeClock } from "../harness/fake-clock.ts";

let folder = "";
let path = "";
let clock = new FakeClock();
let log = new LineFile("", clock);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sv-lines-"));
  path = join(folder, "log", "supervisor.log");
  clock = new FakeClock();
  log = new LineFile(path, clock);
});
afterEach(() => {
  log.close();
  rmSync(folder, { recursive: true, force: true });
});

test("LineFile appends lines to a file of mode 0640, and makes its folder", () => {
  expect(log.append("one")).toBe(true);
  expect(log.append("two")).toBe(true);
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  expect(statSync(path).mode & 0o777).toBe(0o640);
});

test("LineFile goes on in a new file when the old one was renamed, removed, or replaced, without a signal", () => {
  log.append("one");
  renameSync(path, `${path}.1`);
  log.append("two");
  rmSync(path);
  log.append("three");
  writeFileSync(`${path}.new`, "theirs\n");
  renameSync(`${path}.new`, path);
  log.append("four");
  expect(readFileSync(`${path}.1`, "utf8")).toBe("one\n");
  expect(readFileSync(path, "utf8")).toBe("theirs\nfour\n");
});

test("LineFile ends a line that was cut short before it writes the next", () => {
  log.append("one");
  log.close();
  writeFileSync(path, "cut sho", { flag: "a" });
  log.append("two");
  expect(readFileSync(path, "utf8")).toBe("one\ncut sho\ntwo\n");
});

test.skipIf(!existsSync("/dev/full"))(
  "LineFile refuses a device, drops and counts lines, and tries again after a second",
  () => {
    log.append("one");
    renameSync(path, `${path}.1`);
    symlinkSync("/dev/full", path);
    expect(log.append("lost")).toBe(false);
    expect(log.lastError).toBe(`cannot append to ${path}: it is not a regular file`);
    rmSync(path);
    expect(log.append("lost too, without a try")).toBe(false);
    clock.advance(1_000);
    expect(log.append("two")).toBe(true);
    expect(log).toMatchObject({ dropped: 2, lastError: undefined });
    expect(readFileSync(path, "utf8")).toBe("two\n");
  },
);

test("LineFile does not wait for the reader of a FIFO", () => {
  const fifo = join(folder, "fifo");
  Bun.spawnSync(["mkfifo", fifo]);
  const stuck = new LineFile(fifo, clock);
  expect(stuck.append("one")).toBe(false);
});

/** Debian keeps it outside of an ordinary user's PATH. */
const logrotate = Bun.which("logrotate", { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
const shipped = join(import.meta.dirname, "..", "..", "config", "logrotate", "tradingbot");

test.skipIf(logrotate === null)(
  `LineFile loses no line to the shipped logrotate file${logrotate === null ? " (logrotate is not installed)" : ""}`,
  () => {
    const config = join(folder, "logrotate.conf");
    const text = readFileSync(shipped, "utf8").replaceAll("/var/log/tradingbot/supervisor.log", path);
    expect(text).toContain(path);
    writeFileSync(config, text, { mode: 0o644 });
    const rotate = (): void => {
      const { exitCode, stderr } = Bun.spawnSync([logrotate ?? "", "-f", "-s", join(folder, "state"), config]);
      expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
    };
    for (let n = 1; n <= 3; n += 1) {
      log.append(`line ${n}`);
      rotate();
    }
    log.append("line 4");
    expect(readFileSync(path, "utf8")).toBe("line 4\n");
    expect(readFileSync(`${path}.1`, "utf8")).toBe("line 3\n");
    expect(Bun.spawnSync(["gzip", "-dc", `${path}.2.gz`]).stdout.toString()).toBe("line 2\n");
    expect(Bun.spawnSync(["gzip", "-dc", `${path}.3.gz`]).stdout.toString()).toBe("line 1\n");
    expect(statSync(path).mode & 0o777).toBe(0o640);
  },
);
