/** The daemon becomes another version of itself in its own process, and the bots notice nothing. */
import { readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive, readStat } from "../../src/platform/proc.ts";
import { program, script, STAY } from "./fixture.ts";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { lasting, NEXT_VERSION, nextVersion } from "./next-version.ts";
import { startPaper } from "./paper.ts";
import { findProcess } from "./processes.ts";

const next = nextVersion("next");

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
const startOf = (pid: number | null): number | undefined => readStat(pid ?? 0)?.startTicks;

function bots(count: number, settings: BotSettings): Record<string, BotSettings> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`bot${index}`, settings]));
}

/** A bot that ends itself in the instant of the upgrade. */
function endingBy(signal: string): BotSettings {
  return { command: script("signal-in-upgrade.sh", signal, "self") };
}

test.concurrent("supervisor upgrade puts a new version into the same process; the bot runs on untouched", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  await rig.botIn("running");
  process.kill((await rig.bot()).pid ?? Number.NaN, "SIGKILL");
  const before = await rig.botUntil(
    "it was restarted",
    ({ state, generation }) => state === "running" && generation === 2,
  );
  const [kept, start] = [lasting(pid), startOf(before.pid)];
  const dry = await rig.cli("upgrade", "--binary", next, "--dry-run");
  expect(dry).toMatchObject({ code: 0, err: "" });
  expect(dry.out).toContain(`${next} is version ${NEXT_VERSION} and could take over`);
  expect((await rig.status()).supervisor.version).not.toBe(NEXT_VERSION);
  const done = await rig.cli("upgrade", "--binary", next, "--json");
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(JSON.parse(done.out)).toMatchObject({ to: NEXT_VERSION, binary: next, dryRun: false, pid });
  const { supervisor } = await rig.status();
  expect(supervisor).toMatchObject({ version: NEXT_VERSION, pid });
  expect(readlinkSync(`/proc/${pid}/exe`)).toBe(next);
  expect(lasting(pid)).toEqual(kept);
  const after = await rig.bot();
  expect(after).toMatchObject({ pid: before.pid, generation: 2, adopted: true, restarts: { total: 1, inPeriod: 1 } });
  expect(after.restarts.byReason).toEqual(before.restarts.byReason);
  expect(after.lastExit).toEqual(before.lastExit);
  expect(startOf(after.pid)).toBe(start);
  const told = rig.journal.map((entry) => ("text" in entry ? entry.text : ""));
  expect(told.some((text) => text.startsWith(`upgrading to ${NEXT_VERSION}: `))).toBe(true);
  expect(told.some((text) => text.startsWith("upgraded from ") && text.endsWith(` to ${NEXT_VERSION}`))).toBe(true);
  process.kill(after.pid ?? Number.NaN, "SIGTERM");
  const again = await rig.botUntil(
    "it is restarted",
    ({ state, generation }) => state === "running" && generation === 3,
  );
  expect(again).toMatchObject({
    adopted: false,
    restarts: { total: 2, byReason: { signal: 2 } },
    lastExit: { cause: "signal", signal: "SIGTERM" },
  });
  expect((await rig.cli("stop", "bot")).code).toBe(0);
});

test.concurrent("SIGUSR1 upgrades to what is at the path of the start by now, twenty times, and nothing piles up", async () => {
  await using rig = new Rig({ bots: bots(5, { command: STAY }) });
  const link = rig.path("supervisor");
  symlinkSync(rig.binary, link);
  const daemon = await rig.run({}, link);
  await until("all run", async () => (await rig.status()).bots.every(({ state }) => state === "running"));
  const upgradeOnce = async (count: number): Promise<void> => {
    const { startedAt } = (await rig.status()).supervisor;
    if (count === 1) {
      rmSync(link);
      symlinkSync(next, link);
    }
    process.kill(daemon.pid, "SIGUSR1");
    await until("the next version answers", async () => {
      const status = await rig.status().catch(() => undefined);
      return status !== undefined && status.supervisor.startedAt !== startedAt;
    });
  };
  const pids = (await rig.status()).bots.map(({ pid }) => pid);
  await upgradeOnce(1);
  const [open, kept] = [descriptors(daemon.pid), lasting(daemon.pid)];
  for (let count = 2; count <= 20; count += 1) await upgradeOnce(count);
  expect(descriptors(daemon.pid)).toBeLessThanOrEqual(open + 2);
  expect(lasting(daemon.pid)).toEqual(kept);
  const { supervisor, bots: after } = await rig.status();
  expect(supervisor).toMatchObject({ version: NEXT_VERSION, pid: daemon.pid });
  expect(supervisor.rssBytes).toBeLessThan(150 * 1024 ** 2);
  expect(after.map(({ pid }) => pid)).toEqual(pids);
  expect(after.every(({ adopted, state, restarts }) => adopted && state === "running" && restarts.total === 0)).toBe(
    true,
  );
});

