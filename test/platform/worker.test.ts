/** Workers get their job and little else, report in lines, and end at their deadline. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import * as z from "zod";
import { HANG_BOUNDS } from "../../src/core/hang.ts";
import { cgroupPids, detectCgroup, openPlaceOfWork, placeOfWork, removeCgroup } from "../../src/platform/cgroup.ts";
import { oomScoreAdj } from "../../src/platform/oom-score.ts";
import { isLive, readStat } from "../../src/platform/proc.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { ownPids } from "../../src/platform/subreaper.ts";
import { isAtWork, isUndying, keepWorker, runningWorkers, startWorker } from "../../src/platform/worker.ts";
import type { WorkerEnd, WorkerRequest } from "../../src/platform/worker.ts";
import { freezerMount, makeFreezer } from "../chaos/freezer.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { FIXTURES, until } from "./until.ts";

const reportSchema = z.strictObject({ job: z.unknown(), args: z.array(z.string()), environment: z.array(z.string()) });
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "worker-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const countDescriptors = (): number => readdirSync("/proc/self/fd").length;

function start(args: string[], more: Partial<WorkerRequest> = {}) {
  const lines: string[] = [];
  const worker = startWorker({
    args,
    job: '{"secret":"s3cret"}',
    deadlineMs: 15_000,
    onLine: (line) => lines.push(line),
    program: [process.execPath, join(FIXTURES, "worker.ts")],
    ...more,
  });
  return { lines, ...worker };
}

test("startWorker() gives job, arguments and a minimal environment, and hands on every line, the last without newline too", async () => {
  process.env["NOTIFY_SOCKET"] = "/nowhere";
  process.env["BUN_OPTIONS"] = "";
  const { lines, done, pid } = start(["__action", "x"], { stderrPath: join(folder, "err"), env: { EXTRA: "1" } });
  const session = readStat(pid)?.session;
  expect(await done).toEqual({ code: 5, signal: null, timedOut: false, outgrown: false });
  delete process.env["NOTIFY_SOCKET"];
  delete process.env["BUN_OPTIONS"];
  const first = reportSchema.parse(JSON.parse(lines[0] ?? ""));
  expect(first).toMatchObject({ job: { secret: "s3cret" }, args: ["__action", "x"] });
  const allowed = ["EXTRA", "HOME", "LANG", "PATH", "TMPDIR"];
  expect(first.environment.filter((name) => !allowed.includes(name))).toEqual([]);
  expect(first.environment).toContain("EXTRA");
  expect(lines.slice(1)).toEqual(["last"]);
  expect(readFileSync(join(folder, "err"), "utf8")).toBe("to stderr\n");
  expect(session).toBe(pid);
});

test("startWorker() adds nothing to a file of stderr that has 16 MiB", async () => {
  const stderrPath = join(folder, "err");
  writeFileSync(stderrPath, Buffer.alloc(16 * 1_048_576));
  const { lines, done } = start(["__action", "x"], { stderrPath });
  expect(await done).toMatchObject({ code: 5 });
  expect(lines).toHaveLength(2);
  expect(statSync(stderrPath).size).toBe(16 * 1_048_576);
});

const { base } = detectCgroup();
test.skipIf(base === undefined)(
  "startWorker() starts the worker in a cgroup of its own and removes that after it",
  async () => {
    const cgroup = join(base ?? "", `test-worker-${crypto.randomUUID()}`);
    const { pid, done } = start(["hang"], { cgroup });
    expect(cgroupPids(cgroup)).toContain(pid);
    process.kill(pid, "SIGKILL");
    await done;
    expect(existsSync(cgroup)).toBe(false);
  },
);

test("startWorker() says how willingly the kernel ends the worker", async () => {
  // Raised: lowering is for root alone.
  const oomScore = (oomScoreAdj("self") ?? 0) + 7;
  const { pid, done } = start(["hang"], { oomScore });
  expect(oomScoreAdj(pid)).toBe(oomScore);
  process.kill(pid, "SIGKILL");
  await done;
});

test.skipIf(base === undefined)(
  "startWorker() starts a worker without a cgroup in the place of work, and where we are once that is gone",
  async () => {
    const parent = join(base ?? "", `test-work-${crypto.randomUUID()}`);
    openPlaceOfWork(parent);
    const place = placeOfWork() ?? "";
    expect(dirname(place)).toBe(parent);
    const first = start(["hang"]);
    expect(cgroupPids(place)).toContain(first.pid);
    process.kill(first.pid, "SIGKILL");
    await first.done;
    expect([removeCgroup(place), removeCgroup(parent)]).toEqual([true, true]);
    const second = start(["__action", "x"]);
    expect(await second.done).toMatchObject({ code: 5 });
  },
);

test("startWorker() starts the worker where we are when there is no such cgroup", async () => {
  const { done } = start(["__action", "x"], { cgroup: join(folder, "a file", "no-cgroup") });
  expect(await done).toMatchObject({ code: 5 });
});

test("startWorker() kills at the deadline and says so", async () => {
  const { done, pid } = start(["hang"], { deadlineMs: 500 });
  expect(await done).toEqual({ code: null, signal: "SIGKILL", timedOut: true, outgrown: false });
  expect(isLive(pid)).toBe(false);
});

test("kill() ends the worker, and a second call changes nothing", async () => {
  const { done, kill, lines } = start(["hang"]);
  await until("the first line", () => lines.length > 0);
  kill();
  kill();
  expect(await done).toMatchObject({ signal: "SIGKILL", timedOut: false });
});

test("startWorker() kills a worker that outgrows its memory", async () => {
  const { done } = start(["grow"], { memory: 300 * 1_048_576 });
  expect(await done).toEqual({ code: null, signal: "SIGKILL", timedOut: false, outgrown: true });
});

test("startWorker() drops a line above 1 MiB and goes on with the next", async () => {
  const { lines, done } = start(["long"]);
  await done;
  expect(lines.slice(1)).toEqual(["short", "last"]);
});

test("startWorker() throws for a program that does not exist, and keeps no descriptor of workers that ended", async () => {
  expect(() => start([], { program: ["/no/such/binary"] })).toThrow(/ENOENT|not found/);
  await start([]).done;
  Bun.gc(true);
  const before = countDescriptors();
  for (let n = 0; n < 3; n += 1) await start([]).done;
  Bun.gc(true);
  await until("the descriptors to be closed", () => {
    Bun.gc(true);
    return countDescriptors() <= before;
  });
});

test("keepWorker() counts what an earlier version started as ours, kills it at its deadline, and forgets it then", async () => {
  const child = Bun.spawn(["sleep", "600"]);
  const { startTicks = 0 } = readStat(child.pid) ?? {};
  const running = { pid: child.pid, startTicks, memory: undefined };
  keepWorker({ ...running, startTicks: startTicks + 1, endsAtMs: 0 }, systemClock);
  expect(ownPids.has(child.pid)).toBe(false);
  const onKilled = vi.fn<(end: WorkerEnd) => void>();
  keepWorker({ ...running, endsAtMs: systemClock.monotonicMs() }, systemClock, { onKilled });
  expect(ownPids.has(child.pid)).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  await until("it is forgotten", () => !ownPids.has(child.pid));
  expect(onKilled.mock.calls).toEqual([[{ code: null, signal: null, timedOut: true, outgrown: false }]]);
  expect([...runningWorkers].map(({ pid }) => pid)).not.toContain(child.pid);
});

test("keepWorker() ends one that was stopped, long before a deadline that is hours away", async () => {
  const clock = new FakeClock();
  const child = Bun.spawn(["sleep", "600"]);
  child.kill("SIGSTOP");
  await until("it is stopped", () => readStat(child.pid)?.state === "T");
  const { startTicks = 0 } = readStat(child.pid) ?? {};
  const work = "state@local";
  keepWorker({ pid: child.pid, startTicks, memory: undefined, work, endsAtMs: 12 * 3_600_000 }, clock);
  clock.advance(HANG_BOUNDS.hungMs - 1);
  expect(isAtWork(work)).toBe(true);
  clock.advance(HANG_BOUNDS.lookMs);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  clock.advance(1_000);
  expect(isAtWork(work)).toBe(false);
});

/** Shortened: a worker is then missed in half a second. */
const HANG = { lookMs: 50, stoppedMs: 600, hungMs: 600, waitMs: undefined };

