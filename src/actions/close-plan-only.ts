/** Mode `plan`: what a close would find, read and reported, with nothing locked, journaled or sent. */
import { excessOf } from "../core/close-excess.ts";
import { FLAT } from "../core/close-goal.ts";
import type { CloseGoal } from "../core/close-goal.ts";
import type { CloseJob, CloseReport } from "../core/close-job.ts";
import { isDust, planCancels } from "../core/close-orders.ts";
import type { Reading } from "../core/close-plan-types.ts";
import { flatText } from "../core/close-scope.ts";
import { counted } from "../core/counted.ts";
import { unreachableText } from "../core/venue-error.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import { proveFence } from "./close-guard.ts";
import { createTeller } from "./close-io.ts";
import type { CloseIo } from "./close-io.ts";
import { retry, withVenue } from "./close-prepare.ts";
import type { VenueTries } from "./close-prepare.ts";
import type { CloseRecord, Verdict } from "./close-record.ts";
import type { Venue } from "./venue/contract.ts";

/** A person waits for the answer, and a venue that is silent for this long will not tell more, ms. */
const MAX_LOOK_MS = 20_000;
/** Nobody waits longer for a wrong address or a network that is gone; a name server or a proxy that restarts is back by then, ms. */
const MAX_UNREACHABLE_MS = 5_000;

/** Mode `plan`: no lock, no journal, and the fence is only reported. */
export async function lookOnly(job: CloseJob, io: CloseIo, record: CloseRecord): Promise<CloseReport> {
  proveFence(job, io.clock, record);
  const deadlineMs = io.clock.monotonicMs() + Math.min(job.venue.timeoutMs, MAX_LOOK_MS);
  const tries = { deadlineMs, overtimeMs: 0, unreachableMs: MAX_UNREACHABLE_MS, tell: createTeller(io) };
  const look: Look = { io, record, tries, scope: job.venue.symbols, goal: job.goal ?? FLAT };
  return record.report(await withVenue(job, io, record, tries, (venue) => lookAt(venue, look)));
}

interface Look {
  readonly io: CloseIo;
  readonly record: CloseRecord;
  readonly tries: VenueTries;
  /** Empty: the whole account. */
  readonly scope: readonly string[];
  readonly goal: CloseGoal;
}

async function lookAt(venue: Venue, { io, record, tries, scope, goal }: Look): Promise<Verdict> {
  return retry<Verdict>(io, tries, async () => {
    const failure = await venue.preflight?.();
    if (failure !== undefined) return { failure };
    const reading = await venue.read();
    const holdings = record.noteReading(reading);
    const complete = reading.orders !== undefined && reading.triggers !== undefined;
    if (holdings === undefined || !complete) return { failure: mainFailure(reading) };
    const { positions, orders, loans = [] } = holdings;
    if (positions.length + orders + loans.length === 0)
      return { value: { outcome: "flat", reason: scope.length === 0 ? "nothing is open" : flatText(scope) } };
    if (goal.kind !== "flat") return { value: planFor(goal, reading, record) };
    const owed = loans.length === 0 ? "" : `, ${counted(loans.length, "loan")}`;
    const reason = `${counted(positions.length, "position")}${owed} and ${counted(orders, "order")} would be closed`;
    return { value: { outcome: "planNotEmpty", reason } };
  });
}

/** A goal that leaves positions open: what it would touch. */
function planFor(goal: CloseGoal, reading: Reading, record: CloseRecord): Verdict {
  const { positions = [], orders = [], triggers = [] } = reading;
  const open = positions.filter((position) => !isDust(position));
  const parts = excessOf(goal, positions);
  const cancelled = planCancels(new Map(), open, orders, triggers).reduce(
    (sum, { orders: list }) => sum + list.length,
    0,
  );
  record.notePlanned(parts, cancelled);
  if (parts.length + cancelled > 0) {
    const reason = `${counted(parts.length, "position")} would be reduced and ${counted(cancelled, "order")} cancelled`;
    return { outcome: "planNotEmpty", reason };
  }
  return { outcome: goal.kind === "reduce" ? "reduced" : "cancelled", reason: "there is nothing to do" };
}

/** A refused key first, since it ends the look; then what says most. */
function mainFailure({ failures }: Reading): VenueFailure {
  const refused = failures.find(({ kind }) => kind === "auth");
  const away = failures.find((failure) => unreachableText([failure]) !== undefined);
  // What a venue does not have is no reason to end: the rest of the reading failed otherwise.
  return refused ?? away ?? failures.find(({ kind }) => kind !== "unsupported") ?? { kind: "unknown" };
}