test.concurrent("a bot that ends while nobody watches is seen with its true end, and the others run on", async () => {
  await using rig = new Rig({
    bots: { ...bots(20, { command: STAY }), kill: endingBy("KILL"), abort: endingBy("ABRT") },
  });
  await rig.run();
  await until("all run", async () => (await rig.status()).bots.every(({ state }) => state === "running"));
  const pids = (await rig.status()).bots.map(({ pid }) => pid);
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  for (const [name, signal] of [
    ["kill", "SIGKILL"],
    ["abort", "SIGABRT"],
  ] as const) {
    const bot = await rig.botUntil(
      "it was restarted",
      ({ generation, state }) => generation === 2 && state === "running",
      undefined,
      name,
    );
    expect(bot).toMatchObject({ restarts: { total: 1 }, lastExit: { cause: "signal", signal } });
  }
  const after = (await rig.status()).bots.map(({ pid }) => pid);
  expect(after.slice(0, 20)).toEqual(pids.slice(0, 20));
});

test.concurrent("a signal that comes while nobody listens yet waits, and is obeyed", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("signal-in-upgrade.sh", "TERM", "supervisor") } } });
  const { exited } = await rig.run();
  await rig.botIn("running");
  const upgrade = rig.cli("upgrade", "--binary", next);
  expect(await exited).toBe(0);
  expect(rig.read("daemon.err")).toContain("supervisor is stopping: SIGTERM");
  await upgrade;
  expect((await rig.cli("status")).code).toBe(3);
  await rig.run();
});

test.concurrent("an order to close that comes in the last moment of the old version is obeyed by one of the two", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  await rig.botIn("running");
  const orders = (): number => rig.read("daemon.err").split("SIGUSR2 was sent").length - 1;
  for (let count = 1; count <= 5; count += 1) {
    const [watcher = "", ...words] = program("signal-at-text.ts", rig.path("daemon.err"), "upgrading to");
    const child = Bun.spawn([watcher, ...words, String(pid), "SIGUSR2"], { stdout: "pipe", cwd: rig.folder });
    await child.stdout.getReader().read();
    const { code, err } = await rig.cli("upgrade", "--binary", next);
    expect(code === 0 ? "upgraded" : err).toMatch(/^upgraded$|SIGUSR2 has come/);
    expect(await child.exited).toBe(0);
    await until("the order is obeyed", () => orders() === count);
  }
});

test.concurrent("a new version that dies at its start is told by the command, and the next start adopts the bots", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("signal-in-upgrade.sh", "KILL", "supervisor") } } });
  const { exited } = await rig.run();
  const { pid } = await rig.botIn("running");
  const { code, err } = await rig.cli("upgrade", "--binary", next);
  await exited;
  expect(err).toContain("the new version ended at its start; the bots live on");
  expect(err).toContain("hint: ");
  expect(code).toBe(1);
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ pid, adopted: true, generation: 1 });
});

test.concurrent("a probe's command that runs in that instant is ended, and does not stay without anybody to end it", async () => {
  const probes = [{ kind: "exec", command: ["sleep", "500"], period: "60s", timeout: "50s" }];
  await using rig = new Rig({ bots: { bot: { command: STAY, probes } } });
  await rig.run();
  const command = await until("the probe runs", () => findProcess(rig.folder, "sleep", "500"));
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  await until("its command is gone", () => !isLive(command));
  expect(await rig.botIn("running")).toMatchObject({ adopted: true, generation: 1 });
});

test.concurrent("a worker that runs in that instant goes on, and does not end with the bot", async () => {
  using venue = Bun.serve({ port: 0, hostname: "127.0.0.1", idleTimeout: 0, fetch: () => new Promise(() => {}) });
  const endpoint = `http://127.0.0.1:${venue.port}`;
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(endpoint) } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const asked = rig.cli("emergency", "plan", "bot");
  const worker = await until("the worker asks the venue", () => findProcess(rig.folder, "__action", "close-positions"));
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await rig.botUntil("the bot is restarted", ({ state, generation }) => state === "running" && generation === 2);
  expect(isLive(worker)).toBe(true);
  process.kill(worker, "SIGKILL");
  await until("nothing is left of the worker", () => readStat(worker) === undefined);
  await asked;
});

