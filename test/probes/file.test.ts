import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";

let cwd = "";
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "probe-file-"));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

const hourMs = 3_600_000;

/** A probe on `beat` with maxAge 2m; the bot has been up for `upMs`, and `write()` stamps the file by the fake wall clock. */
function rig(upMs = 0) {
  const clock = new FakeClock();
  clock.advance(upMs);
  const path = join(cwd, "beat");
  const config = probeSchema.parse({ kind: "file", path: "beat", maxAge: "2m" });
  const probe = createProbe(config, probeContext({ clock, cwd, armedAtMs: () => 0 }));
  const write = (agoMs = 0): void => {
    writeFileSync(path, "");
    const at = new Date(clock.wallTime().getTime() - agoMs);
    utimesSync(path, at, at);
  };
  return { clock, path, write, run: () => probe.run(noAbort()) };
}

describe("file age", () => {
  test("succeeds up to maxAge and fails beyond it", async () => {
    const { clock, path, write, run } = rig();
    write();
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(120_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(1_000);
    expect(await run()).toEqual({ kind: "failure", reason: `${path} was last written 121 s ago (maxAge 2m)` });
  });

  test("succeeds as long as the file is written", async () => {
    const { clock, write, run } = rig();
    for (let i = 0; i < 5; i++) {
      write();
      expect(await run()).toEqual({ kind: "success" });
      clock.advance(100_000);
    }
  });

  test("counts the age that the file has when it is first seen", async () => {
    const { clock, write, run } = rig(hourMs);
    write(100_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(21_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });

  test("a file left by an earlier run is unknown until the bot had maxAge to write it", async () => {
    const { clock, write, run } = rig();
    write(hourMs);
    expect(await run()).toMatchObject({ kind: "unknown" });
    clock.advance(119_000);
    expect(await run()).toMatchObject({ kind: "unknown" });
    clock.advance(2_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });
});

describe("file and the wall clock", () => {
  test.each([hourMs, -hourMs])("a step of %i ms while the file is watched changes nothing", async (stepMs) => {
    const { clock, write, run } = rig(hourMs);
    write();
    await run();
    clock.stepWall(stepMs);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(10_000);
    write();
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(121_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });

  test("a write just before a step counts as no older than the last look", async () => {
    const { clock, write, run } = rig(hourMs);
    write();
    await run();
    clock.advance(10_000);
    write();
    clock.stepWall(hourMs);
    expect(await run()).toEqual({ kind: "success" });
  });

  test("a file from the future is unknown until it changes or has been still for maxAge", async () => {
    const { clock, path, write, run } = rig(hourMs);
    write(-hourMs);
    expect(await run()).toEqual({ kind: "unknown", reason: `${path} was written in the future: clock step?` });
    clock.advance(60_000);
    write(-hourMs);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(121_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });
});

describe("file that cannot be judged", () => {
  test("absent is unknown at first and a failure when the bot had maxAge to write it", async () => {
    const { clock, path, run } = rig();
    expect(await run()).toMatchObject({ kind: "unknown" });
    clock.advance(120_000);
    expect(await run()).toEqual({ kind: "failure", reason: `${path} does not exist` });
  });

  test("removed is a failure at once", async () => {
    const { path, write, run } = rig();
    write();
    await run();
    rmSync(path);
    expect(await run()).toEqual({ kind: "failure", reason: `${path} does not exist` });
  });

  // A symbolic link to itself is unreadable for root too, unlike a mode.
  test("unreadable is unknown: the probe broke, not the bot", async () => {
    const { path, run } = rig(hourMs);
    const { symlinkSync } = await import("node:fs");
    symlinkSync(path, path);
    expect(await run()).toMatchObject({ kind: "unknown" });
  });

  test.skipIf(process.getuid?.() === 0)("in a folder that may not be entered is unknown", async () => {
    const { write, run } = rig(hourMs);
    write();
    chmodSync(cwd, 0o000);
    const result = await run();
    chmodSync(cwd, 0o700);
    expect(result).toMatchObject({ kind: "unknown" });
  });
});
