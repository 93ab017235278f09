/** The reports of all incidents in the state folder, for `supervisor emergency report`: read from the files, so no daemon is needed. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { closeReportSchema } from "../../core/close-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import { plainText } from "../../core/plain-text.ts";
import { readTextIfExists } from "../../platform/files.ts";
import type { IncidentReport } from "../../report/incident-text.ts";
import { readingFiles, type Place } from "./place.ts";

/** 1 000 orders of some 300 bytes, and as much again. */
const MAX_REPORT_BYTES = 4_194_304;
/** Bots and incidents looked at; far more than a machine has. */
const MAX_FILES = 10_000;

export interface FoundIncident {
  readonly report: IncidentReport;
  /** As it is in the file. */
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

/** All of them, the newest first; a file that is no report is left out. */
export function findIncidents({ dirs }: Place): FoundIncident[] {
  const bots = join(dirs.stateDir, "bots");
  const found = readingFiles("the incidents", bots, () =>
    namesIn(bots).flatMap((bot) => {
      const folder = join(bots, bot, "incidents");
      const files = namesIn(folder).filter((name) => name.endsWith(".json"));
      return files.flatMap((name) => readIncident(join(folder, name)) ?? []);
    }),
  );
  return found.toSorted((a, b) => b.report.startedAt.localeCompare(a.report.startedAt));
}

/** The incident of that id, else the newest of that bot; `last`: the newest of all. Throws when there is none. */
export function pickIncident(found: readonly FoundIncident[], name: string): FoundIncident {
  const picked =
    name === "last"
      ? found[0]
      : (found.find(({ report }) => report.incident === name) ?? found.find(({ report }) => report.bot === name));
  if (picked !== undefined) return picked;
  if (found.length === 0)
    throw new NoSuchIncidentError(
      "no incident has a report: nothing was closed yet, or a close is under way",
      "supervisor status shows a close that is under way",
    );
  throw new NoSuchIncidentError(
    plainText(`cannot find an incident or a bot with one named ${name}`),
    "supervisor emergency report --list shows those that there are",
  );
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
