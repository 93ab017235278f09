/**
 * The backup of what is there before a restore (`trigger: pre-restore`). Single tables are written over in place, so it must stand;
 * a whole target is moved aside in any case, so there it is made as far as it can be, and never holds a restore up for long.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { BackupLine } from "../../core/backup-job.ts";
import { reserveBytes } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { systemClock } from "../../platform/clock.ts";
import { diskSpace } from "../../platform/machine.ts";
import { backupJob, keyOf, runDeed, type DeedEnd, type Place } from "../runtime/backup-run.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import type { RestorePlan } from "../runtime/restore-plan.ts";
import { VERSION } from "./build-info.ts";
import { ProgressLine } from "./progress.ts";
import type { CliIo } from "./verb.ts";

/** What is there may hang whoever reads it, and the data is wanted back, ms. */
const SAVE_DEADLINE_MS = 15 * 60_000;

interface Wish {
  readonly plan: RestorePlan;
  readonly place: Place;
  readonly folder: string;
  /** Nothing is shown of how far it is. */
  readonly quiet: boolean;
}

export interface Saved {
  readonly id: string | null;
  /** Why there is none; `null` when there is, or when nothing was there. */
  readonly failure: string | null;
  readonly end: DeedEnd;
}

const DONE: DeedEnd = { code: 0, failure: undefined };

/** Never throws. */
export async function saveBefore(loaded: LoadedConfig, wish: Wish, io: CliIo): Promise<Saved> {
  const { plan, place, folder, quiet } = wish;
  if (isNothingThere(plan)) return { id: null, failure: null, end: DONE };
  const cramped = plan.into.kind === "live" ? crampedBy(plan, folder) : undefined;
  if (cramped !== undefined) return { id: null, failure: cramped, end: DONE };
  let id: string | null = null;
  const progress = new ProgressLine(io);
  const onLine = (line: BackupLine): void => {
    if (line.kind === "progress" && !quiet) progress.show(line);
    if (line.kind === "stored") ({ id } = line);
  };
  const end = await makeOne(loaded, place, plan.into.kind === "live" ? SAVE_DEADLINE_MS : undefined, onLine);
  progress.clear();
  return { id, failure: end.failure ?? null, end };
}

async function makeOne(
  loaded: LoadedConfig,
  place: Place,
  deadlineMs: number | undefined,
  onLine: (line: BackupLine) => void,
): Promise<DeedEnd> {
  try {
    const job = { ...backupJob(loaded, place, { trigger: "pre-restore", version: VERSION }), retention: null };
    const work = `the backup before the restore of ${keyOf(place)}`;
    return await runDeed("backup", job, {
      clock: systemClock,
      work,
      stateDir: loaded.dirs.stateDir,
      onLine,
      deadlineMs,
    });
  } catch (error) {
    return { code: 1, failure: error instanceof Error ? error.message : String(error) };
  }
}

/** As on a new machine. Of a server nobody knows before it is asked. */
function isNothingThere({ kind, replaces }: RestorePlan): boolean {
  const isFiles = kind === "sqlite" || kind === "files" || kind === "secrets";
  return isFiles && replaces.every(({ path }) => !existsSync(path));
}

/** A backup must not take the room that the restore needs. */
function crampedBy({ replaces }: RestorePlan, folder: string): string | undefined {
  const liveBytes = replaces.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
  const there = [folder, dirname(folder)].find((path) => existsSync(path));
  if (there === undefined) return undefined;
  const { freeBytes, totalBytes } = diskSpace(there);
  return freeBytes < 2 * liveBytes + reserveBytes(totalBytes)
    ? `${there} has ${formatSize(freeBytes)} free, too little for it beside what is restored`
    : undefined;
}
