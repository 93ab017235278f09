/** The backups that are made, and proven, before a deed that may go wrong for the data. */
import { EXIT } from "../../core/exit-code.ts";
import type { BackupTrigger } from "../../core/backup-manifest.ts";
import { systemClock } from "../../platform/clock.ts";
import { backupJob, keyOf, placesOf, runDeed } from "../runtime/backup-run.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { VERSION } from "./build-info.ts";
import { ProgressLine } from "./progress.ts";
import type { CliIo } from "./verb.ts";

class NotBackedUpError extends Error {
  readonly exitCode = EXIT.failed;
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** One of each target, in the first directory that it goes to. Throws when one fails; without a backups section nothing is done. */
export async function backUpAll(
  config: string | undefined,
  {
    trigger,
    deed,
    flag,
    check,
  }: {
    readonly trigger: BackupTrigger;
    readonly deed: string;
    readonly flag: string;
    /** Throws when the deed would not be done anyway; asked only where there is something to back up. */
    readonly check: () => Promise<void>;
  },
  io: CliIo,
): Promise<void> {
  const loaded = loadConfig({ file: config, env: io.env, cwd: io.cwd });
  const { backups } = loaded.config;
  if (backups === undefined) return;
  await check();
  for (const target of Object.keys(backups.targets)) {
    const place = placesOf(backups, target).find(({ store }) => backups.stores[store]?.kind === "directory");
    if (place === undefined) continue;
    const progress = new ProgressLine(io);
    const job = { ...backupJob(loaded, place, { trigger, version: VERSION }), retention: null };
    // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, since they share a disk with the bots.
    const { failure } = await runDeed("backup", job, {
      clock: systemClock,
      work: `the backup before the ${deed} of ${keyOf(place)}`,
      stateDir: loaded.dirs.stateDir,
      onLine: (line) => {
        if (line.kind === "progress") progress.show(line);
        else progress.clear();
        if (line.kind === "stored")
          io.err(`${target}: ${line.id} is stored in ${place.store} first, and stands ${line.level}`);
      },
    });
    progress.clear();
    if (failure !== undefined)
      throw new NotBackedUpError(`cannot back up ${target} before the ${deed}: ${failure}`, `${flag} goes on without`);
  }
}