/** A program that has started another one, which is stopped, and says its pid. */
const NAMED = 'until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done';
const STOPPED_HELPER = ["-c", `sleep 600 & ${NAMED}; kill -STOP $!; echo $! >&3; wait`];

test("startWorker() kills a worker that hangs with all that it has started, and says who is stopped", async () => {
  const { lines, done } = start(STOPPED_HELPER, { program: ["/bin/sh"], hang: HANG });
  const hung = "the worker hung and was ended: sleep was stopped for 1 s (SIGSTOP)";
  expect(await done).toEqual({ code: null, signal: "SIGKILL", timedOut: false, outgrown: false, hung });
  await until("the helper is gone", () => !isLive(Number(lines[0])));
});

test("startWorker() does not look at what a worker has started where that has bounds of its own", async () => {
  const hang = { ...HANG, hungMs: undefined, alone: true } as const;
  const { done } = start(STOPPED_HELPER, { program: ["/bin/sh"], hang, deadlineMs: 2_000 });
  expect(await done).toEqual({ code: null, signal: "SIGKILL", timedOut: true, outgrown: false });
});

test("startWorker() leaves a worker that computes and says nothing", async () => {
  const busy = start(["-c", "while :; do :; done"], { program: ["/bin/sh"], hang: HANG, deadlineMs: 2_000 });
  expect(await busy.done).toEqual({ code: null, signal: "SIGKILL", timedOut: true, outgrown: false });
});

