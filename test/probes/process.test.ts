import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { readStat } from "../../src/platform/proc.ts";
import type { ProbeResult } from "../../src/core/verdict.ts";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";
import { until } from "../platform/until.ts";

function look(pid: number, startTicks: number): Promise<ProbeResult> {
  return createProbe(probeSchema.parse({ kind: "process" }), probeContext({ pid, startTicks })).run(noAbort());
}

const children: ChildProcessWithoutNullStreams[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) await end(child);
});

function start(program: string, ...args: string[]): ChildProcessWithoutNullStreams {
  const child = spawn(program, args);
  children.push(child);
  return child;
}

async function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

const ticks = (pid: number): number => readStat(pid)?.startTicks ?? -1;

describe("process", () => {
  test("succeeds while the main process runs, also while it is stopped", async () => {
    const child = start("sleep", "60");
    const pid = child.pid ?? -1;
    const startTicks = ticks(pid);
    expect(await look(pid, startTicks)).toEqual({ kind: "success" });
    child.kill("SIGSTOP");
    await until("the process is stopped", () => readStat(pid)?.state === "T");
    expect(await look(pid, startTicks)).toEqual({ kind: "success" });
    await end(child);
    expect(await look(pid, startTicks)).toEqual({ kind: "failure", reason: `main process ${pid} is gone` });
  });

  test("fails when the pid belongs to another process", async () => {
    expect(await look(process.pid, ticks(process.pid) - 1)).toEqual({
      kind: "failure",
      reason: `main process ${process.pid} is gone, its pid belongs to another process`,
    });
  });

  test("fails for a zombie", async () => {
    // The shell replaces itself by sleep, which never waits for the child that it inherits; only then may the child end.
    const parent = start("sh", "-c", "exec 3<&0; sh -c 'read line <&3' & echo $!; exec sleep 60");
    const [line] = await once(parent.stdout, "data");
    const pid = Number(String(line).trim());
    await until("the shell is replaced", () => readStat(parent.pid ?? -1)?.comm === "sleep");
    parent.stdin.end("go\n");
    await until("the child is a zombie", () => readStat(pid)?.state === "Z");
    expect(await look(pid, ticks(pid))).toEqual({ kind: "failure", reason: `main process ${pid} is dead (state Z)` });
  });
});
