import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import type { ProbeContext } from "../../src/probes/contract.ts";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";

const children: ChildProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
});

function sleeper(): number {
  const child = spawn("sleep", ["60"]);
  children.push(child);
  return child.pid ?? -1;
}

function rig(config: object, facts: Partial<ProbeContext> = {}) {
  const clock = new FakeClock();
  const probe = createProbe(probeSchema.parse({ kind: "resources", ...config }), probeContext({ clock, ...facts }));
  return { clock, run: () => probe.run(noAbort()) };
}

describe("resources", () => {
  test("succeeds below its limits", async () => {
    const { run } = rig({ maxRss: "100GiB", maxOpenFiles: 1_000_000, for: "0s" });
    expect(await run()).toEqual({ kind: "success" });
  });

  test("fails only when a limit has been exceeded for the whole time", async () => {
    const { clock, run } = rig({ maxRss: "1MiB", for: "20s" });
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(10_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(10_000);
    const result = await run();
    expect(result.kind === "failure" ? result.reason : "").toMatch(
      /^memory [\d.]+ [MG]iB is above maxRss 1\.0 MiB for 20 s$/,
    );
  });

  test("starts the time again after a run below the limit", async () => {
    let pids = [process.pid];
    const small = sleeper();
    const { clock, run } = rig({ maxRss: "20MiB", for: "20s" }, { treePids: () => pids });
    await run();
    clock.advance(10_000);
    pids = [small];
    await run();
    clock.advance(10_000);
    pids = [process.pid];
    expect(await run()).toEqual({ kind: "success" });
  });

  test("starts the time again when nobody looked for long", async () => {
    const { clock, run } = rig({ maxRss: "1MiB", for: "60s" });
    await run();
    clock.advance(3_600_000);
    expect(await run()).toEqual({ kind: "success" });
  });

  test("counts the open files of the whole tree", async () => {
    const { run } = rig({ maxOpenFiles: 5, for: "0s" }, { treePids: () => [sleeper(), sleeper()] });
    const result = await run();
    expect(result.kind === "failure" ? result.reason : "").toMatch(/^\d+ open files are above maxOpenFiles 5 for 0 s$/);
  });

  test("is unknown when no process is left to measure", async () => {
    const { run } = rig({ maxRss: "1MiB", for: "0s" }, { treePids: () => [] });
    expect(await run()).toMatchObject({ kind: "unknown" });
  });
});
