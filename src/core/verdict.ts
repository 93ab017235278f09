/**
 * Folds single probe results into a verdict, and verdicts into a bot's health, the way the kubelet does: a probe
 * turns unhealthy after `failureThreshold` failures in a row and healthy again
 * after `successThreshold` successes in a row. Below the threshold the verdict stays what it was.
 */
export type ProbeResult =
  | { readonly kind: "success" }
  | { readonly kind: "failure"; readonly reason: string }
  /** The probe itself broke; this says nothing about the bot and moves no count. */
  | { readonly kind: "unknown"; readonly reason: string };

export type Verdict = "pending" | "healthy" | "unhealthy";

/** startup gates the others, liveness judges the bot's life, readiness only its fitness. */
type ProbeRole = "startup" | "liveness" | "readiness";

export interface Thresholds {
  readonly failureThreshold: number;
  readonly successThreshold: number;
}

export interface ProbeRecord {
  readonly verdict: Verdict;
  /** The current row of equal results; `undefined` before the first that is not `unknown`. */
  readonly run: { readonly kind: "success" | "failure"; readonly length: number } | undefined;
}

/** The record of a probe that has not run in this generation. */
export const freshRecord: ProbeRecord = { verdict: "pending", run: undefined };

export function foldResult(record: ProbeRecord, result: ProbeResult, limits: Thresholds): ProbeRecord {
  if (result.kind === "unknown") return record;
  const length = record.run?.kind === result.kind ? record.run.length + 1 : 1;
  const run = { kind: result.kind, length };
  if (result.kind === "failure" && length >= limits.failureThreshold) return { verdict: "unhealthy", run };
  if (result.kind === "success" && length >= limits.successThreshold) return { verdict: "healthy", run };
  return { verdict: record.verdict, run };
}

/** Failures in a row up to now; 0 after a success. */
export function failuresInRow(record: ProbeRecord): number {
  return record.run?.kind === "failure" ? record.run.length : 0;
}

/** What a probe contributes to the health of its bot. */
export interface JudgedProbe {
  readonly role: ProbeRole;
  readonly verdict: Verdict;
}

/**
 * Health of a bot: unhealthy when any startup or liveness probe is, else pending while any of them is, else healthy.
 * Readiness probes do not count: a bot that is not ready is still alive.
 */
export function botHealth(probes: readonly JudgedProbe[]): Verdict {
  const vital = probes.filter((probe) => probe.role !== "readiness");
  if (vital.some((probe) => probe.verdict === "unhealthy")) return "unhealthy";
  return vital.some((probe) => probe.verdict === "pending") ? "pending" : "healthy";
}

/** Whether a bot is fit for work as far as its probes tell: it is healthy and so is each of its readiness probes. */
export function botReady(probes: readonly JudgedProbe[]): boolean {
  return botHealth(probes) === "healthy" && probes.every((probe) => probe.verdict === "healthy");
}
