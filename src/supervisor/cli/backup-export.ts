/** `supervisor backup export`: writes one backup as a plain file that needs nothing of ours to be read. */
import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import { formatSize } from "../../core/size.ts";
import { systemClock } from "../../platform/clock.ts";
import { formatOf, type ExportJob } from "../../core/restore-job.ts";
import { commonJob, keyOf, placesOf, runDeed } from "../runtime/backup-run.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { planRestore } from "../runtime/restore-plan.ts";
import { BackupRefusal } from "./backup-refusal.ts";
import type { CliIo } from "./verb.ts";

export interface ExportOptions {
  readonly plain: string;
  readonly id?: string;
  readonly unencrypted?: true;
  readonly json?: true;
}

export async function exportPlain(
  loaded: LoadedConfig,
  target: string,
  options: ExportOptions,
  io: CliIo,
): Promise<void> {
  const { backups } = loaded.config;
  const file = resolve(io.cwd, options.plain);
  refuseName(target, file);
  const [place] = backups === undefined ? [] : placesOf(backups, target);
  const wish = { target, at: undefined, id: options.id, file: undefined, into: { kind: "live" } } as const;
  const planned = planRestore(loaded, wish, systemClock.wallTime());
  if (planned.kind === "none" || place === undefined)
    throw new BackupRefusal(
      `cannot export ${target}: ${planned.kind === "none" ? planned.reason : "it has no store"}`,
      planned.kind === "none" ? planned.exitCode : BACKUP_EXIT.noBackup,
      "supervisor backup list shows what there is",
    );
  if (backups?.encryption !== undefined && options.unencrypted !== true)
    throw new BackupRefusal(
      `cannot export ${target}: the file would not be encrypted, and backups are`,
      EXIT.usage,
      "--unencrypted writes it all the same",
    );
  const { store: _store, folder: _folder, ...common } = commonJob(loaded, place);
  const job: ExportJob = { ...common, from: planned.from, file };
  let written: { readonly file: string; readonly rawBytes: number } | undefined;
  const { code, failure } = await runDeed("export-backup", job, {
    clock: systemClock,
    work: `the export of ${keyOf(place)}`,
    stateDir: loaded.dirs.stateDir,
    onLine: (line) => {
      if (line.kind === "exported") written = { file: line.file, rawBytes: line.rawBytes };
    },
  });
  if (failure !== undefined) io.err(`cannot export ${target}: ${failure}`);
  if (code === BACKUP_EXIT.verification)
    io.err(`hint: take another with --id; supervisor backup list ${target} shows them`);
  if (options.json === true)
    io.out(
      JSON.stringify({ version: 1, backup: planned.plan.backup, exported: written ?? null, failure: failure ?? null }),
    );
  else if (written !== undefined)
    io.out(`${planned.plan.backup} (${formatSize(written.rawBytes)}) is in ${written.file}`);
  io.setExitCode(code);
}

/** The worker refuses it, too, and an ending of another kind; before anything is read it is a mistake of the command line. */
function refuseName(target: string, file: string): void {
  const format = formatOf(basename(file));
  const why =
    format === undefined || format.openssl
      ? `the name of ${file} does not say what it is to be`
      : existsSync(file)
        ? `${file} is there already`
        : existsSync(dirname(file))
          ? undefined
          : `there is no folder ${dirname(file)}`;
  if (why === undefined) return;
  throw new BackupRefusal(
    `cannot export ${target}: ${why}`,
    EXIT.usage,
    "name a new file that ends in .db, .tar, .rdb, .sql or .dump, as the kind of the target is, then .gz or .zst to pack it",
  );
}
