import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ProbeResult } from "../../src/core/verdict.ts";
import { isLive } from "../../src/platform/proc.ts";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";
import { until } from "../platform/until.ts";

let cwd = "";
beforeEach(() => {
  cwd = realpathSync(mkdtempSync(join(tmpdir(), "probe-exec-")));
});
afterEach(() => {
  rmSync(cwd, { recursive: true });
});

function run(command: readonly string[], timeout = "10s", signal = noAbort()): Promise<ProbeResult> {
  const config = probeSchema.parse({ kind: "exec", command, timeout });
  const env = { PATH: "/usr/bin:/bin", BOT: "momentum" };
  return createProbe(config, probeContext({ cwd, env })).run(signal);
}

const sh = (script: string): string[] => ["sh", "-c", script];

describe("exec", () => {
  test("succeeds with exit code 0, in the bot's folder and environment", async () => {
    expect(await run(sh(`test "$PWD" = "${cwd}" && test "$BOT" = momentum`))).toEqual({ kind: "success" });
  });

  test("fails with another exit code and gives the first lines of output", async () => {
    expect(await run(sh("echo feed is stale; echo since 12:00; exit 3"))).toEqual({
      kind: "failure",
      reason: "sh: exit code 3: feed is stale | since 12:00",
    });
  });

  test("keeps five lines and 512 characters of the output", async () => {
    const lines = await run(sh("for i in 1 2 3 4 5 6 7; do echo $i; done; exit 1"));
    expect(lines).toEqual({ kind: "failure", reason: "sh: exit code 1: 1 | 2 | 3 | 4 | 5" });
    const long = await run(sh("head -c 100000 /dev/zero | tr '\\0' x; exit 1"));
    expect(long.kind === "failure" ? long.reason.length : 0).toBeLessThan(600);
  });

  test("fails when the command dies of a signal", async () => {
    expect(await run(sh("kill -SEGV $$"))).toMatchObject({ kind: "failure", reason: "sh: killed by SIGSEGV" });
  });

  test("is unknown when the command cannot be started: the probe broke, not the bot", async () => {
    expect(await run(["./no-such-check"])).toMatchObject({ kind: "unknown" });
  });

  test("fails at the timeout and kills what the command started", async () => {
    const result = await run(sh("sleep 60 & echo $! > pid; echo waiting; wait"), "500ms");
    expect(result).toEqual({ kind: "failure", reason: "sh did not end within 500ms: waiting" });
    const grandchild = Number(readFileSync(join(cwd, "pid"), "utf8"));
    // Dead or a zombie of init: nothing of it runs any more.
    await until("the grandchild is dead", () => !isLive(grandchild));
  });

  test("is unknown when it is given up, and its command is killed", async () => {
    const giveUp = new AbortController();
    const result = run(sh("echo $$ > pid.new; mv pid.new pid; exec sleep 60"), "60s", giveUp.signal);
    const pid = await pidIn(join(cwd, "pid"));
    giveUp.abort();
    expect(await result).toEqual({ kind: "unknown", reason: "cancelled before it ended" });
    await until("the command is dead", () => !isLive(pid));
  });
});

/** The pid that a script wrote. */
async function pidIn(path: string): Promise<number> {
  await until("the script has written its pid", () => existsSync(path));
  return Number(readFileSync(path, "utf8"));
}
