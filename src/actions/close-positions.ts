/**
 * The emergency close: flattens an account from outside of a bot that was proven dead, and proves the result.
 *
 * lock the account → prove the fence → load the venue → close until flat (core/close-plan.ts) → quiet period → report.
 */
import { randomInt } from "node:crypto";
import { CLOSE_EXIT, CLOSE_OVERTIME_MS, closeJobSchema } from "../core/close-job.ts";
import type { CloseJob, CloseReport, WorkerLine } from "../core/close-job.ts";
import { FLAT } from "../core/close-goal.ts";
import { startPlan } from "../core/close-plan.ts";
import type { PlanState } from "../core/close-plan.ts";
import { RUN_NAMES, runName } from "../core/incident.ts";
import type { IncidentHistory } from "../core/incident.ts";
import type { Clock } from "../platform/clock.ts";
import { lockAccount, proveFence } from "./close-guard.ts";
import { createTeller } from "./close-io.ts";
import type { CloseIo, Teller } from "./close-io.ts";
import { closeAccount } from "./close-loop.ts";
import { lookOnly } from "./close-plan-only.ts";
import { withVenue } from "./close-prepare.ts";
import { CloseRecord } from "./close-record.ts";
import type { Verdict } from "./close-record.ts";
import { defineAction } from "./contract.ts";
import { IncidentJournal } from "./incident-journal.ts";
import { describeError } from "./venue/describe-error.ts";
import { openWorkerLog } from "./worker-log.ts";

export const closePositionsAction = defineAction({
  jobSchema: closeJobSchema,
  run: async (job, { write, clock }) => {
    const log = openWorkerLog();
    const progress = (line: WorkerLine): void => {
      write(line);
      if (line.kind === "progress") log.line(line.text);
    };
    const report = await closePositions(job, { progress, clock, onCall: log.call });
    write({ kind: "result", report } satisfies WorkerLine);
    return CLOSE_EXIT[report.outcome];
  },
});

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
  const tell: Teller = (state, text) => {
    record.noteStep(text);
    say(state, text);
  };
  const lock = await lockAccount(job, io, record, tell);
  if (lock === "held") {
    const reason = `another close of the account holds ${job.accountLock}; wait for it or look at its report`;
    return record.report({ outcome: "refused", reason });
  }
  const journal = IncidentJournal.open(job.incidentsDir, job.incident, io.clock, lock !== undefined);
  try {
    // Also of an incident that ended flat: what the account holds now only the venue knows.
    record.resume(journal.history);
    journal.append({
      kind: "begin",
      version: 1,
      at: io.clock.wallTime().toISOString(),
      bot: job.bot,
      exchange: job.venue.exchange,
    });
    const report = await runToVerdict(job, io, { record, journal, tell });
    await journal.finish(report, record.ownOrders);
    return report;
  } finally {
    journal.close();
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
    verdict = proveFence(job, io.clock, record) ?? (await closeAtVenue(job, io, parts));
  } catch (error) {
    verdict = { outcome: "internal", reason: `internal error: ${describeError(error, job.venue)}` };
  }
  record.journalFailures = journal.failures;
  return record.report(verdict);
}

async function closeAtVenue(job: CloseJob, io: CloseIo, { record, journal, tell }: RunParts): Promise<Verdict> {
  const { clock, signal: stop } = io;
  const deadlineMs = clock.monotonicMs() + job.venue.timeoutMs;
  return withVenue(job, io, record, { deadlineMs, overtimeMs: CLOSE_OVERTIME_MS, tell }, async (venue) => {
    const run = runName(randomInt(RUN_NAMES));
    const scope = job.venue.symbols;
    const goal = job.goal ?? FLAT;
    const policy = {
      ...job.bounds,
      incident: job.incident,
      run,
      goal,
      scope,
      deadlineMs,
      recvWindowMs: venue.orderWindowMs,
    };
    return closeAccount({ venue, journal, record, clock, policy, stop, tell }, resumedPlan(journal.history, clock));
  });
}

/** The plan of a restarted close: numbers go on, the allowance of orders is new, and an order without outcome may still be executed. */
function resumedPlan(history: IncidentHistory, clock: Clock): PlanState {
  const nowMs = clock.monotonicMs();
  const wallMs = clock.wallTime().getTime();
  const unknownAtMs = history.orders
    .filter(({ outcome }) => outcome === "unknown")
    // The age by wall time; a clock that was set back must not make it younger than now.
    .map(({ sentAt }) => nowMs - Math.max(0, wallMs - Date.parse(sentAt)));
  return startPlan({
    round: history.lastRound,
    seq: history.lastSeq,
    endedFlat: history.endedFlat,
    reopened: history.reopened,
    lastUnknownAtMs: unknownAtMs.length === 0 ? undefined : Math.max(...unknownAtMs),
  });
}
