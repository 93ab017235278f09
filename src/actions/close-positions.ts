/**
 * The emergency close: flattens an account from outside of a bot that was proven dead, and proves the result.
 *
 * lock the account → prove the fence → load the venue → close until flat (core/close-plan.ts) → quiet period → report.
 */
import { randomInt } from "node:crypto";
import { CLOSE_EXIT, CLOSE_OVERTIME_MS, closeJobSchema } from "../core/close-job.ts";
import type { CloseJob, CloseReport, Unwritten, WorkerLine } from "../core/close-job.ts";
import { FLAT } from "../core/close-goal.ts";
import { startPlan } from "../core/close-plan.ts";
import { styleOf } from "../core/close-style.ts";
import type { PlanState } from "../core/close-plan-types.ts";
import { hookTakesOver } from "../core/ladder.ts";
import type { LastStep } from "../core/ladder.ts";
import { RUN_NAMES, runName } from "../core/incident.ts";
import type { IncidentHistory, Step } from "../core/incident.ts";
import type { Clock } from "../platform/clock.ts";
import { lockAccount, proveFence } from "./close-guard.ts";
import { createTeller, piecesOf } from "./close-io.ts";
import type { CloseIo, Teller } from "./close-io.ts";
import { closeAccount } from "./close-loop.ts";
import { lookOnly } from "./close-plan-only.ts";
import { withVenue } from "./close-prepare.ts";
import { CloseRecord } from "./close-record.ts";
import type { Verdict } from "./close-record.ts";
import { defineAction } from "./contract.ts";
import { IncidentJournal } from "./incident-journal.ts";
import { leaveInSpare, SPARE_VARIABLE } from "./incident-spare.ts";
import type { Venue } from "./venue/contract.ts";
import { describeError } from "./venue/describe-error.ts";
import { openWorkerLog } from "./worker-log.ts";

/** A hook that stands beside the driver goes on when the venue cannot be read for this long, ms: a hiccup is over by then. */
const UNREADABLE_BEFORE_HOOK_MS = 30_000;
/** The hook has this at least, also when the driver has used the time up, ms: within the daemon's margin for a worker. */
const HOOK_BUDGET_MS = 15_000;

export const closePositionsAction = defineAction({
  jobSchema: closeJobSchema,
  run: async (job, { write, clock }) => {
    const log = openWorkerLog();
    const progress = (line: WorkerLine): void => {
      write(line);
      if (line.kind === "progress") log.line(line.text);
    };
    let unwritten: Unwritten | undefined;
    const onUnwritten = (left: Unwritten): void => {
      unwritten = left;
    };
    const report = await closePositions(job, { progress, clock, onCall: log.call, onUnwritten });
    write({ kind: "result", report } satisfies WorkerLine);
    // After the result, which a reader that sleeps must get first.
    if (unwritten !== undefined) leave(job, report, unwritten, write);
    return CLOSE_EXIT[report.outcome];
  },
});

/** To whoever listens, and for whoever comes when nobody does any more. */
function leave(job: CloseJob, report: CloseReport, unwritten: Unwritten, write: (line: WorkerLine) => void): void {
  for (const piece of piecesOf(unwritten)) write({ kind: "unwritten", ...piece });
  const spare = process.env[SPARE_VARIABLE];
  if (spare !== undefined && (unwritten.report || unwritten.lines.length > 0))
    leaveInSpare(spare, job.incidentsDir, report, unwritten);
}

/** Closes or, in mode `plan`, only looks. Never throws: whatever goes wrong is an outcome of the report. */
export async function closePositions(job: CloseJob, io: CloseIo): Promise<CloseReport> {
  const record = new CloseRecord(job, io.clock);
  try {
    return job.mode === "plan" ? await lookOnly(job, io, record) : await closeUnderLock(job, io, record);
  } catch (error) {
    const reason = `internal error: ${describeError(error, job.venue)}`;
    return record.report({ outcome: "internal", reason });
  }
}

async function closeUnderLock(job: CloseJob, io: CloseIo, record: CloseRecord): Promise<CloseReport> {
  const say = createTeller(io);
  let journal: IncidentJournal | undefined;
  /** Of the time before the journal is ours to write. */
  const early: Step[] = [];
  const tell: Teller = (state, text) => {
    const step = record.noteStep(text);
    // Nobody waits for it: a line that is lost costs a line of the timeline.
    if (step !== undefined && journal === undefined) early.push(step);
    else if (step !== undefined) journal?.append({ kind: "step", ...step });
    say(state, text);
  };
  const lock = await lockAccount(job, io, record, tell);
  if (lock === "held") {
    const reason = `another close of the account holds ${job.accountLock}; wait for it or look at its report`;
    return record.report({ outcome: "refused", reason });
  }
  const opened = IncidentJournal.open(job.incidentsDir, job.incident, io.clock, lock !== undefined);
  journal = opened;
  try {
    // Also of an incident that ended flat: what the account holds now only the venue knows.
    record.resume(opened.history);
    opened.append({
      kind: "begin",
      version: 1,
      at: io.clock.wallTime().toISOString(),
      bot: job.bot,
      exchange: job.venue.exchange,
      goal: job.goal ?? FLAT,
    });
    for (const step of early) opened.append({ kind: "step", ...step });
    const report = await runToVerdict(job, io, { record, journal: opened, tell });
    await opened.finish(report, record.ownOrders);
    return report;
  } finally {
    opened.close();
    io.onUnwritten?.(opened.unwritten);
    lock?.release();
  }
}

