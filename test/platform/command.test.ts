/** Short commands end in time, with all that they started, whatever they do with their pipes. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock as clock } from "../../src/platform/clock.ts";
import { runCommand } from "../../src/platform/command.ts";
import type { CommandRequest } from "../../src/platform/command.ts";
import { isLive } from "../../src/platform/proc.ts";
import { ownPids } from "../../src/platform/subreaper.ts";
import { until } from "./until.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "command-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const run = (script: string, more: Partial<CommandRequest> = {}) =>
  runCommand({
    command: ["sh", "-c", script],
    cwd: folder,
    env: { PATH: "/usr/bin:/bin" },
    timeoutMs: 10_000,
    clock,
    ...more,
  });
const pidIn = (name: string): number => Number(readFileSync(join(folder, name), "utf8"));

test.each([
  ["echo out; echo err >&2", { code: 0, signal: null, output: "out\nerr\n" }],
  ["exit 3", { code: 3, signal: null, output: "" }],
  ["kill -SEGV $$", { code: null, signal: "SIGSEGV", output: "" }],
  ["printf aébc", { code: 0, signal: null, output: "aébc" }],
])("runCommand() tells how %j ended", async (script, expected) => {
  // Two pipes have no common order; the pause makes one.
  const result = await run(script.replace("; echo err", "; sleep 0.05; echo err"));
  expect(result).toMatchObject({ kind: "exited", ...expected });
});

test("runCommand() keeps the first bytes and lets a chatty command run to its end", async () => {
  const result = await run("seq 1 100000; exit 4", { maxOutputBytes: 7 });
  expect(result).toMatchObject({ kind: "exited", code: 4, output: "1\n2\n3\n4" });
});

test("runCommand() hands stdin over and then ends it", async () => {
  expect(await run("cat", { stdin: "hello" })).toMatchObject({ kind: "exited", code: 0, output: "hello" });
  expect(await run("cat")).toMatchObject({ kind: "exited", code: 0, output: "" });
});

test("runCommand() kills the whole group and a setsid descendant at the timeout", async () => {
  const script =
    "echo begun; setsid sh -c 'echo $$ > far; exec sleep 60' & sh -c 'echo $$ > near; exec sleep 60' & wait";
  const startMs = performance.now();
  const result = await run(script, { timeoutMs: 400 });
  expect(result).toEqual({ kind: "timeout", output: "begun\n" });
  expect(performance.now() - startMs).toBeLessThan(3_000);
  expect([isLive(pidIn("far")), isLive(pidIn("near"))]).toEqual([false, false]);
});

test("runCommand() kills at an abort as at the timeout, and does not start when aborted before", async () => {
  const abort = new AbortController();
  const running = run("echo $$ > pid; exec sleep 60", { signal: abort.signal });
  const pid = await until("the pid", () => {
    try {
      return pidIn("pid");
    } catch {
      return undefined;
    }
  });
  abort.abort();
  expect((await running).kind).toBe("timeout");
  expect(isLive(pid)).toBe(false);
  expect(await run("echo $$ > other", { signal: abort.signal })).toEqual({ kind: "timeout", output: "" });
  expect(() => pidIn("other")).toThrow(/ENOENT/);
});

test("runCommand() does not wait for a pipe that a left-behind child holds", async () => {
  const startMs = performance.now();
  const result = await run(
    "setsid sh -c 'echo $$ > held; exec sleep 60' & until [ -s held ]; do sleep 0.01; done; echo done",
  );
  expect(result).toMatchObject({ kind: "exited", code: 0, output: "done\n" });
  expect(performance.now() - startMs).toBeLessThan(5_000);
  process.kill(pidIn("held"), "SIGKILL");
});

test("runCommand() says what could not be started and leaves no child registered", async () => {
  const command = ["no-such-check"];
  expect(await run("", { command })).toEqual({
    kind: "failed",
    reason: 'cannot start "no-such-check": not found in PATH (/usr/bin:/bin)',
  });
  expect(await run("true", { user: "no-such-user" })).toEqual({
    kind: "failed",
    reason: "cannot start sh: there is no user no-such-user",
  });
  expect(ownPids.size).toBe(0);
});

test.runIf(process.getuid?.() === 0)(
  "runCommand() as a user keeps the loader's variables from what still has our rights",
  async () => {
    const notes = join(folder, "notes");
    mkdirSync(notes);
    chmodSync(folder, 0o755);
    chmodSync(notes, 0o777);
    const env = { PATH: "/usr/bin:/bin", LD_DEBUG: "statistics", LD_DEBUG_OUTPUT: join(notes, "ld") };
    await run("true", { user: "nobody", cwd: "/", env });
    const owners = new Set(readdirSync(notes).map((name) => statSync(join(notes, name)).uid));
    expect([...owners]).toEqual([65_534]);
  },
);

test.runIf(process.getuid?.() === 0)("runCommand() runs as the user", async () => {
  expect(await run("id -un", { user: "nobody", cwd: "/" })).toMatchObject({ kind: "exited", output: "nobody\n" });
});
