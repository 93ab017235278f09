import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  botHealth,
  botReady,
  failuresInRow,
  foldResult,
  freshRecord,
  type JudgedProbe,
  type ProbeRecord,
  type ProbeResult,
  type Thresholds,
  type Verdict,
} from "../../src/core/verdict.ts";

const success: ProbeResult = { kind: "success" };
const failure: ProbeResult = { kind: "failure", reason: "refused" };
const unknown: ProbeResult = { kind: "unknown", reason: "no descriptor left" };

function foldAll(results: readonly ProbeResult[], limits: Thresholds): ProbeRecord {
  let record = freshRecord;
  for (const result of results) record = foldResult(record, result, limits);
  return record;
}

const anyResult = fc.constantFrom(success, failure, unknown);
const known = fc.constantFrom(success, failure);
const anyLimits = fc.record({
  failureThreshold: fc.integer({ min: 1, max: 6 }),
  successThreshold: fc.integer({ min: 1, max: 6 }),
});

describe("foldResult()", () => {
  const limits = { failureThreshold: 3, successThreshold: 2 };

  test.each([
    ["nothing yet is pending", [], "pending"],
    ["failures below the threshold leave it pending", [failure, failure], "pending"],
    ["the third failure in a row is unhealthy", [failure, failure, failure], "unhealthy"],
    ["a success breaks the row of failures", [failure, failure, success, failure, failure], "pending"],
    ["successes below the threshold leave it pending", [success], "pending"],
    ["the second success in a row is healthy", [success, success], "healthy"],
    ["failures below the threshold leave it healthy", [success, success, failure, failure], "healthy"],
    ["it recovers after two successes", [failure, failure, failure, success, success], "healthy"],
    ["one success does not recover it", [failure, failure, failure, success], "unhealthy"],
  ] as const)("%s", (_name, results, verdict) => {
    expect(foldAll(results, limits).verdict).toBe(verdict);
  });

  test("unknown changes nothing: neither the count nor the verdict", () => {
    const property = fc.property(fc.array(anyResult, { maxLength: 30 }), anyLimits, (results, anyThresholds) => {
      const before = foldAll(results, anyThresholds);
      expect(foldResult(before, unknown, anyThresholds)).toEqual(before);
    });
    fc.assert(property);
  });

  test("interleaved unknowns make no difference", () => {
    const property = fc.property(fc.array(anyResult, { maxLength: 60 }), anyLimits, (results, anyThresholds) => {
      const without = results.filter((result) => result.kind !== "unknown");
      expect(foldAll(results, anyThresholds)).toEqual(foldAll(without, anyThresholds));
    });
    fc.assert(property);
  });
});

/** Each change of the verdict, with the results that led to it up to there. */
function flips(results: readonly ProbeResult[], limits: Thresholds): { to: Verdict; upTo: readonly ProbeResult[] }[] {
  const found: { to: Verdict; upTo: readonly ProbeResult[] }[] = [];
  let record = freshRecord;
  for (const [i, result] of results.entries()) {
    const next = foldResult(record, result, limits);
    if (next.verdict !== record.verdict) found.push({ to: next.verdict, upTo: results.slice(0, i + 1) });
    record = next;
  }
  return found;
}

const endsWith = (results: readonly ProbeResult[], count: number, kind: ProbeResult["kind"]): boolean =>
  results.length >= count && results.slice(-count).every((result) => result.kind === kind);

describe("foldResult() flips", () => {
  test("to unhealthy only by failureThreshold failures in a row", () => {
    const property = fc.property(fc.array(known, { maxLength: 60 }), anyLimits, (results, limits) =>
      flips(results, limits)
        .filter((flip) => flip.to === "unhealthy")
        .every((flip) => endsWith(flip.upTo, limits.failureThreshold, "failure")),
    );
    expect(() => fc.assert(property)).not.toThrow();
  });

  test("to healthy only by successThreshold successes in a row", () => {
    const property = fc.property(fc.array(known, { maxLength: 60 }), anyLimits, (results, limits) =>
      flips(results, limits)
        .filter((flip) => flip.to === "healthy")
        .every((flip) => endsWith(flip.upTo, limits.successThreshold, "success")),
    );
    expect(() => fc.assert(property)).not.toThrow();
  });

  test("always by failureThreshold failures in a row, whatever came before", () => {
    const property = fc.property(fc.array(anyResult, { maxLength: 30 }), anyLimits, (results, limits) => {
      const row = Array.from({ length: limits.failureThreshold }, () => failure);
      return foldAll([...results, ...row], limits).verdict === "unhealthy";
    });
    expect(() => fc.assert(property)).not.toThrow();
  });

  test("never back to pending, and the same way each time", () => {
    const property = fc.property(fc.array(anyResult, { maxLength: 60 }), anyLimits, (results, limits) => {
      expect(flips(results, limits)).toEqual(flips(results, limits));
      return flips(results, limits).every((flip) => flip.to !== "pending");
    });
    expect(() => fc.assert(property)).not.toThrow();
  });
});

describe("failuresInRow()", () => {
  const limits = { failureThreshold: 3, successThreshold: 1 };

  test.each([
    ["is 0 before the first run", [], 0],
    ["counts failures", [failure, failure], 2],
    ["goes on counting beyond the threshold", [failure, failure, failure, failure], 4],
    ["skips unknowns", [failure, unknown, failure], 2],
    ["is 0 after a success", [failure, failure, success], 0],
  ] as const)("%s", (_name, results, count) => {
    expect(failuresInRow(foldAll(results, limits))).toBe(count);
  });
});

const probe = (role: JudgedProbe["role"], verdict: JudgedProbe["verdict"]): JudgedProbe => ({ role, verdict });

describe("botHealth() and botReady()", () => {
  test.each([
    ["no probe at all", [], "healthy", true],
    ["liveness healthy", [probe("liveness", "healthy")], "healthy", true],
    ["liveness pending", [probe("liveness", "pending")], "pending", false],
    ["one liveness unhealthy", [probe("liveness", "healthy"), probe("liveness", "unhealthy")], "unhealthy", false],
    [
      "unhealthy weighs more than pending",
      [probe("startup", "pending"), probe("liveness", "unhealthy")],
      "unhealthy",
      false,
    ],
    ["startup pending", [probe("startup", "pending"), probe("liveness", "healthy")], "pending", false],
    ["startup unhealthy", [probe("startup", "unhealthy")], "unhealthy", false],
    [
      "readiness unhealthy leaves health",
      [probe("liveness", "healthy"), probe("readiness", "unhealthy")],
      "healthy",
      false,
    ],
    ["readiness pending leaves health", [probe("readiness", "pending")], "healthy", false],
    [
      "all healthy",
      [probe("startup", "healthy"), probe("liveness", "healthy"), probe("readiness", "healthy")],
      "healthy",
      true,
    ],
  ] as const)("%s", (_name, probes, health, ready) => {
    expect({ health: botHealth(probes), ready: botReady(probes) }).toEqual({ health, ready });
  });
});