interface RunParts {
  readonly record: CloseRecord;
  readonly journal: IncidentJournal;
  readonly tell: Teller;
}

/** The close itself; an error of ours still ends in a journaled report. */
async function runToVerdict(job: CloseJob, io: CloseIo, parts: RunParts): Promise<CloseReport> {
  const { record, journal } = parts;
  let verdict: Verdict;
  try {
    parts.tell("fencing", "proving that the bot is dead");
    verdict = proveFence(job, io.clock, record) ?? (await closeByDriver(job, io, parts));
  } catch (error) {
    verdict = { outcome: "internal", reason: `internal error: ${describeError(error, job.venue)}` };
  }
  record.journalFailures = journal.failures;
  return record.report(verdict);
}

/** By the driver, and where that one cannot see the account or must not touch it, by the hook beside it: the last rung of all. */
async function closeByDriver(job: CloseJob, io: CloseIo, parts: RunParts): Promise<Verdict> {
  const { clock, signal } = io;
  const deadlineMs = clock.monotonicMs() + job.venue.timeoutMs;
  const { hook } = job;
  if (hook === undefined) return closeAtVenue(job, io, parts, deadlineMs);
  const failed = await closeAtVenue(job, io, parts, deadlineMs).catch((error: unknown): Verdict => ({
    outcome: "internal",
    reason: `internal error: ${describeError(error, job.venue)}`,
  }));
  if (!mayTakeOver(job, failed) || signal?.aborted === true) return failed;
  parts.tell("closing", `${failed.outcome}: ${failed.reason}; the hook goes on`);
  const { record } = parts;
  record.earlierCalls = record.calls;
  record.calls = 0;
  const lastMs = Math.max(deadlineMs, clock.monotonicMs() + HOOK_BUDGET_MS);
  const { hook: _, ...alone } = job;
  const byHook = await closeAtVenue({ ...alone, venue: hook }, io, parts, lastMs, true);
  return {
    ...byHook,
    reason: `${byHook.reason}; the hook closed, since ${job.venue.exchange} did not: ${failed.reason}`,
  };
}

/**
 * A name that the venue has not would make the hook look at nothing and call that flat; and of a wallet only the driver knows
 * what is to be kept and what is sold for what.
 */
function mayTakeOver({ venue }: CloseJob, { outcome, misconfigured }: Verdict): boolean {
  const wallet = venue.driver === undefined && (venue.spot !== undefined || venue.margin !== undefined);
  return hookTakesOver(outcome) && misconfigured !== true && !wallet;
}

async function closeAtVenue(
  job: CloseJob,
  io: CloseIo,
  { record, journal, tell }: RunParts,
  deadlineMs: number,
  takenOver = false,
): Promise<Verdict> {
  const { clock, signal: stop } = io;
  const unreadableMs = job.hook === undefined ? undefined : UNREADABLE_BEFORE_HOOK_MS;
  const givesUpMs = unreadableMs === undefined ? deadlineMs : Math.min(deadlineMs, clock.monotonicMs() + unreadableMs);
  const tries = { deadlineMs: givesUpMs, overtimeMs: deadlineMs - givesUpMs + CLOSE_OVERTIME_MS, tell };
  return withVenue(job, io, record, tries, async (venue) => {
    const run = runName(randomInt(RUN_NAMES));
    const scope = job.venue.symbols;
    const goal = job.goal ?? FLAT;
    const style = styleOf(job, takenOver || journal.history.lastSeq > 0);
    record.style = style;
    const policy = {
      ...job.bounds,
      incident: job.incident,
      run,
      goal,
      style,
      scope,
      deadlineMs,
      recvWindowMs: venue.orderWindowMs,
      last: lastSteps(job, venue),
      unreadableMs,
    };
    return closeAccount(
      { venue, journal, record, clock, policy, stop, tell },
      resumedPlan(journal.history, clock, record, takenOver),
    );
  });
}

/** What there is beside orders of ours. */
function lastSteps({ hook }: CloseJob, { closesWhole }: Venue): LastStep[] {
  return [...(closesWhole === true ? (["venue"] as const) : []), ...(hook === undefined ? [] : (["hook"] as const))];
}

/** The plan of a restarted close: numbers go on, the allowance of orders is new, and an order without outcome may still be executed. */
function resumedPlan(
  history: IncidentHistory,
  clock: Clock,
  { ownOrders, rounds }: CloseRecord,
  takenOver: boolean,
): PlanState {
  const nowMs = clock.monotonicMs();
  const wallMs = clock.wallTime().getTime();
  const unknownAtMs = history.orders
    .filter(({ outcome }) => outcome === "unknown")
    // The age by wall time; a clock that was set back must not make it younger than now.
    // One that waited may have been executed until now.
    .map(({ sentAt, restedAt }) => (restedAt === undefined ? nowMs - Math.max(0, wallMs - Date.parse(sentAt)) : nowMs));
  // What the driver before the hook has sent may still be executed.
  if (ownOrders.length > 0) unknownAtMs.push(nowMs);
  return startPlan({
    round: rounds,
    seq: history.lastSeq + ownOrders.length,
    // What the driver before the hook has seen or sent counts: an account that it found open again was not left flat.
    endedFlat: history.endedFlat && !takenOver,
    reopened: history.reopened || (history.endedFlat && ownOrders.length > 0),
    lastUnknownAtMs: unknownAtMs.length === 0 ? undefined : Math.max(...unknownAtMs),
  });
}
