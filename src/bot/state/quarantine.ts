/** The folders of damaged files beside a state: what is there, and the end of those that are old (core/quarantine.ts decides). */
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { forgettable, type Aside } from "../../core/quarantine.ts";
import { syncFolder, type StateFiles } from "./files.ts";

/** Name of the file that a finished recovery leaves in the folder of the damaged files. */
export const REPORT_NAME = "report.json";
/** Begin of the name of a folder that is being removed. */
const GOING = ".going-";
/** Lines of JSON beside the folders, one for each that was removed. */
const LOG_NAME = "removed.ndjson";

export interface Quarantine extends Aside {
  readonly folder: string;
  readonly bytes: number;
}

/** Oldest first. */
export function quarantinesOf({ quarantine }: StateFiles): readonly Quarantine[] {
  if (!existsSync(quarantine)) return [];
  return readdirSync(quarantine, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .filter((name) => !name.startsWith(GOING))
    .toSorted()
    .flatMap((name) => readQuarantine(quarantine, name) ?? []);
}

/** `undefined` for one that its bot has removed meanwhile, which goes by a rename. */
function readQuarantine(quarantine: string, name: string): Quarantine | undefined {
  const folder = join(quarantine, name);
  try {
    const bytes = readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
    return { name, folder, madeAt: madeAtOf(name), recovered: existsSync(join(folder, REPORT_NAME)), bytes };
  } catch (cause) {
    if (!existsSync(folder)) return undefined;
    throw cause;
  }
}

/** How many folders were removed so far. */
export function removedQuarantines({ quarantine }: StateFiles): number {
  const log = join(quarantine, LOG_NAME);
  return existsSync(log) ? readFileSync(log, "utf8").split("\n").filter(Boolean).length : 0;
}

/** Removes what is old, each with a line in the log before it goes; answers what went. For a state that is whole, reconciled and backed up. */
export function removeOldQuarantines(files: StateFiles, now: number): readonly Quarantine[] {
  const all = quarantinesOf(files);
  const names = forgettable(all, now);
  const old = all.filter(({ name }) => names.includes(name));
  for (const { name, folder, bytes } of old) {
    const line = { at: new Date(now).toISOString(), name, bytes };
    appendFileSync(join(files.quarantine, LOG_NAME), `${JSON.stringify(line)}\n`, { mode: 0o600 });
    // At once, for whoever looks: half of a folder would count as one that was not recovered from.
    renameSync(folder, join(files.quarantine, `${GOING}${name}`));
  }
  removeGoing(files);
  if (old.length > 0) syncFolder(files.quarantine);
  return old;
}

/** Also what a process that died meanwhile has left. */
function removeGoing({ quarantine }: StateFiles): void {
  if (!existsSync(quarantine)) return;
  for (const name of readdirSync(quarantine))
    if (name.startsWith(GOING)) rmSync(join(quarantine, name), { recursive: true, force: true });
}

/** Its name begins with the time at which it was made: `2026-01-31T12-00-00-000Z-…`. */
function madeAtOf(name: string): number | undefined {
  const parts = /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-(\d{3})Z-/.exec(name);
  if (parts === null) return undefined;
  const [, day, hour, minute, second, milli] = parts;
  const ms = Date.parse(`${day}T${hour}:${minute}:${second}.${milli}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}
