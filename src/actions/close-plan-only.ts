/** Mode `plan`: what a close would find, read and reported, with nothing locked, journaled or sent. */
import type { CloseJob, CloseReport } from "../core/close-job.ts";
import { proveFence } from "./close-guard.ts";
import type { CloseIo } from "./close-io.ts";
import { retry, withVenue } from "./close-prepare.ts";
import type { CloseRecord, Verdict } from "./close-record.ts";
import type { Venue } from "./venue/venue.ts";

/** A person waits for the answer, and a venue that is silent for this long will not tell more, ms. */
const MAX_LOOK_MS = 20_000;

/** Mode `plan`: no lock, no journal, and the fence is only reported. */
export async function lookOnly(job: CloseJob, io: CloseIo, record: CloseRecord): Promise<CloseReport> {
  proveFence(job, io.clock, record);
  const deadlineMs = io.clock.monotonicMs() + Math.min(job.venue.timeoutMs, MAX_LOOK_MS);
  const time = { deadlineMs, overtimeMs: 0 };
  const verdict = await withVenue(job, io, record, time, (venue) => look(venue, io, record, deadlineMs));
  return record.report(verdict);
}

async function look(venue: Venue, io: CloseIo, record: CloseRecord, deadlineMs: number): Promise<Verdict> {
  return retry<Verdict>(io, deadlineMs, async () => {
    const reading = await venue.read();
    const refused = reading.failures.find(({ kind }) => kind === "auth");
    const holdings = record.noteReading(reading);
    const complete = reading.orders !== undefined && reading.triggers !== undefined;
    if (holdings === undefined || !complete) return { failure: refused ?? { kind: "unknown" } };
    const { positions, orders } = holdings;
    if (positions.length + orders === 0) return { value: { outcome: "flat", reason: "nothing is open" } };
    return {
      value: { outcome: "planNotEmpty", reason: `${positions.length} positions and ${orders} orders would be closed` },
    };
  });
}
