/** Rotation of a bot's output: nothing lost, nothing twice, whatever is killed and whoever writes meanwhile. */
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { gunzipSync } from "node:zlib";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { RotateJob } from "../../src/core/rotate-job.ts";
import { ROTATE_STEPS } from "../../src/actions/rotate-log.ts";
import { collapseUnit } from "../../src/platform/collapse.ts";
import { tryLock } from "../../src/platform/lock.ts";
import { FIXTURES, until } from "../platform/until.ts";
import { flaw, MEMORY_DISK, OutputRig } from "./output-rig.ts";

const numbers = (text: string): number[] => OutputRig.numbers(text);
const PROBE = new OutputRig();
/** Whether the scratch folder's file system takes bytes out of the front of a file. */
const collapses = collapseUnit(PROBE.log) !== undefined;
PROBE[Symbol.dispose]();

function segments({ folder }: OutputRig): string[] {
  return readdirSync(folder).filter((name) => name.startsWith("bot.log."));
}

async function runKilledAt(rig: OutputRig, step: string, more: Partial<RotateJob> = {}): Promise<void> {
  const job = JSON.stringify(rig.job(more));
  const child = Bun.spawn([process.execPath, join(FIXTURES, "rotate-and-die.ts"), job, step], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
}

test.runIf(collapses)(
  "rotateLog() cuts at a block and leaves the tail, while the same descriptor goes on appending",
  async () => {
    using rig = new OutputRig();
    const fd = openSync(rig.log, "a");
    rig.write(250_000);
    const { code, said } = await rig.rotate();
    expect(code).toBe(0);
    expect(said).toMatchObject([{ kind: "rotated", bytes: 184_320, method: "collapse" }]);
    expect(statSync(rig.log).size).toBe(250_000 - 184_320);
    expect(readFileSync(rig.log, "latin1")).not.toContain("\0");
    appendFileSync(fd, "last\n");
    closeSync(fd);
    expect(flaw((await rig.text()).replace("last\n", ""), 2_500)).toBeUndefined();
  },
);

test("rotateLog() does nothing below maxSize and maxAge, and cuts for age alone", async () => {
  using rig = new OutputRig();
  rig.write(50_000);
  expect(await rig.rotate({ maxAgeMs: 3_600_000 * 1e6 })).toEqual({ code: 0, said: [] });
  expect(segments(rig)).toEqual([]);
  expect((await rig.rotate({ maxAgeMs: 1 })).said).toMatchObject([{ kind: "rotated" }]);
  expect(flaw(await rig.text(), 500)).toBeUndefined();
});

test.each([
  ["zstd", undefined],
  ["gzip", undefined],
  ["none", undefined],
  ["zstd", MEMORY_DISK],
] as const)(
  "rotateLog() packs with %s, and keeps the newest segments and no other file (disk: %s)",
  async (compress, disk) => {
    using rig = new OutputRig(disk);
    for (let n = 0; n < 5; n += 1) {
      rig.write(250_000);
      await rig.rotate({ compress, keep: 2 });
    }
    expect(segments(rig)).toHaveLength(2);
    const shown = numbers((await rig.text()).replace(/^[^\n]*\n/, ""));
    expect(shown.length).toBeGreaterThan(3_000);
    expect(shown.findIndex((number, at) => number !== rig.lines - shown.length + at)).toBe(-1);
    expect(rig.losses).toEqual([]);
    if (compress !== "gzip") return;
    const [first = ""] = segments(rig);
    expect(gunzipSync(readFileSync(join(rig.folder, first))).toString()).toContain("....");
  },
);

test("rotateLog() falls back to copy and truncate where the file system cannot collapse", async () => {
  using rig = new OutputRig(MEMORY_DISK);
  rig.write(250_000);
  expect((await rig.rotate()).said).toMatchObject([{ kind: "rotated", bytes: 250_000, method: "truncate" }]);
  expect(statSync(rig.log).size).toBe(0);
  rig.write(1_000);
  expect(flaw(await rig.text(), 2_510)).toBeUndefined();
});

describe.each([
  ["collapse", undefined],
  ["truncate", MEMORY_DISK],
] as const)("rotateLog() by %s", (method, disk) => {
  const steps = ROTATE_STEPS.filter((step) => step !== "pruned" && (step !== "rest" || method === "truncate"));
  test.runIf(disk !== undefined || collapses).each(steps)(
    "killed after %s: no line is lost or shown twice, before and after the next run",
    async (step) => {
      using rig = new OutputRig(disk);
      rig.write(250_000);
      await runKilledAt(rig, step);
      writeFileSync(join(rig.folder, ".output.json.4242.tmp"), "of a worker that was killed while it wrote the index");
      rig.write(10_000);
      expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
      expect((await rig.rotate()).code).toBe(0);
      expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
      rig.write(250_000);
      await rig.rotate();
      expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
      expect(rig.losses).toEqual([]);
      expect(readdirSync(rig.folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
      expect(segments(rig).filter((name) => statSync(join(rig.folder, name)).size === 0)).toEqual([]);
    },
  );
});

test("rotateLog() removes the empty rests that earlier releases have left, and no other file", async () => {
  using rig = new OutputRig(MEMORY_DISK);
  for (const name of [
    "bot.log.20260102T030405.678Z-rest",
    "bot.log.of-a-person",
    "bottle.log.20260102T030405.678Z-rest",
  ])
    writeFileSync(join(rig.folder, name), "");
  rig.write(100);
  await rig.rotate();
  expect(readdirSync(rig.folder)).not.toContain("bot.log.20260102T030405.678Z-rest");
  expect(readdirSync(rig.folder)).toContain("bot.log.of-a-person");
  expect(readdirSync(rig.folder)).toContain("bottle.log.20260102T030405.678Z-rest");
});

test("rotateLog() keeps and prunes a rest that has bytes with its segment", async () => {
  using rig = new OutputRig(MEMORY_DISK);
  rig.write(250_000);
  await runKilledAt(rig, "published");
  rig.write(1_000);
  await rig.rotate();
  expect(segments(rig).filter((name) => name.endsWith("-rest"))).toHaveLength(1);
  expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
  rig.write(250_000);
  await rig.rotate({ keep: 1 });
  expect(segments(rig)).toHaveLength(1);
});

test("rotateLog() killed while it prunes forgets no file", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  await rig.rotate();
  rig.write(250_000);
  await runKilledAt(rig, "pruned", { keep: 1 });
  await rig.rotate({ keep: 1 });
  expect(segments(rig)).toHaveLength(1);
});

test.runIf(collapses)("rotateLog() killed after the cut of output that repeats itself does not cut twice", async () => {
  using rig = new OutputRig();
  writeFileSync(rig.log, "y\n".repeat(125_000));
  await runKilledAt(rig, "cut");
  appendFileSync(rig.log, "y\n".repeat(100_000));
  await rig.rotate({ maxSize: 1_000_000 });
  expect(await rig.text()).toBe("y\n".repeat(225_000));
});

test("rotateLog() of output that somebody else has emptied meanwhile keeps the segment and goes on", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  await runKilledAt(rig, "published");
  truncateSync(rig.log, 0);
  expect((await rig.rotate()).code).toBe(0);
  appendFileSync(rig.log, "new\n");
  const text = await rig.text();
  expect(text.endsWith("new\n")).toBe(true);
  const whole = text.slice(0, text.lastIndexOf("\n", text.length - 2) + 1);
  expect(flaw(whole, Math.floor(184_320 / 100))).toBeUndefined();
});

test("rotateLog() makes a damaged index anew from the segments, and keeps a copy of the damaged one", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  await rig.rotate();
  rig.write(250_000);
  await rig.rotate({ compress: "gzip" });
  writeFileSync(rig.files.index, "{oops");
  const { code, said } = await rig.rotate();
  expect(code).toBe(0);
  expect(said).toMatchObject([{ kind: "note" }]);
  expect(readdirSync(rig.folder).some((name) => name.startsWith("output.json.damaged-"))).toBe(true);
  expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
});