test.concurrent("a backup that runs in that instant is shown as running until its worker has ended", async () => {
  // A server that never answers keeps the worker where it is.
  using server = Bun.listen({ port: 0, hostname: "127.0.0.1", socket: { data: () => undefined } });
  const target = { kind: "redis", url: `redis://127.0.0.1:${server.port}`, schedule: "0 0 1 1 *" };
  const backups = { stores: { local: { kind: "directory", path: "store" } }, targets: { cache: target } };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { backups } });
  await rig.run();
  const running = async (): Promise<boolean> => (await rig.status()).backups[0]?.running === true;
  await until("the backup is under way", running, 40_000);
  const worker = await until("its worker runs", () => findProcess(rig.folder, "__action", "backup"));
  expect(await rig.cli("upgrade", "--no-backup", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect([await running(), isLive(worker)]).toEqual([true, true]);
  process.kill(worker, "SIGKILL");
  await until("it is not shown any more", async () => !(await running()));
});

test.concurrent("a bot with an emergency section is upgraded under once it is healthy, and a lockout holds", async () => {
  await using paper = await startPaper();
  const probes = [{ kind: "heartbeat", timeout: "5s" }];
  await using rig = new Rig({
    bots: { bot: { command: script("beat.sh"), probes, emergency: emergencyAt(paper.url) } },
  });
  await rig.run();
  const healthy = (): Promise<unknown> => rig.botUntil("the bot is healthy", ({ health }) => health === "healthy");
  await healthy();
  const { pid } = await rig.bot();
  for (let count = 0; count < 2; count += 1) {
    expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
    await healthy();
    expect(await rig.bot()).toMatchObject({ pid, adopted: true, generation: 1 });
  }
  process.kill(rig.daemon.pid, "SIGUSR2");
  const { emergency } = await rig.botIn("locked");
  expect(isLive(pid ?? 0)).toBe(false);
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect(await rig.botIn("locked")).toMatchObject({ generation: 1, emergency: { incident: emergency.incident } });
  expect((await rig.cli("arm", "bot", "--reason", "test")).code).toBe(0);
  expect(await rig.botIn("running")).toMatchObject({ generation: 2, adopted: false });
});

test.concurrent("what was stopped or halted stays so, and no second daemon gets in between", async () => {
  await using rig = new Rig({
    bots: {
      stopped: { command: STAY },
      halted: { command: ["sh", "-c", "exit 78"], restart: { haltExitCodes: [78] } },
    },
  });
  await rig.run();
  expect((await rig.cli("stop", "stopped")).code).toBe(0);
  await until("one is halted", async () => (await rig.bot("halted")).state === "halted");
  const before = await rig.bot("halted");
  const upgrade = rig.cli("upgrade", "--binary", next);
  const rivals: Promise<{ code: number; err: string }>[] = [];
  for (let count = 0; count < 5; count += 1) {
    rivals.push(rig.cli("run"));
    // The pace of the rivals, so that they come all along the upgrade, which takes a quarter of a second.
    await Bun.sleep(30);
  }
  expect(await upgrade).toMatchObject({ code: 0, err: "" });
  for (const { code, err } of await Promise.all(rivals)) {
    expect(err).toContain("has it");
    expect(code).toBe(2);
  }
  expect(await rig.bot("stopped")).toMatchObject({ state: "stopped", wanted: false });
  const { state, reason, lastExit, restarts } = await rig.bot("halted");
  expect({ state, reason, lastExit, restarts }).toEqual({
    state: before.state,
    reason: before.reason,
    lastExit: before.lastExit,
    restarts: before.restarts,
  });
  expect((await rig.cli("start", "stopped")).code).toBe(0);
});

