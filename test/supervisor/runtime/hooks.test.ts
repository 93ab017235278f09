/** What is said of a hook that did not end well, on real commands. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../../src/platform/clock.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import { runHook } from "../../../src/supervisor/runtime/hooks.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { until } from "../../platform/until.ts";

const stateDir = mkdtempSync(join(tmpdir(), "hooks-"));
afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

function requestOf(script: string, signal: AbortSignal) {
  const dirs = { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
  const plan = planBot("bot", botConfig("bot", { preStop: ["sh", "-c", script], stopTimeout: "20s" }), dirs);
  mkdirSync(dirname(plan.files.log), { recursive: true });
  return { plan, env: { PATH: "/usr/bin:/bin" }, user: undefined, reason: "stopped", signal, clock: systemClock };
}

test("runHook() says that preStop was cut short, and not that it failed, where an emergency or the bot's end did not wait for it", async () => {
  const cut = new AbortController();
  const mark = join(stateDir, "began");
  const ended = runHook("preStop", requestOf(`echo closing; : > ${mark}; exec sleep 20`, cut.signal));
  await until("it has begun", () => existsSync(mark));
  cut.abort();
  expect(await ended).toBe(
    "hook preStop was cut short, as the bot had ended or its emergency does not wait; its output is in the bot's log",
  );
});

test("runHook() says how preStop failed by itself, and nothing of one that did not", async () => {
  const { signal } = new AbortController();
  expect(await runHook("preStop", requestOf("exit 3", signal))).toBe("hook preStop failed: code 3");
  expect(await runHook("preStop", requestOf("exit 0", signal))).toBeUndefined();
});

test("runHook() is not held up by a FIFO in the place of the bot's log", async () => {
  const { signal } = new AbortController();
  const request = requestOf("echo said; exit 3", signal);
  rmSync(request.plan.files.log, { force: true });
  expect(Bun.spawnSync(["mkfifo", request.plan.files.log]).exitCode).toBe(0);
  expect(await runHook("preStop", request)).toBe("hook preStop failed: code 3; its output could not be kept");
});
