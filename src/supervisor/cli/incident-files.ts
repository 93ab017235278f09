/** The incidents in the state folder, for `supervisor emergency report`: read from the files, so no daemon is needed. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readJournal } from "../../actions/incident-history.ts";
import { readSpare, type Arrears } from "../../actions/incident-spare.ts";
import { FLAT } from "../../core/close-goal.ts";
import { closeReportSchema } from "../../core/close-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import { appendGoal, inTime, type IncidentHistory } from "../../core/incident.ts";
import { gravestLockout, type Lockout } from "../../core/lockout.ts";
import { guessText } from "../../core/nearest.ts";
import { plainText } from "../../core/plain-text.ts";
import { readTextIfExists } from "../../platform/files.ts";
import type { IncidentReport, RunningReport } from "../../report/incident-text.ts";
import { filesOf, type BotFiles } from "../runtime/bot-plan.ts";
import { lockoutSlot, readLockoutFile } from "../runtime/lockout-file.ts";
import { readingFiles, type Place } from "./place.ts";

/** 1 000 orders of some 300 bytes, and as much again. */
const MAX_REPORT_BYTES = 4_194_304;
/** Bots and incidents looked at; far more than a machine has. */
const MAX_FILES = 10_000;

export interface FoundIncident {
  readonly report: IncidentReport;
  /** As it is in the file; of a close that has not ended, the same as `report`. */
  readonly raw: unknown;
}

class NoSuchIncidentError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** All of them, first those whose close has not ended, then the newest first; a file that is no report is left out. */
export function findIncidents({ dirs }: Place): FoundIncident[] {
  const bots = join(dirs.stateDir, "bots");
  const found = readingFiles("the incidents", bots, () =>
    namesIn(bots).flatMap((bot) => {
      const files = filesOf(bot, bot, dirs);
      const running = runningIn(files);
      const names = namesIn(files.incidents).filter((name) => name.endsWith(".json"));
      const kept = keptIn(files);
      const ended = [
        ...kept,
        ...names
          .flatMap((name) => readIncident(join(files.incidents, name)) ?? [])
          .filter(({ report }) => kept.every((each) => each.report.incident !== report.incident)),
      ];
      // What an earlier run of it has left is part of what its journal says.
      return running === undefined
        ? ended
        : [running, ...ended.filter(({ report }) => report.incident !== running.report.incident)];
    }),
  );
  return found.toSorted((a, b) => rank(b) - rank(a) || b.report.startedAt.localeCompare(a.report.startedAt));
}

function rank({ report }: FoundIncident): number {
  return "running" in report ? 1 : 0;
}

/** The incident of that id, or those of that bot, in the order of `found`; `last`: all. Throws when there is none. */
export function pickIncidents(
  found: readonly FoundIncident[],
  name: string,
): readonly [FoundIncident, ...FoundIncident[]] {
  const byId = found.filter(({ report }) => report.incident === name);
  const [first, ...others] =
    name === "last" ? found : byId.length > 0 ? byId : found.filter(({ report }) => report.bot === name);
  if (first !== undefined) return [first, ...others];
  if (found.length === 0)
    throw new NoSuchIncidentError(
      "there is no report of an incident: nothing was closed yet, or its disk took none",
      "supervisor status shows every bot, and supervisor events what was done",
    );
  const known = [...new Set(found.flatMap(({ report }) => [report.bot, report.incident]))];
  throw new NoSuchIncidentError(
    plainText(`cannot find an incident or a bot with one named ${name}${guessText(name, known)}`),
    "supervisor emergency report --list shows those that there are",
  );
}

/** The incident whose close has not ended, by the lockout; what it did so far, by its journal. */
function runningIn({ dir, lockout: file, lockoutSpare, incidents }: BotFiles): FoundIncident | undefined {
  const lockout = gravestLockout([lockoutSlot(dir), file, lockoutSpare].map(readLockoutFile));
  if (lockout === undefined || lockout.outcome !== null) return undefined;
  const report = runningReport(lockout, historyOf(join(incidents, `${lockout.incident}.ndjson`)));
  return { report, raw: { version: 1, ...report } };
}

function runningReport(
  { incident, bot, account, trigger, later = [], reason, lockedAt, goal = FLAT }: Lockout,
  { before, orders = [], steps = [], goals = [], errors = {} }: Partial<IncidentHistory>,
): RunningReport {
  const about = { incident, bot, account, trigger, later, reason, startedAt: lockedAt, outcome: null };
  return {
    running: true,
    ...about,
    goals: appendGoal(goals, goal),
    before: before ?? null,
    orders,
    timeline: inTime(steps),
    errors,
  };
}

/** What a journal says; one that is no file, or cannot be read, hides no incident. */
function historyOf(journal: string): Partial<IncidentHistory> {
  try {
    return readJournal(journal).history;
  } catch {
    return {};
  }
}

/** Reports that the disk of the state folder has not taken yet. */
function keptIn({ incidents, incidentsSpare }: BotFiles): FoundIncident[] {
  const found = readSpare(incidentsSpare, incidents) ?? new Map<string, Arrears>();
  return [...found.values()].flatMap(({ report }) => (report === undefined ? [] : [{ report, raw: report }]));
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).slice(0, MAX_FILES) : [];
}

function readIncident(path: string): FoundIncident | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(readTextIfExists(path, MAX_REPORT_BYTES) ?? "null");
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const parsed = closeReportSchema.safeParse(raw);
  if (parsed.success) return { report: parsed.data, raw };
  const field = (name: string): string | undefined => {
    const value: unknown = typeof raw === "object" && raw !== null ? Reflect.get(raw, name) : undefined;
    return typeof value === "string" ? value : undefined;
  };
  const [incident, bot, outcome, reason] = [field("incident"), field("bot"), field("outcome"), field("reason")];
  if (incident === undefined || bot === undefined || outcome === undefined || reason === undefined) return undefined;
  return { report: { incident, bot, outcome, reason, startedAt: field("startedAt") ?? "" }, raw };
}
