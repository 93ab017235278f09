/** Automatic restarts counted by what they were for: a bounded set of words, for a label of a metric. */
import type { ExitInfo } from "./lifecycle-types.ts";

/** The causes of an end that can lead to a restart; `unknown`: counted by a release that kept no reasons. */
export const RESTART_REASONS = [
  "exited",
  "signal",
  "oom",
  "heartbeat",
  "progress",
  "probe",
  "limit",
  "startTimeout",
  "spawnFailed",
  "unknown",
] as const;
export type RestartReason = (typeof RESTART_REASONS)[number];

/** A reason without a restart is absent. */
export type RestartCounts = Readonly<Partial<Record<RestartReason, number>>>;

/** Probes are not told apart: their results have metrics of their own. */
export function restartReason(exit: Pick<ExitInfo, "cause"> | undefined): RestartReason {
  const cause = exit?.cause.startsWith("probe:") === true ? "probe" : exit?.cause;
  return RESTART_REASONS.find((reason) => reason === cause) ?? "unknown";
}

export function countRestart(counts: RestartCounts, exit: ExitInfo | undefined): RestartCounts {
  const reason = restartReason(exit);
  return { ...counts, [reason]: (counts[reason] ?? 0) + 1 };
}

/**
 * The counts of a file of whatever release, in reasons that this one knows and with a sum of `total`: what is missing is `unknown`,
 * and counts that are more than the total say nothing at all.
 */
export function knownCounts(counts: Readonly<Record<string, number>> | null | undefined, total: number): RestartCounts {
  const known = RESTART_REASONS.filter((reason) => reason !== "unknown").flatMap((reason) => {
    const count = counts?.[reason] ?? 0;
    return count > 0 ? [[reason, count] as const] : [];
  });
  const rest = total - known.reduce((sum, [, count]) => sum + count, 0);
  if (rest < 0) return { unknown: total };
  return { ...Object.fromEntries(known), ...(rest > 0 ? { unknown: rest } : {}) };
}
