/** A bot's life under the compiled binary: killed, hung, crashing for good, locked out, and armed again. */
import { writeFileSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/core/journal-entry.ts";
import { initialState, step } from "../../src/core/lifecycle.ts";
import type { Event, State } from "../../src/core/lifecycle-types.ts";
import { planBot } from "../../src/supervisor/runtime/bot-plan.ts";
import { loadConfig } from "../../src/supervisor/runtime/config/load.ts";
import { script, STAY } from "./fixture.ts";
import { CREDENTIALS, emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";

test.concurrent("supervisor run restarts a bot that is killed with SIGKILL", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const before = await rig.botIn("running");
  process.kill(before.pid ?? Number.NaN, "SIGKILL");
  const after = await rig.botUntil("the bot runs again", (bot) => bot.state === "running" && bot.generation === 2);
  expect(after).toMatchObject({ restarts: { total: 1 }, lastExit: { cause: "signal", signal: "SIGKILL", code: null } });
  expect(after.pid).not.toBe(before.pid);
  await rig.botUntil("the bot is healthy", (bot) => bot.health === "healthy");
  expect((await rig.cli("status")).code).toBe(0);
});

test.concurrent("supervisor run replaces a bot that stands still, by its heartbeat", async () => {
  const heartbeat = { kind: "heartbeat", timeout: "1500ms" };
  await using rig = new Rig({ bots: { bot: { command: script("beat.sh"), ready: "notify", probes: [heartbeat] } } });
  await rig.run();
  const before = await rig.botUntil("the bot beats", (bot) => bot.heartbeat.at !== null && bot.health === "healthy");
  process.kill(before.pid ?? Number.NaN, "SIGSTOP");
  const after = await rig.botUntil("the bot is replaced", (bot) => bot.state === "running" && bot.generation === 2);
  expect(after.lastExit).toMatchObject({ cause: "heartbeat", detail: expect.stringMatching(/no heartbeat for \d/) });
  expect(after.pid).not.toBe(before.pid);
});

test.concurrent("a supervisor that stood still replaces nobody for it", async () => {
  const probes = [
    { kind: "heartbeat", timeout: "1500ms" },
    { kind: "exec", command: ["true"], period: "200ms", timeout: "150ms" },
  ];
  await using rig = new Rig({ bots: { bot: { command: script("beat.sh"), ready: "notify", probes } } });
  await rig.run();
  const before = await rig.botUntil("the bot beats", (bot) => bot.heartbeat.at !== null && bot.health === "healthy");
  process.kill(rig.daemon.pid, "SIGSTOP");
  // The fault itself, not a wait: twice the time that a bot may be silent.
  await Bun.sleep(3_000);
  process.kill(rig.daemon.pid, "SIGCONT");
  const since = Date.now();
  const after = await rig.botUntil("the bot beats again", (bot) => Date.parse(bot.heartbeat.at ?? "") > since + 1_600);
  expect(after).toMatchObject({ state: "running", health: "healthy", pid: before.pid, generation: 1 });
});

test.concurrent("GET /v1/events goes on after Last-Event-ID", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  const known = rig.journal;
  const stop = new AbortController();
  const answer = await rig.request("/v1/events", { headers: { "last-event-id": "2" }, signal: stop.signal });
  const ids: number[] = [];
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += new TextDecoder().decode(chunk);
    ids.splice(0, ids.length, ...[...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)));
    if (ids.length >= known.length - 2) break;
  }
  stop.abort();
  expect(ids).toEqual(known.slice(2).map(({ seq }) => seq));
});