test.each(["marked", "published"])(
  "rotateLog() that lost its index after %s still shows each line once when the mark is there",
  async (step) => {
    using rig = new OutputRig();
    rig.write(250_000);
    await runKilledAt(rig, step);
    if (step === "published") return;
    writeFileSync(rig.files.index, "");
    expect((await rig.rotate()).code).toBe(0);
    expect(flaw(await rig.text(), rig.lines)).toBeUndefined();
  },
);

test("rotateLog() refuses an index of a newer version and leaves it as it is", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  writeFileSync(rig.files.index, '{"version": 2}');
  expect(await rig.rotate()).toMatchObject({ code: 1, said: [{ kind: "failed" }] });
  expect(readFileSync(rig.files.index, "utf8")).toBe('{"version": 2}');
});

test("rotateLog() leaves the work to the worker that has the lock", async () => {
  using rig = new OutputRig();
  rig.write(250_000);
  const lock = tryLock(rig.job().lock);
  expect(await rig.rotate()).toEqual({ code: 0, said: [{ kind: "busy" }] });
  lock?.release();
});

test.runIf(collapses)(
  "rotateLog() during 50 MB/s of output: no line missing, none twice, for the reader as for the files",
  async () => {
    using rig = new OutputRig();
    const count = 1_000_000;
    const fd = openSync(rig.log, "a");
    const writer = Bun.spawn([process.execPath, join(FIXTURES, "write-lines.ts"), String(count), "50000000"], {
      stdio: ["ignore", fd, "inherit"],
    });
    closeSync(fd);
    let rotations = 0;
    while (writer.exitCode === null) {
      rotations += (await rig.rotate({ maxSize: 8_000_000 })).said.length;
      await until("there is more to rotate", () => writer.exitCode !== null || statSync(rig.log).size > 8_000_000);
    }
    await writer.exited;
    expect(rotations).toBeGreaterThan(3);
    const text = await rig.text();
    expect(text.length).toBe(count * 100);
    let line = 0;
    for (let at = 0; at < text.length; at += 100) if (Number.parseInt(text.slice(at, at + 10), 10) === line) line += 1;
    expect(line).toBe(count);
  },
);