test.runIf(freezerMount !== undefined).each([
  [
    "hangs",
    { hang: HANG },
    { hung: "the worker hung and was ended: it waited for 1 s for a disk or a file system that does not answer" },
  ],
  ["overruns its deadline", { hang: HANG_BOUNDS, deadlineMs: 500 }, { timedOut: true }],
] satisfies readonly (readonly [string, Partial<WorkerRequest>, object])[])(
  "startWorker() waits no longer for one that %s and cannot be killed, which counts as at work until it is gone",
  { timeout: 30_000 },
  async (_, request, fate) => {
    using freezer = makeFreezer();
    const work = crypto.randomUUID();
    const { pid, done } = start(["hang"], { ...request, work });
    freezer.freeze(pid);
    expect(await done).toEqual({ code: null, signal: null, timedOut: false, outgrown: false, ...fate });
    expect([isLive(pid), isAtWork(work)]).toEqual([true, true]);
    freezer.thaw();
    await until("it is gone", () => !isAtWork(work));
  },
);

test.runIf(freezerMount !== undefined)(
  "startWorker() waits no longer for one that it may give up by a name, tells its pid, and knows it by that name until it is gone",
  async () => {
    using freezer = makeFreezer();
    const givesUp = crypto.randomUUID();
    const onUndying = vi.fn<(pid: number) => void>();
    const { pid, done, kill } = start(["hang"], { givesUp, onUndying });
    freezer.freeze(pid);
    expect(isUndying(givesUp)).toBe(false);
    kill();
    await done;
    expect([isUndying(givesUp), onUndying.mock.calls]).toEqual([true, [[pid]]]);
    freezer.thaw();
    await until("it is gone", () => !isUndying(givesUp));
  },
);

test("startWorker() takes no worker that has ended for one that does not die, whoever kills it afterwards", async () => {
  const clock = new FakeClock();
  const givesUp = crypto.randomUUID();
  const onUndying = vi.fn<(pid: number) => void>();
  const { done, kill } = start(["__action", "x"], { clock, givesUp, onUndying });
  await done;
  kill();
  clock.advance(60_000);
  expect([isUndying(givesUp), onUndying.mock.calls]).toEqual([false, []]);
});