test.concurrent("a bot in backoff waits for what is left, no shorter and no longer, also when it is upgraded twice", async () => {
  const restart = { base: "10m", cap: "10m", factor: 1, jitter: 0, intensity: 3, period: "1h" };
  await using rig = new Rig({
    bots: { bot: { command: ["sh", "-c", "exit 1"], restart }, other: { command: STAY } },
  });
  const { pid } = await rig.run();
  const before = await rig.botIn("backoff");
  const dueMs = Date.parse(before.restarts.nextStartAt ?? "");
  let lostMs = 0;
  for (let count = 0; count < 2; count += 1) {
    // Something has passed of the wait, so that one that begins anew is seen to be longer.
    const enoughMs = performance.now() + 3_000;
    await until("the wait is shorter by some seconds", () => performance.now() > enoughMs);
    const upgradeMs = performance.now();
    expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
    const { state, generation, restarts, lastExit, reason } = await rig.bot();
    expect({ state, generation, lastExit, reason }).toEqual({
      state: "backoff",
      generation: 1,
      lastExit: before.lastExit,
      reason: before.reason,
    });
    expect(restarts).toMatchObject({ total: 0, inPeriod: 1, attempt: 1, byReason: {} });
    const laterMs = Date.parse(restarts.nextStartAt ?? "") - dueMs;
    expect(laterMs).toBeGreaterThanOrEqual(-50);
    // The clock of the wait stands still for no longer than the upgrades take.
    expect(laterMs).toBeLessThanOrEqual(performance.now() - upgradeMs + lostMs + 50);
    lostMs += performance.now() - upgradeMs;
  }
  expect((await rig.status()).supervisor).toMatchObject({ version: NEXT_VERSION, pid });
});

test.concurrent("a bot in backoff is started once at the end of a wait that was upgraded under", async () => {
  const restart = { base: "15s", cap: "15s", factor: 1, jitter: 0, intensity: 3, period: "10m" };
  const note = 'echo started >> starts; [ "$(wc -l < starts)" -gt 1 ] && exec sleep 600; exit 1';
  await using rig = new Rig({ bots: { bot: { command: ["sh", "-c", note], restart } } });
  await rig.run();
  const before = await rig.botIn("backoff");
  const dueMs = Date.parse(before.restarts.nextStartAt ?? "");
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  const after = await rig.botUntil("it is started", ({ state }) => state === "running", 40_000);
  expect(Date.parse(after.startedAt ?? "")).toBeGreaterThanOrEqual(dueMs - 50);
  expect(after).toMatchObject({ generation: 2, adopted: false, restarts: { total: 1, inPeriod: 1, attempt: 1 } });
  await until("it has begun", () => rig.read("starts") === "started\nstarted\n");
});

test.concurrent("a bot that waits for another one in its turn waits on", async () => {
  const probes = [
    { kind: "exec", role: "readiness", command: ["test", "-e", "ready"], period: "1s", timeout: "900ms" },
  ];
  await using rig = new Rig({
    bots: { feed: { command: STAY, startTimeout: "10m", probes }, bot: { command: STAY, after: ["feed"] } },
  });
  await rig.run();
  const waits = { state: "stopped", wanted: true, reason: "waits for feed to be ready" };
  await rig.botUntil("the feed runs", ({ state }) => state === "running", undefined, "feed");
  expect(await rig.bot()).toMatchObject(waits);
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect(await rig.bot()).toMatchObject(waits);
  rig.write("ready", "");
  expect(await rig.botIn("running")).toMatchObject({ generation: 1 });
});

test.concurrent("closeAfter goes on in a backoff that is upgraded under, and closes positions when it is over", async () => {
  await using paper = await startPaper();
  const emergency = { ...emergencyAt(paper.url), closeAfter: "20s" };
  const restart = { base: "10m", cap: "10m", jitter: 0 };
  await using rig = new Rig({ bots: { bot: { command: ["sh", "-c", "exit 1"], restart, emergency } } });
  await rig.run();
  const { lastExit } = await rig.botIn("backoff");
  const endedMs = Date.parse(lastExit?.at ?? "");
  // A part of it has passed, so that one that begins anew is seen to be later.
  await until("some of closeAfter is over", () => Date.now() > endedMs + 8_000);
  const upgradeMs = performance.now();
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  const tookMs = performance.now() - upgradeMs;
  expect(await rig.bot()).toMatchObject({ state: "backoff", generation: 1 });
  const locked = await rig.botIn("locked", 40_000);
  expect(locked).toMatchObject({ generation: 1, emergency: { state: "flat" } });
  const afterMs = Date.parse(locked.emergency.lockedSince ?? "") - endedMs;
  // It counts from the start, which was a moment before the end.
  expect(afterMs).toBeGreaterThan(17_000);
  expect(afterMs).toBeLessThan(20_000 + tookMs + 3_000);
});
