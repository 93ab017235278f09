/** Nothing that looks at an account is started beside a worker of before that was killed and does not die; that it cannot look is said. */
import { expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { startWorker } from "../../../src/platform/worker.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { runPreflight } from "../../../src/supervisor/runtime/guard/preflight-run.ts";
import { lookAtAccount } from "../../../src/supervisor/runtime/guard/watch-run.ts";
import { freezerMount, makeFreezer } from "../../chaos/freezer.ts";
import { botConfig } from "../../harness/bot-config.ts";

const emergency = { driver: "exec", command: ["true"], symbols: ["BTC/USDT:USDT"] };
const dirs = { stateDir: "/state", runtimeDir: "/run", logDir: "/log" };
const deps = { plan: planBot("bot", botConfig("bot", { emergency }), dirs), clock: systemClock, env: {} };
const UNDYING = /^the worker of the last (?:look|preflight) was killed and does not die/;

test.runIf(freezerMount !== undefined).each([
  [
    "lookAtAccount()",
    "look at the account of bot",
    async (onStart: () => void) => {
      const answer = await lookAtAccount(deps, { loss: null, deadman: null }, { onStart, onAnswer: () => {} });
      return "failed" in answer ? answer.failed : "";
    },
  ],
  [
    "runPreflight()",
    "preflight of bot",
    async (onStart: () => void) => (await runPreflight({ ...deps, testnet: false, onStart })).checks[0]?.detail,
  ],
])("%s says that the worker of the last one does not die, and starts no other", async (_, givesUp, look) => {
  using freezer = makeFreezer();
  const { pid, done, kill } = startWorker({
    args: ["600"],
    program: ["sleep"],
    job: "",
    deadlineMs: 60_000,
    onLine: () => {},
    givesUp,
  });
  freezer.freeze(pid);
  kill();
  await done;
  let starts = 0;
  expect(await look(() => void (starts += 1))).toMatch(UNDYING);
  expect(starts).toBe(0);
});
