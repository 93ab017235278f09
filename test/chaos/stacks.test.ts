/** The stacks in crash dumps of real programs that hang in a busy loop: Go and Java by SIGQUIT, Node.js by its inspector, on the compiled binary. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { machineNode, modernNode } from "../harness/node.ts";
import { dumpOf, ROOMY } from "./dumps.ts";
import { Rig, until, type BotSettings } from "./harness.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");
const TOKEN = "canary-4f1d8c2b9e";
const go = Bun.which("go");
const java = Bun.which("java");
const javac = Bun.which("javac");
/** Starts of compilers and of virtual machines are slow on a busy machine, ms. */
const PATIENCE_MS = 60_000;
const folder = mkdtempSync(join(tmpdir(), "stacks-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function compile(...command: string[]): void {
  const env = { ...process.env, GOCACHE: join(folder, "cache"), GOFLAGS: "-mod=mod", GO111MODULE: "off" };
  const { exitCode, stderr } = Bun.spawnSync(command, { env, cwd: folder });
  if (exitCode !== 0) throw new Error(`cannot run ${command.join(" ")}: ${stderr.toString()}`);
}

function hung(command: readonly string[], more: BotSettings): BotSettings {
  return { command, env: { API_TOKEN: TOKEN }, dump: ROOMY, ...more };
}

test.skipIf(go === null)("a Go bot: its dump has the goroutine that computes, whichever thread runs it", async () => {
  compile(go ?? "", "build", "-o", join(folder, "hang"), join(FIXTURES, "hang.go"));
  const probes = [{ kind: "heartbeat", timeout: "1s" }];
  await using rig = new Rig({ bots: { bot: hung([join(folder, "hang")], { ready: "notify", probes }) } });
  await rig.run();
  const { shown } = await dumpOf(rig, PATIENCE_MS);
  expect(shown).toMatch(/\[running\]:\n +main\.reconcilePositions\(.*\n.*hang\.go:\d+.*\n +main\.tradingLoop\(/);
  expect(shown).toMatch(/goroutine 1 \[sleep\]:/);
  expect(shown).toContain("token ***");
  expect(shown).toContain("it hung where it is shown above");
  await rig.botUntil("it is started again", ({ restarts }) => restarts.total >= 1, PATIENCE_MS);
});

test.skipIf(java === null || javac === null)("a Java bot: its dump has the stack of each thread", async () => {
  compile(javac ?? "", "-d", folder, join(FIXTURES, "hang.java"));
  const probes = [{ kind: "heartbeat", timeout: "10s" }];
  await using rig = new Rig({ bots: { bot: hung([java ?? "", "-cp", folder, "Hang"], { probes }) } });
  await rig.run();
  await rig.botUntil("it has beaten", ({ heartbeat }) => heartbeat?.status === "in Java", PATIENCE_MS);
  const { shown } = await dumpOf(rig, PATIENCE_MS);
  expect(shown).toMatch(
    /"main" .*\n.*RUNNABLE\n +at Hang\.reconcilePositions\(hang\.java:\d+\)\n +at Hang\.tradingLoop/,
  );
  expect(shown).toContain("token ***");
  await rig.botUntil("it is started again", ({ restarts }) => restarts.total >= 1, PATIENCE_MS);
});

test.skipIf(modernNode === undefined || modernNode === machineNode)(
  "a bot on Node.js 22: its dump has the stack that its inspector tells",
  async () => {
    const probes = [{ kind: "heartbeat", timeout: "10s" }];
    const command = [modernNode ?? "", join(FIXTURES, "hang.mjs")];
    await using rig = new Rig({ bots: { bot: hung(command, { probes }) } });
    await rig.run();
    // Read from a cold disk, it takes seconds until its code runs.
    await rig.botUntil("it has beaten", ({ heartbeat }) => heartbeat?.status === "in Node", PATIENCE_MS);
    const { shown } = await dumpOf(rig, PATIENCE_MS);
    expect(shown).toMatch(/reconcilePositions \(.*hang\.mjs:\d+:\d+\)\s+tradingLoop/);
    await until("it is started again", async () => (await rig.bot()).restarts.total >= 1, PATIENCE_MS);
  },
);
