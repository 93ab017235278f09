/** Which failures do not count against the bot, and that no excuse lasts for ever. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  excuseRun,
  MAX_EXCUSED_MS,
  MAX_EXCUSED_RUNS,
  MIN_EXCUSED_MS,
  type Disturbance,
  type ExcusedProbe,
  type Excuses,
  type RunReport,
} from "../../src/core/excuse.ts";
import { foldResult, freshRecord } from "../../src/core/verdict.ts";

const HTTP: ExcusedProbe = { kind: "http", role: "liveness", onFailure: "restart", period: 10_000, timeout: 5_000 };
const BEAT: ExcusedProbe = { kind: "heartbeat", role: "liveness", period: 10_000, timeout: 60_000 };
const FAILURE = { kind: "failure", reason: "status 503" } as const;

/** A run of one second that ends at `endMs`. */
function run(endMs: number, facts: Partial<RunReport> = {}): RunReport {
  return {
    result: FAILURE,
    startMs: endMs - 1_000,
    endMs,
    upstream: false,
    beating: true,
    upstreamTrouble: () => undefined,
    disturbance: () => undefined,
    ...facts,
  };
}

const stall = (endMs: number) => (): Disturbance => ({ reason: "machine: stalled", endMs });
const resultOf = (probe: ExcusedProbe, report: RunReport, excuses?: Excuses) =>
  excuseRun(probe, excuses, report).result;

describe("excuseRun() in a disturbance", () => {
  test("lets success and unknown be what they are", () => {
    for (const result of [{ kind: "success" }, { kind: "unknown", reason: "broke" }] as const)
      expect(resultOf(HTTP, run(9_000, { result, disturbance: stall(9_000), upstream: true }))).toBe(result);
  });

  test.each([
    ["ends in it", 50_000, true],
    ["begins within one period after it", 50_000 + 10_999, true],
    ["begins later than one period after it", 50_000 + 11_000, false],
  ])("a failure of a run that %s", (_, endMs, excused) => {
    const result = resultOf(HTTP, run(endMs, { disturbance: stall(50_000) }));
    expect(result).toEqual(excused ? { kind: "unknown", reason: "machine: stalled; status 503" } : FAILURE);
  });

  test("silence has its whole timeout afresh", () => {
    const kinds = [109_999, 110_000].map(
      (endMs) => resultOf(BEAT, run(endMs, { startMs: endMs, disturbance: stall(50_000) })).kind,
    );
    expect(kinds).toEqual(["unknown", "failure"]);
  });

  test.each(["process", "resources"])("excuses no %s: a dead process and a hog are seen all the same", (kind) => {
    expect(resultOf({ ...HTTP, kind }, run(9_000, { disturbance: stall(9_000) }))).toBe(FAILURE);
  });

  test("a disturbance that never ends hides a hung bot for a bounded time, whatever the probe", () => {
    const anyProbe = fc.record({
      kind: fc.constantFrom("http", "tcp", "exec", "file", "heartbeat", "progress"),
      role: fc.constantFrom("startup", "liveness", "readiness"),
      period: fc.integer({ min: 50, max: 600_000 }),
      timeout: fc.integer({ min: 50, max: 600_000 }),
      failureThreshold: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(anyProbe, (probe) => {
        const limits = { failureThreshold: probe.failureThreshold, successThreshold: 1 };
        let excuses: Excuses;
        let record = freshRecord;
        let runs = 0;
        for (let endMs = 0; record.verdict !== "unhealthy"; endMs += probe.period) {
          const answer = excuseRun(probe, excuses, run(endMs, { disturbance: stall(endMs) }));
          excuses = answer.excuses;
          record = foldResult(record, answer.result, limits);
          runs += 1;
        }
        const excusedRuns = runs - probe.failureThreshold;
        const excusedMs = (excusedRuns - 1) * probe.period;
        const boundMs = ["heartbeat", "progress"].includes(probe.kind) ? 2 * probe.timeout : MAX_EXCUSED_MS;
        expect(excusedRuns).toBeGreaterThanOrEqual(1);
        expect(excusedMs).toBeLessThanOrEqual(boundMs);
        expect(excusedRuns <= MAX_EXCUSED_RUNS || excusedMs <= MIN_EXCUSED_MS).toBe(true);
      }),
    );
  });

  test("a success grants new excuses, a counted failure does not", () => {
    let excuses: Excuses;
    const at = (endMs: number): RunReport => run(endMs, { disturbance: stall(endMs) });
    for (let runs = 0; runs <= MAX_EXCUSED_RUNS; runs += 1) ({ excuses } = excuseRun(HTTP, excuses, at(runs * 10_000)));
    expect(resultOf(HTTP, at(90_000), excuses)).toBe(FAILURE);
    ({ excuses } = excuseRun(HTTP, excuses, run(91_000, { result: { kind: "success" } })));
    expect(resultOf(HTTP, at(92_000), excuses).kind).toBe("unknown");
  });
});

const down = (): string => "venue fails too (connection refused)";

describe("excuseRun() of remote causes", () => {
  test("an upstream never fails a liveness probe, whether the bot beats or not", () => {
    for (const beating of [true, false])
      expect(resultOf(HTTP, run(0, { upstream: true, beating }))).toEqual({
        kind: "unknown",
        reason: "remote: status 503",
      });
  });

  test.each([
    ["readiness", undefined, "failure"],
    ["readiness", "degrade", "failure"],
    ["readiness", "restart", "unknown"],
    ["readiness", "emergency", "unknown"],
    ["liveness", "alert", "unknown"],
    ["startup", undefined, "unknown"],
  ] as const)("an upstream with role %s and onFailure %s is a %s", (role, onFailure, kind) => {
    expect(resultOf({ ...HTTP, role, onFailure }, run(0, { upstream: true })).kind).toBe(kind);
  });

  test.each([
    ["http", true, "unknown"],
    ["exec", true, "unknown"],
    ["file", true, "unknown"],
    ["progress", true, "unknown"],
    ["http", false, "failure"],
    ["progress", false, "failure"],
    ["heartbeat", true, "failure"],
    ["tcp", true, "failure"],
    ["resources", true, "failure"],
    ["process", true, "failure"],
  ])("with an upstream down, %s of a bot that beats (%s) is %s", (kind, beating, expected) => {
    expect(resultOf({ ...HTTP, kind }, run(0, { beating, upstreamTrouble: down })).kind).toBe(expected);
  });

  test("a readiness probe still says that the bot is not fit for work", () => {
    const probe = { ...HTTP, role: "readiness", onFailure: "alert" } as const;
    expect(resultOf(probe, run(0, { upstreamTrouble: down }))).toBe(FAILURE);
  });
});
