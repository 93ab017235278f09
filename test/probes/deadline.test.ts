import { describe, expect, test } from "vitest";
import type { ProbeResult } from "../../src/core/verdict.ts";
import { withDeadline } from "../../src/probes/deadline.ts";
import { FakeClock } from "../harness/fake-clock.ts";

const never = (): Promise<ProbeResult> => new Promise(() => {});

function rig(late: "failure" | "unknown" = "failure") {
  const clock = new FakeClock();
  const outer = new AbortController();
  return { clock, outer, deadline: { clock, timeoutMs: 5_000, signal: outer.signal, late } };
}

describe("withDeadline()", () => {
  test("passes the result on and leaves no timer behind", async () => {
    const { clock, deadline } = rig();
    expect(await withDeadline(deadline, () => Promise.resolve({ kind: "success" }))).toEqual({ kind: "success" });
    expect(clock.pending).toBe(0);
  });

  test.each(["failure", "unknown"] as const)("ends a run that never ends as %s", async (late) => {
    const { clock, deadline } = rig(late);
    const result = withDeadline(deadline, never);
    clock.advance(5_000);
    expect(await result).toEqual({ kind: late, reason: "no answer within 5s" });
  });

  test("aborts the run's signal at the deadline", async () => {
    const { clock, deadline } = rig();
    let seen: AbortSignal | undefined;
    const result = withDeadline(deadline, (signal) => {
      seen = signal;
      return never();
    });
    clock.advance(5_000);
    await result;
    expect(seen?.aborted).toBe(true);
  });

  test("calls a run given up early unknown", async () => {
    const { clock, outer, deadline } = rig();
    const result = withDeadline(deadline, never);
    clock.advance(1_000);
    outer.abort();
    expect(await result).toMatchObject({ kind: "unknown" });
    expect(clock.pending).toBe(0);
  });

  test("does not start a run whose signal is aborted", async () => {
    const { outer, deadline } = rig();
    outer.abort();
    let started = false;
    const result = await withDeadline(deadline, () => {
      started = true;
      return never();
    });
    expect([result.kind, started]).toEqual(["unknown", false]);
  });

  test("calls a throw of the probe unknown", async () => {
    const { deadline } = rig();
    expect(await withDeadline(deadline, () => Promise.reject(new Error("bug")))).toEqual({
      kind: "unknown",
      reason: "cannot run the probe: bug",
    });
  });

  test("calls a deadline that fires far too late our own stall", async () => {
    const { clock, deadline } = rig();
    const result = withDeadline(deadline, never);
    clock.stall(65_000);
    expect(await result).toEqual({ kind: "unknown", reason: "the supervisor itself was stalled for 60 s" });
  });
});
