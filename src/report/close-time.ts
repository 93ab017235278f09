/** How long a close took, in all of its runs. */
import type { CloseReport } from "../core/close-job.ts";
import { FURTHER_RUN } from "../core/incident.ts";

/** From the start of the first run to the end of the last, ms; of one run alone by its own clock, which nobody sets. */
export function wholeMs({ startedAt, endedAt, durationMs, timeline = [] }: CloseReport): number {
  if (endedAt === undefined || !timeline.some(({ text }) => text === FURTHER_RUN)) return durationMs;
  return Math.max(durationMs, Date.parse(endedAt) - Date.parse(startedAt));
}
