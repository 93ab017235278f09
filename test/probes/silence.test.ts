import { describe, expect, test } from "vitest";
import { createProbe, probeSchema } from "../../src/probes/index.ts";
import type { ProbeContext } from "../../src/probes/contract.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { noAbort, probeContext } from "../harness/probe-context.ts";

/** A heartbeat or progress probe whose bot is `facts`; times are those of `clock`. */
function rig(config: object, facts: Partial<ProbeContext> = {}) {
  const clock = new FakeClock();
  const probe = createProbe(probeSchema.parse(config), probeContext({ clock, ...facts }));
  return { clock, run: () => probe.run(noAbort()), nextDelayMs: () => probe.nextDelayMs?.() };
}

const beats = { kind: "heartbeat", timeout: "60s" };

describe("heartbeat", () => {
  test("is unknown before the first heartbeat, up to the timeout, and fails beyond it, counted from the start", async () => {
    const { clock, run } = rig(beats);
    expect(await run()).toEqual({ kind: "unknown", reason: "no heartbeat yet" });
    clock.advance(60_000);
    expect(await run()).toEqual({ kind: "unknown", reason: "no heartbeat yet" });
    clock.advance(1_000);
    expect(await run()).toEqual({ kind: "failure", reason: "no heartbeat for 61 s (timeout 60s)" });
  });

  test("succeeds from the first heartbeat on", async () => {
    let heartbeatAtMs: number | undefined;
    const { clock, run } = rig(beats, { heartbeatAtMs: () => heartbeatAtMs });
    clock.advance(5_000);
    expect(await run()).toMatchObject({ kind: "unknown" });
    heartbeatAtMs = 5_000;
    expect(await run()).toEqual({ kind: "success" });
  });

  test("counts from the last heartbeat", async () => {
    const { clock, run } = rig(beats, { heartbeatAtMs: () => 50_000 });
    clock.advance(110_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(1);
    expect(await run()).toMatchObject({ kind: "failure" });
  });

  test("counts from arming when the last heartbeat is older", async () => {
    const { clock, run } = rig(beats, { armedAtMs: () => 100_000, heartbeatAtMs: () => 10_000 });
    clock.advance(150_000);
    expect(await run()).toEqual({ kind: "success" });
  });

  test("fails at once when the bot asks for its replacement", async () => {
    const { run } = rig(beats, { watchdogTriggered: () => true });
    expect(await run()).toEqual({
      kind: "failure",
      reason: "the bot asked for its replacement (WATCHDOG=trigger)",
    });
  });

  test("takes the bot's own WATCHDOG_USEC instead of the timeout", async () => {
    const { clock, run } = rig(beats, { watchdogMs: () => 2_000 });
    clock.advance(2_500);
    expect(await run()).toEqual({ kind: "failure", reason: "no heartbeat for 2.5 s (timeout 2s)" });
  });

  test("is switched off by WATCHDOG_USEC=0, but not for WATCHDOG=trigger", async () => {
    const off = rig(beats, { watchdogMs: () => 0 });
    off.clock.advance(1_000_000);
    expect([await off.run(), off.nextDelayMs()]).toEqual([{ kind: "success" }, 10_000]);
    const triggered = rig(beats, { watchdogMs: () => 0, watchdogTriggered: () => true });
    expect(await triggered.run()).toMatchObject({ kind: "failure" });
  });

  test("does not mind a step of the wall clock", async () => {
    const { clock, run } = rig(beats, { heartbeatAtMs: () => 0 });
    clock.advance(1_000);
    clock.stepWall(3_600_000);
    expect(await run()).toEqual({ kind: "success" });
  });
});

describe("heartbeat nextDelayMs()", () => {
  test("is the period while the deadline is far", () => {
    expect(rig(beats).nextDelayMs()).toBe(10_000);
  });

  test("ends just beyond the deadline, where the run fails", async () => {
    const { clock, run, nextDelayMs } = rig(beats);
    clock.advance(55_000);
    await run();
    const delayMs = nextDelayMs() ?? 0;
    expect(delayMs).toBe(5_001);
    clock.advance(delayMs);
    expect(await run()).toMatchObject({ kind: "failure" });
  });

  test("is never below 10 ms and is the period once it has failed", async () => {
    const { clock, run, nextDelayMs } = rig(beats);
    clock.advance(60_000);
    await run();
    expect(nextDelayMs()).toBe(10);
    clock.advance(10);
    await run();
    expect(nextDelayMs()).toBe(10_000);
  });
});

describe("heartbeat after a stall of the machine", () => {
  test("gives the bot one full timeout, then fails", async () => {
    const { clock, run, nextDelayMs } = rig(beats, { heartbeatAtMs: () => 0 });
    nextDelayMs();
    clock.stall(300_000);
    expect(await run()).toEqual({ kind: "unknown", reason: "the supervisor itself was stalled for 290 s" });
    clock.advance(60_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(1);
    expect(await run()).toMatchObject({ kind: "failure" });
  });

  test("does not excuse a look that is a little late", async () => {
    const { clock, run, nextDelayMs } = rig(beats);
    clock.advance(59_000);
    nextDelayMs();
    clock.stall(4_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });
});

describe("progress", () => {
  test("fails when the value has not changed for longer than its timeout", async () => {
    const { clock, run } = rig({ kind: "progress", timeout: "300s" }, { progressAtMs: () => 5_000 });
    clock.advance(305_000);
    expect(await run()).toEqual({ kind: "success" });
    clock.advance(1_000);
    expect(await run()).toEqual({ kind: "failure", reason: "no progress for 301 s (timeout 300s)" });
  });

  test("is unknown before the first value, and a failure when none comes in time", async () => {
    const { clock, run } = rig({ kind: "progress", timeout: "10s" });
    clock.advance(10_000);
    expect(await run()).toEqual({ kind: "unknown", reason: "no progress yet" });
    clock.advance(1);
    expect(await run()).toEqual({ kind: "failure", reason: "no progress for 10 s (timeout 10s)" });
  });

  test("is not fed by heartbeats", async () => {
    const { clock, run } = rig({ kind: "progress", timeout: "10s" }, { heartbeatAtMs: () => 11_000 });
    clock.advance(11_000);
    expect(await run()).toMatchObject({ kind: "failure" });
  });
});
