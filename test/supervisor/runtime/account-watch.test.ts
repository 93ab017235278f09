/** What is kept of a look at the account that a bot's removal overtakes. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { WatchAnswer } from "../../../src/core/watch-job.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { AccountWatch } from "../../../src/supervisor/runtime/guard/account-watch.ts";
import type { LookEvents } from "../../../src/supervisor/runtime/guard/watch-run.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const folder = mkdtempSync(join(tmpdir(), "watch-"));
afterAll(() => rmSync(folder, { recursive: true }));

const EMERGENCY = {
  exchange: "binanceusdm",
  apiKeyFile: "key",
  apiSecretFile: "key",
  deadman: { timeout: "60s" },
};

const ARMED: WatchAnswer = {
  version: 1,
  venueMs: 0,
  exposure: null,
  equity: null,
  transfers: null,
  trouble: null,
  deadman: { done: true, armed: ["BTC/USDT:USDT"], reason: null },
};

function rig() {
  const stateDir = mkdtempSync(join(folder, "state-"));
  const plan = planBot("bot", botConfig("bot", { emergency: EMERGENCY }), {
    stateDir,
    runtimeDir: join(stateDir, "run"),
    logDir: join(stateDir, "log"),
  });
  const accounts = dirname(plan.files.accountLock);
  mkdirSync(accounts, { recursive: true });
  const facts: string[] = [];
  const looks: { readonly events: LookEvents; readonly end: (answer: WatchAnswer) => void }[] = [];
  const watch = new AccountWatch(
    {
      plan,
      clock: new FakeClock(),
      random: () => 0,
      env: {},
      closing: () => false,
      atRisk: () => false,
      healthy: () => true,
      restsByWish: () => false,
      suspended: () => false,
      booting: () => false,
      order: () => {},
      fact: (_, text) => facts.push(text),
    },
    (_deps, _look, events) => {
      const { promise, resolve } = Promise.withResolvers<WatchAnswer>();
      looks.push({ events, end: resolve });
      return promise;
    },
  );
  const file = join(accounts, "bot.watch.json");
  return { watch, looks, facts, file };
}

/** What follows an answer is done in the turns of the queue that are next. */
const taken = (): Promise<void> => new Promise(setImmediate);

test("AccountWatch keeps what a refresh has armed, and takes its answer", async () => {
  const { watch, looks, file } = rig();
  watch.tick();
  looks[0]?.events.onAnswer(ARMED);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ armed: ["BTC/USDT:USDT"] });
  looks[0]?.end(ARMED);
  await taken();
  expect(watch.deadman.status).toMatchObject({ state: "armed" });
});

test("AccountWatch.release() lets a look that is under way write nothing into the file of whoever has the account next", async () => {
  const { watch, looks, facts, file } = rig();
  watch.tick();
  watch.release();
  looks[0]?.events.onAnswer(ARMED);
  looks[0]?.end(ARMED);
  await taken();
  expect(existsSync(file)).toBe(false);
  expect(facts).toEqual([]);
});