/** Only root may mount, and not in every container. */
const mayMount =
  Bun.spawnSync(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stderr: "ignore" }).exitCode === 0;

test.runIf(mayMount)("rotateLog() on a full disk fails loudly, deletes nothing, and works once there is room", () => {
  using rig = new OutputRig();
  const run = `"$1" "$2" "$3"`;
  const script = `
    mount -t tmpfs -o size=400k tmpfs "$4"; cd "$4"
    head -c 225000 /dev/urandom | base64 -w 99 > bot.log
    cksum < bot.log; ${run} || echo "code $?"; ls -A | grep -v output; cksum < bot.log
    mount -o remount,size=2m "$4"
    ${run}; ls -A; wc -c < bot.log`;
  const args = [process.execPath, join(FIXTURES, "rotate-and-die.ts"), JSON.stringify(rig.job()), rig.folder];
  const { stdout, stderr } = Bun.spawnSync(["unshare", "--mount", "sh", "-c", script, "sh", ...args]);
  expect(stderr.toString()).toBe("");
  const [before, failed, code, file, after, rotated, ...rest] = stdout.toString().trim().split("\n");
  expect(failed).toContain("cannot write segment bot.log.");
  expect(failed).toContain("ENOSPC");
  expect([code, file, after]).toEqual(["code 1", "bot.log", before]);
  expect(rotated).toContain('"kind":"rotated"');
  expect(rest.filter((name) => name.includes("tmp"))).toEqual([]);
  expect(rest.at(-1)).toBe("0");
});