test.concurrent("supervisor events -f shows each decision as it is made", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await using follower = Bun.spawn([rig.binary, "events", "-f"], {
    cwd: rig.folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  const reading = (async () => {
    for await (const chunk of follower.stdout) text += new TextDecoder().decode(chunk);
  })();
  await until("the follower shows the past", () => text.includes("→ running"));
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await until("the follower shows the restart", () => /running → stopping: killed by SIGKILL[^]*→ running/.test(text));
  follower.kill();
  await reading;
  expect(text.split("\n").filter((line) => line.includes("started with"))).toHaveLength(1);
});

/** The delays before restarts, as decided and as they came about, ms. */
function delaysOf(journal: readonly JournalEntry[]): { decided: number[]; real: number[] } {
  const decisions = journal.filter((entry) => entry.kind === "decision");
  const decided: number[] = [];
  const real: number[] = [];
  for (const [index, entry] of decisions.entries()) {
    if (entry.to !== "backoff" || entry.from === "backoff") continue;
    const timer = entry.effects.find((effect) => effect.kind === "setTimer" && effect["timer"] === "backoff");
    decided.push(Number(timer?.["delayMs"]));
    const next = decisions.slice(index).find(({ to }) => to === "starting");
    if (next !== undefined) real.push(Date.parse(next.at) - Date.parse(entry.at));
  }
  return { decided, real };
}

/** Feeds the recorded events to the lifecycle again; what it answers must be what was recorded. */
function replay(rig: Rig, journal: readonly JournalEntry[]): { recorded: string[]; replayed: string[] } {
  const { config, dirs } = loadConfig({ file: rig.path("supervisor.yaml"), env: {}, cwd: rig.folder });
  const bot = config.bots["bot"];
  if (bot === undefined) throw new Error("the config has no bot");
  const { policy } = planBot("bot", bot, dirs);
  const decisions = journal.filter((entry) => entry.kind === "decision");
  let state: State = initialState;
  const replayed = decisions.map(({ event }) => {
    // Safe: the journal's writer recorded the whole event.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    ({ state } = step(policy, state, event as unknown as Event));
    return state.kind;
  });
  return { recorded: decisions.map(({ to }) => to), replayed };
}

test.concurrent("the whole story: a trading bot crashes for good, its positions are closed, it is locked out until a person arms it", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = new Rig();
  const crashFile = rig.path("crash");
  rig.configure({
    bot: {
      command: [rig.binary, "__sample-bot"],
      env: {
        PAPER_URL: paper.url,
        PAPER_KEY: CREDENTIALS.apiKey,
        PAPER_SECRET: CREDENTIALS.apiSecret,
        BOT_TICK_MS: "100",
        BOT_CRASH_FILE: crashFile,
      },
      ready: "notify",
      probes: [
        { kind: "heartbeat", timeout: "10s" },
        { kind: "progress", timeout: "20s" },
      ],
      restart: { base: "1s", factor: 2, cap: "60s", jitter: 0.1, intensity: 3, period: "10m" },
      emergency: emergencyAt(paper.url),
    },
  });
  await rig.run();
  const trading = await rig.botUntil("the bot trades", (bot) => bot.heartbeat.status === "2 positions open");
  expect(paper.state().positions).toHaveLength(2);

  writeFileSync(crashFile, "");
  process.kill(trading.pid ?? Number.NaN, "SIGKILL");
  const locked = await rig.botIn("locked", 40_000);
  expect(locked).toMatchObject({
    generation: 4,
    restarts: { total: 3 },
    emergency: { state: "flat" },
    level: "emergency",
  });
  expect(paper.state()).toMatchObject({ flat: true, positions: [], flips: [], violations: [] });

  const { decided, real } = delaysOf(rig.journal);
  expect(decided).toHaveLength(3);
  for (const [index, plainMs] of [1_000, 2_000, 4_000].entries()) {
    expect(decided[index]).toBeGreaterThanOrEqual(plainMs);
    expect(decided[index]).toBeLessThanOrEqual(plainMs * 1.1);
    expect(real[index]).toBeGreaterThanOrEqual(plainMs - 5);
  }
  const { recorded, replayed } = replay(rig, rig.journal);
  expect(recorded.length).toBeGreaterThan(15);
  expect(replayed).toEqual(recorded);

  const status = await rig.cli("status");
  expect(status.code).toBe(4);
  expect(status.out).toContain("locked out, the account is flat");
  const start = await rig.cli("start", "bot");
  expect(start.code).toBe(1);
  expect(start.err).toContain("cannot start bot: it is locked since its emergency (restart budget spent");
  expect(start.err).toContain("hint: look at the account, then: supervisor arm bot --reason TEXT");

  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await rig.endDaemon(signal);
    await rig.run();
    expect(await rig.botIn("locked")).toMatchObject({
      generation: 4,
      pid: null,
      emergency: { incident: locked.emergency.incident, state: "flat" },
    });
  }

  expect((await rig.cli("arm", "bot")).code).toBe(2);
  rmSync(crashFile);
  const arm = await rig.cli("arm", "bot", "--reason", "the crash file is gone");
  expect(arm).toMatchObject({ code: 0, err: "" });
  const again = await rig.botUntil("the bot trades again", (bot) => bot.heartbeat.status === "2 positions open");
  expect(again).toMatchObject({ state: "running", level: "normal", emergency: { state: "armed", incident: null } });
  expect(rig.journal.some(({ text }) => text.includes("the crash file is gone"))).toBe(true);
});
