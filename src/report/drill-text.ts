/** The report of a drill for people, complete enough for somebody who has to believe it without having been there. */
import { formatDuration } from "../core/duration.ts";
import { plainText } from "../core/plain-text.ts";
import { formatSize } from "../core/size.ts";
import { drilledName, faultOf, type Drilled, type DrillReport } from "../core/drill.ts";

export function drillText(report: DrillReport): string {
  const { id, startedAt, endedAt, trigger, by, targets, previousSha256 } = report;
  const fault = faultOf(report);
  const head = [
    ["drill", `${id}: ${report.ok ? "PASSED" : "FAILED"}`],
    [
      "by",
      `${by.user}, ${trigger === "manual" ? "by hand" : "by the schedule"}, on ${by.host}, ${by.tool}, config ${by.config}`,
    ],
    ["from", `${startedAt} to ${endedAt}`],
    ["recovery time (RTO)", timeText(report)],
    ["recovery point (RPO)", pointText(report)],
    ...(fault === null ? [] : [["why it failed", fault]]),
    ["drill before", previousSha256 === null ? "none" : `its record has the SHA-256 ${previousSha256}`],
  ];
  const lines = [...head.map(([name = "", text = ""]) => `${name.padEnd(22)}${text}`), ...targets.flatMap(targetText)];
  return lines.map((line) => plainText(line)).join("\n");
}

function timeText({ rtoSeconds, rtoMet, objectives, targets }: DrillReport): string {
  // However soon it gave up, nothing has recovered.
  return targets.every((each) => each.rtoSeconds !== null)
    ? againstPromise(rtoSeconds, objectives.rtoSeconds, rtoMet)
    : "unknown: not everything was restored: MISSED";
}

function pointText({ rpoSeconds, rpoMet, targets }: DrillReport): string {
  if (rpoSeconds === null) return "unknown: not everything was restored: MISSED";
  const own = new Set(targets.map((each) => each.rpoObjectiveSeconds));
  const [only] = own;
  return own.size === 1 && only !== undefined
    ? againstPromise(rpoSeconds, only, rpoMet)
    : `${spanText(rpoSeconds)} at worst, each target against its own: ${rpoMet ? "met" : "MISSED"}`;
}

function unchangedText(unchangedAt: string | undefined): string {
  return unchangedAt === undefined ? "" : `, which the source still held at ${unchangedAt}`;
}

function targetText(each: Drilled): readonly string[] {
  const { kind, store, place, backups, snapshotAt, unchangedAt, wal, steps, checks, rtoSeconds, rpoSeconds, ok } = each;
  const facts = [
    `${drilledName(each)} (${kind}) from ${store}, ${place}: ${ok ? "restored" : "NOT RESTORED"}`,
    ...(snapshotAt === null ? [] : [`  data of ${snapshotAt}${unchangedText(unchangedAt)}`]),
    ...(wal === undefined
      ? []
      : [`  WAL up to ${wal.lastSegment}, for ${wal.wantedAt}; the last transaction is of ${wal.reachedAt}`]),
    ...backups.map(
      ({ id, manifestSha256, storedBytes, parts }) =>
        `  ${id}: ${formatSize(storedBytes)} in ${parts.length} ${parts.length === 1 ? "file" : "files"}, SHA-256 of its manifest ${manifestSha256}`,
    ),
    ...(rtoSeconds === null || rpoSeconds === null
      ? []
      : [
          `  restored in ${spanText(rtoSeconds)}; data lost: ${againstPromise(rpoSeconds, each.rpoObjectiveSeconds, rpoSeconds <= each.rpoObjectiveSeconds)}`,
        ]),
  ];
  return [
    "",
    ...facts,
    ...steps.map(
      (step) =>
        `  ${step.startedAt}  ${step.name.padEnd(8)}${`${step.seconds.toFixed(1)} s`.padStart(9)}  ${step.ok ? "ok  " : "FAIL"}  ${step.detail}`,
    ),
    ...checks.map((check) => `  ${check.ok ? "ok  " : "FAIL"}  ${check.name}: ${check.text}`),
  ];
}

function againstPromise(seconds: number, promised: number, met: boolean): string {
  return `${spanText(seconds)}, promised ${formatDuration(promised * 1_000)}: ${met ? "met" : "MISSED"}`;
}

function spanText(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
