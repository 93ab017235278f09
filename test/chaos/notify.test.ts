/** The notify protocol against systemd's own client, and the bot's HTTP socket. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { program, script } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const hasClient = Bun.which("systemd-notify") !== null;

/** A bot that runs a few lines of shell and then stays. */
const shell = (lines: string): string[] => ["sh", "-c", `${lines}\nexec sleep 600`];

test
  .runIf(hasClient)
  .concurrent("systemd-notify makes a bot ready, returns at once, and its status is shown", async () => {
    const timed =
      'start=$(date +%s%N); systemd-notify --ready --status="3 positions open"; echo $(( $(date +%s%N) - start )) > took';
    await using rig = new Rig({ bots: { bot: { command: shell(timed), ready: "notify", startTimeout: "20s" } } });
    await rig.run();
    const bot = await rig.botUntil("the bot is ready", ({ state, ready }) => state === "running" && ready);
    expect(bot.generation).toBe(1);
    const tookNs = await until("systemd-notify returns", () => Number(rig.read("took")) || undefined);
    // It would wait 5 s for an answer to its barrier.
    expect(tookNs / 1e6).toBeLessThan(4_500);
    expect((await rig.bot()).heartbeat.status).toBe("3 positions open");
    expect((await rig.cli("status")).out).toContain("bot says: 3 positions open");
  });

test
  .runIf(hasClient)
  .concurrent("supervisor run ignores a process outside of the bot's tree that speaks on its socket", async () => {
    await using rig = new Rig({ bots: { bot: { command: shell("systemd-notify --status=mine") } } });
    await rig.run();
    const before = await rig.botUntil("the bot speaks", ({ heartbeat }) => heartbeat.status === "mine");
    for (const words of [["--status=forged"], ["WATCHDOG=trigger"], ["STOPPING=1"]]) {
      const outsider = Bun.spawn(["systemd-notify", ...words], {
        cwd: rig.folder,
        env: { PATH: process.env["PATH"] ?? "", NOTIFY_SOCKET: rig.state("run/bots/bot.notify") },
      });
      // It waits for its barrier, so what it said has been read when it returns.
      expect(await outsider.exited).toBe(0);
    }
    expect(await rig.bot()).toMatchObject({
      state: "running",
      pid: before.pid,
      generation: 1,
      heartbeat: { status: "mine" },
    });
  });

test.runIf(hasClient).concurrent("WATCHDOG=trigger has the bot replaced", async () => {
  const once = '[ "$SUPERVISOR_GENERATION" = 1 ] && systemd-notify WATCHDOG=trigger';
  await using rig = new Rig({ bots: { bot: { command: shell(once) } } });
  await rig.run();
  const after = await rig.botUntil(
    "the bot is replaced",
    ({ state, generation }) => state === "running" && generation === 2,
  );
  expect(after.lastExit).toMatchObject({ cause: "heartbeat", detail: expect.stringContaining("WATCHDOG=trigger") });
});

test.runIf(hasClient).concurrent("EXTEND_TIMEOUT_USEC gives a slow start more time", async () => {
  const slow = "systemd-notify EXTEND_TIMEOUT_USEC=15000000; sleep 3.5; systemd-notify --ready";
  await using rig = new Rig({ bots: { bot: { command: shell(slow), ready: "notify", startTimeout: "3s" } } });
  await rig.run();
  const bot = await rig.botIn("running");
  expect(bot).toMatchObject({ generation: 1, lastExit: null });
  expect(bot.uptimeSeconds).toBeGreaterThan(3.5);
});

test.concurrent("supervisor run replaces a bot that is not ready within startTimeout", async () => {
  const bot = { command: shell("true"), ready: "notify", startTimeout: "300ms" };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  const after = await rig.botUntil("the bot is started again", ({ generation }) => generation >= 2);
  expect(after.lastExit).toMatchObject({ cause: "startTimeout" });
});

test
  .runIf(hasClient)
  .concurrent("STOPPING=1 and an exit are one end of the bot, and RESTART_RESET=1 sets the delay back", async () => {
    const lines =
      'systemd-notify RESTART_RESET=1; [ "$SUPERVISOR_GENERATION" -lt 4 ] && { systemd-notify --stopping; exit 0; }';
    await using rig = new Rig({ bots: { bot: { command: shell(lines), restart: { base: "50ms", factor: 10 } } } });
    await rig.run();
    const bot = await rig.botUntil(
      "the fourth start runs",
      ({ state, generation }) => state === "running" && generation === 4,
    );
    expect(bot).toMatchObject({ restarts: { total: 3 }, lastExit: { cause: "exited", code: 0 } });
    const delays = rig.journal.flatMap((entry) => /restart (\d+) in (\d+) ms/.exec(entry.text)?.slice(1) ?? []);
    expect(delays).toEqual(["1", "50", "1", "50", "1", "50"]);
  });

test.concurrent("POST /v1/heartbeat counts as a heartbeat, and its end as silence", async () => {
  await using rig = new Rig();
  const silence = rig.path("silence");
  const probes = [
    { kind: "heartbeat", timeout: "1500ms" },
    { kind: "progress", timeout: "30s" },
  ];
  rig.configure({ bot: { command: program("beat-by-http.ts", silence), probes } });
  await rig.run();
  const beating = await rig.botUntil("the bot beats", ({ heartbeat }) => heartbeat.status?.startsWith("beat") === true);
  await until("it outlives its timeout", async () => ((await rig.bot()).uptimeSeconds ?? 0) > 2.5);
  expect(await rig.bot()).toMatchObject({ state: "running", health: "healthy", pid: beating.pid, generation: 1 });
  writeFileSync(silence, "");
  const after = await rig.botUntil("the silent bot is replaced", ({ generation }) => generation === 2);
  expect(after.lastExit).toMatchObject({ cause: "heartbeat" });
});

test.concurrent("supervisor run replaces a bot that beats and does not get on", async () => {
  const probes = [
    { kind: "heartbeat", timeout: "10s" },
    { kind: "progress", timeout: "1500ms" },
  ];
  await using rig = new Rig({ bots: { bot: { command: script("beat.sh"), ready: "notify", probes } } });
  await rig.run();
  const after = await rig.botUntil("the bot is replaced", ({ generation }) => generation === 2);
  expect(after.lastExit).toMatchObject({ cause: "progress" });
});
