/** The supervisor is killed at every line that it journals, and its close worker at every line of the incident: the next one goes on. */
import { existsSync, writeFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import {
  checkLife,
  eachOf,
  incidentsOf,
  isOrdered,
  killAtEveryLine,
  linesOf,
  watch,
  type Stage,
} from "./every-line.ts";
import { script } from "./fixture.ts";
import { emergencyAt, Rig } from "./harness.ts";
import { checkJournal } from "./invariants.ts";
import { startPaper, type Paper } from "./paper.ts";

// Some thirty lives each, all at once: on a machine with other work to do they take minutes.
vi.setConfig({ testTimeout: 400_000 });

/** At most one close: its orders went out once and the account is flat. */
function checkAccount(paper: Paper): void {
  const state = paper.state();
  expect(state).toMatchObject({ flat: true, positions: [], flips: [], violations: [] });
  const ids = state.fills.map(({ clientOrderId }) => clientOrderId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).toHaveLength(2);
}

async function stopAll(rig: Rig): Promise<void> {
  const { code, err } = await rig.cli("stop", "bot");
  if (code !== 0) throw new Error(`cannot stop: ${err}`);
  await rig.endDaemon("SIGTERM");
}

/** Ends a lockout; the account must be closed by then. */
async function arm(rig: Rig, paper: Paper): Promise<void> {
  await rig.botUntil("the bot is locked", ({ state, emergency }) => state === "locked" && emergency.state === "flat");
  checkAccount(paper);
  writeFileSync(rig.path("sound"), "");
  const { code, err } = await rig.cli("arm", "bot", "--reason", "the story goes on");
  if (code !== 0) throw new Error(`cannot arm: ${err}`);
}

/** A stop that the supervisor before was told still holds: whoever tells the story to its end starts the bot again. */
async function runOn(rig: Rig): Promise<void> {
  await rig.run();
  if (!existsSync(rig.state("bots/bot/stopped.json"))) return;
  const { code, err } = await rig.cli("start", "bot");
  if (code !== 0) throw new Error(`cannot start: ${err}`);
}

/** Start, ready, crash, backoff, restart, silence, restart, stop. */
async function life(): Promise<Stage> {
  const rig = new Rig();
  const restart = { base: "50ms", cap: "50ms" };
  const probes = [{ kind: "heartbeat", timeout: "1s" }];
  rig.configure({
    bot: {
      command: script("three-lives.sh", rig.path("starts")),
      ready: "notify",
      startTimeout: "3s",
      probes,
      restart,
    },
  });
  return {
    rig,
    async tell() {
      await runOn(rig);
      await rig.botUntil("the bot is sound", ({ generation, health }) => generation >= 3 && health === "healthy");
      await stopAll(rig);
    },
    check: () => checkLife(rig),
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

/** A bot that crashes unless the file `sound` is there, on an account that holds something. */
async function onAccount(restart: object): Promise<{ rig: Rig; paper: Paper }> {
  const paper = await startPaper();
  const rig = new Rig();
  const command = script("crash-unless.sh", rig.path("starts"), rig.path("sound"));
  rig.configure({ bot: { command, restart, emergency: emergencyAt(paper.url) } });
  return { rig, paper };
}

function stageOf({ rig, paper }: { rig: Rig; paper: Paper }, tell: () => Promise<void>): Stage {
  return {
    rig,
    tell,
    check() {
      checkLife(rig);
      checkAccount(paper);
      expect(incidentsOf(rig)).toHaveLength(1);
    },
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      await paper[Symbol.asyncDispose]();
    },
  };
}

/** Crash, restart, crash, give up, emergency, fence, close, flat, lock, arm, start, stop. */
async function giveUp(): Promise<Stage> {
  const stage = await onAccount({ base: "50ms", cap: "50ms", intensity: 1 });
  const { rig, paper } = stage;
  return stageOf(stage, async () => {
    await runOn(rig);
    const { state } = await rig.botUntil(
      "the bot is locked or sound",
      (bot) => (bot.state === "locked" && bot.emergency.state === "flat") || existsSync(rig.path("sound")),
    );
    if (state === "locked") await arm(rig, paper);
    await rig.botIn("running");
    await stopAll(rig);
  });
}

/** A sound bot is fenced and its account closed by order; then arm, start, stop. */
async function ordered(): Promise<Stage> {
  const stage = await onAccount({});
  const { rig, paper } = stage;
  writeFileSync(rig.path("sound"), "");
  return stageOf(stage, async () => {
    await runOn(rig);
    // The order counts from its line in the journal on; before it, whoever gave it gives it again.
    if (!isOrdered(rig)) {
      await rig.botIn("running");
      process.kill(rig.daemon.pid, "SIGUSR2");
      await rig.botUntil("the order is taken", () => isOrdered(rig));
    }
    const { state } = await rig.botUntil("the bot is locked or armed", (bot) =>
      ["locked", "running"].includes(bot.state),
    );
    if (state === "locked") await arm(rig, paper);
    await rig.botIn("running");
    await stopAll(rig);
  });
}

test.concurrent("a supervisor killed at any line of a bot's life leaves one bot or none, and goes on", async () => {
  expect(await killAtEveryLine(life)).toBeGreaterThan(20);
});
test.concurrent("a supervisor killed at any line of an emergency for want of restarts closes once and stays locked", async () => {
  expect(await killAtEveryLine(giveUp)).toBeGreaterThan(20);
});
test.concurrent("a supervisor killed at any line of an emergency by order closes once and stays locked", async () => {
  expect(await killAtEveryLine(ordered)).toBeGreaterThan(15);
});

/** Closes the account; the incident's journal is where the watcher, which is started first, waits for it. */
async function closeOnce(rig: Rig, line: number, daemonToo: boolean): Promise<string> {
  await rig.run();
  await rig.botIn("running");
  process.kill(rig.daemon.pid, "SIGUSR2");
  const { emergency } = await rig.botUntil("the close has begun", (bot) => bot.emergency.incident !== null);
  const journal = rig.state(`bots/bot/incidents/${emergency.incident}.ndjson`);
  const watcher = watch(journal, line, "worker", rig.folder);
  try {
    if (line > 0) await watcher.exited;
    if (daemonToo) {
      await rig.endDaemon("SIGKILL");
      await rig.run();
    }
    await rig.botUntil("the account is flat", (bot) => bot.state === "locked" && bot.emergency.state === "flat");
  } finally {
    watcher.kill();
  }
  return journal;
}

/** Closes once in peace and then once for each line of the incident's journal, with a kill of the worker at that line. */
async function killWorkerAtEveryLine(daemonToo: boolean): Promise<number> {
  let lines = 0;
  await eachOf(1, async () => {
    await using stage = await orderedStage();
    lines = linesOf(await closeOnce(stage.rig, 0, false));
  });
  await eachOf(lines, async (line) => {
    await using stage = await orderedStage();
    await closeOnce(stage.rig, line, daemonToo);
    checkAccount(stage.paper);
    expect(incidentsOf(stage.rig)).toHaveLength(1);
    checkJournal(stage.rig.journal);
  });
  return lines;
}

async function orderedStage(): Promise<AsyncDisposable & { readonly rig: Rig; readonly paper: Paper }> {
  const stage = await onAccount({});
  writeFileSync(stage.rig.path("sound"), "");
  return { ...stage, [Symbol.asyncDispose]: () => stageOf(stage, async () => {})[Symbol.asyncDispose]() };
}

test.concurrent("a close worker killed at any line of its journal is followed by one that closes the rest, once", async () => {
  expect(await killWorkerAtEveryLine(false)).toBeGreaterThan(5);
});

test.concurrent("a close worker killed together with its supervisor, at any line, is followed by one that closes the rest", async () => {
  expect(await killWorkerAtEveryLine(true)).toBeGreaterThan(5);
});
