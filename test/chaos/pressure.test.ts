/** Memory that runs out, an exchange that is down, and a supervisor that stands still: what a bot is replaced for, and what not. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { detectCgroup } from "../../src/platform/cgroup.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { findControllers } from "../../src/platform/controllers.ts";
import { openNotifySocket } from "../../src/platform/notify-socket.ts";
import { program, script, STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

/** Both scripts speak through systemd's own client. */
const hasClient = Bun.which("systemd-notify") !== null;
const enforced = findControllers(detectCgroup()).places.memory?.version === "v1";

/** Time in which a restart that must not come would: the daemon looks each second, ms. */
const NOTHING_COMES_MS = 1_500;
/** More than the daemon lets pass as an ordinary delay, ms. */
const STALL_MS = 3_500;
/** Time without a word after which a service that pings each second has stopped, ms. */
const SILENCE_MS = 2_000;

describe.runIf(hasClient && enforced).concurrent("limits.onMemoryHigh", () => {
  const limits = { memory: "200MiB", memoryHigh: "40MiB", onMemoryHigh: "restart" };

  test("a bot that leaks is restarted politely while no order is in flight, before the kernel kills it", async () => {
    const bot = { command: script("fill-memory.sh", "100", "0"), limits };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    const after = await rig.botUntil("it runs anew", (seen) => seen.generation === 2 && seen.state === "running");
    expect(after.lastExit).toMatchObject({ cause: "limit", detail: expect.stringContaining("no order is in flight") });
    expect(after).toMatchObject({ restarts: { total: 1, inPeriod: 1 }, resources: { oomKills: 0 } });
    expect(rig.read("stopped")).toBe("politely in generation 1\n");
    await rig.botUntil("its level is normal", ({ level }) => level === "normal");
  });

  test("a bot with orders in flight is left alone until it is quiet, and degraded meanwhile", async () => {
    const bot = { command: script("fill-memory.sh", "8", "2"), limits: { ...limits, quietTimeout: "1h" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    await rig.botUntil("it is degraded", ({ level }) => level === "degraded");
    const wait = "the bot is to be restarted for its memory at a quiet moment";
    await until("the wait is told", () => rig.journal.some(({ text }) => text === wait));
    await Bun.sleep(NOTHING_COMES_MS);
    expect(await rig.bot()).toMatchObject({ generation: 1, state: "running", level: "degraded" });
    rig.write("quiet", "");
    const after = await rig.botUntil("it runs anew", ({ generation }) => generation === 2);
    expect(after.lastExit).toMatchObject({ cause: "limit" });
    expect(rig.read("stopped")).toBe("politely in generation 1\n");
  });

  test("a bot whose memory grows towards its limit is restarted at its first quiet moment, long before it is there", async () => {
    const bot = {
      command: program("grow-memory.ts"),
      limits: { memory: "220MiB", onMemoryHigh: "restart", quietTimeout: "1h" },
    };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    await until(
      "the growth is told",
      () => rig.journal.some(({ text }) => text.includes("grows and reaches memory 220")),
      100_000,
    );
    const wait = "the bot is to be restarted for its memory at a quiet moment";
    await until("the wait is told", () => rig.journal.some(({ text }) => text === wait));
    expect(await rig.bot()).toMatchObject({ generation: 1, state: "running", level: "degraded" });
    rig.write("quiet", "");
    const after = await rig.botUntil("it runs anew", ({ generation }) => generation === 2);
    expect(after).toMatchObject({
      lastExit: {
        cause: "limit",
        detail: expect.stringMatching(/grows and reaches memory 220.*no order is in flight/),
      },
      restarts: { total: 1 },
      resources: { oomKills: 0 },
    });
    expect(rig.read("stopped")).toBe("politely in generation 1\n");
  });

  test("a bot that never told its orders is not restarted, and an alert says why", async () => {
    const bot = { command: script("fill-memory.sh", "8", ""), limits: { ...limits, quietTimeout: "0s" } };
    await using rig = new Rig({ bots: { bot } });
    await rig.run();
    await until("the refusal is told", () =>
      rig.journal.some(({ text, level }) => level === "alert" && text.includes("X_IN_FLIGHT=), and it has no preStop")),
    );
    await Bun.sleep(NOTHING_COMES_MS);
    expect(await rig.bot()).toMatchObject({ generation: 1, state: "running", level: "degraded" });
  });
});

test.runIf(hasClient).concurrent("a bot that beats is not replaced for what its exchange does", async () => {
  const quick = { kind: "exec", period: "200ms", timeout: "150ms", failureThreshold: 2 };
  const probes = [
    { kind: "heartbeat", timeout: "5s" },
    { ...quick, name: "health", command: ["test", "-e", "bot-well"], timeout: "190ms" },
    {
      ...quick,
      name: "venue",
      command: ["test", "-e", "venue-well"],
      upstream: true,
      role: "readiness",
      onFailure: "degrade",
    },
  ];
  await using rig = new Rig({ bots: { bot: { command: script("beat.sh"), ready: "notify", probes } } });
  rig.write("bot-well", "");
  rig.write("venue-well", "");
  await rig.run();
  const before = await rig.botUntil("the bot is ready", ({ ready, health }) => ready && health === "healthy");
  Bun.spawnSync(["rm", join(rig.folder, "venue-well")]);
  await rig.botUntil("the bot is degraded", ({ level, ready }) => level === "degraded" && !ready);
  Bun.spawnSync(["rm", join(rig.folder, "bot-well")]);
  const excused = await rig.botUntil("its failure is explained", ({ probes: all }) =>
    all.some(({ name, reason }) => name === "health" && reason?.startsWith("remote: venue fails too") === true),
  );
  expect(excused).toMatchObject({ pid: before.pid, generation: 1, health: "healthy", state: "running" });
  await until("it is told", () =>
    rig.journal.some(({ text }) => text.startsWith("probe health fails, which does not count against the bot: remote")),
  );
  rig.write("venue-well", "");
  const after = await rig.botUntil("it is replaced for its own failure", ({ generation }) => generation === 2);
  expect(after.lastExit).toMatchObject({ cause: "probe:health" });
});

test.concurrent("systemd is pinged by a loop that turns, and a stall is counted and told", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const heard: { text: string; atMs: number }[] = [];
  const path = rig.path("systemd.notify");
  const socket = openNotifySocket({
    path,
    mode: 0o600,
    clock: systemClock,
    onDatagram: ({ text }) => heard.push({ text, atMs: performance.now() }),
  });
  if ("error" in socket) throw new Error(socket.error);
  const pinged = (): boolean => {
    socket.drain(10);
    return heard.some(({ text }) => text === "WATCHDOG=1");
  };
  try {
    const { pid } = await rig.run({ NOTIFY_SOCKET: path, WATCHDOG_USEC: "10000000" });
    await until("systemd is pinged", pinged);
    process.kill(pid, "SIGSTOP");
    // The fault itself, not a wait; what is heard in its second half counts.
    await Bun.sleep(STALL_MS - SILENCE_MS);
    socket.drain(10);
    heard.length = 0;
    await Bun.sleep(SILENCE_MS);
    expect(pinged()).toBe(false);
    process.kill(pid, "SIGCONT");
    await until("it is pinged again", pinged);
    const { supervisor } = await rig.status();
    expect(supervisor.machine).toMatchObject({ stalls: 1, suspends: 0 });
    expect(supervisor.machine?.loopLagSeconds).toBeGreaterThan(1);
    expect(rig.journal.some(({ text }) => text.startsWith("the supervisor itself stood still for"))).toBe(true);
  } finally {
    socket.close();
  }
});
