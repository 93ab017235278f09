/** `supervisor restore`: says what would come back and what is lost, asks, and has a worker do it; with a daemon or without. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { upBots } from "../../actions/backup/restore-bots.ts";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import { HANG_BOUNDS } from "../../core/hang.ts";
import { guessText } from "../../core/nearest.ts";
import type { RestoreFrom, RestoreJob } from "../../core/restore-job.ts";
import { systemClock } from "../../platform/clock.ts";
import type { Worker } from "../../platform/worker.ts";
import { layOut, painter, type Cell } from "../../report/text-table.ts";
import { planText } from "../../report/restore-text.ts";
import { copyPlacesOf, runDeed, type DeedEnd } from "../runtime/backup-run.ts";
import { loadConfig, type LoadedConfig } from "../runtime/config/load.ts";
import { controlSocketPath } from "../runtime/config/paths.ts";
import { planRestore, storedBackups, type RestorePlan, type StoredBackups } from "../runtime/restore-plan.ts";
import { parseSince } from "./arguments.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import { saveBefore } from "./restore-save.ts";
import { BackupRefusal } from "./backup-refusal.ts";
import { isSealed, meansOf, refuseForeignKey, type Means } from "./restore-means.ts";
import { storedIn, withFetched } from "./restore-store.ts";
import { ProgressLine } from "./progress.ts";
import { settleFirst } from "./settle.ts";
import type { CliIo, Verb } from "./verb.ts";

/** The last lines of the help: 3 and 4 mean something else than with other commands. */
const EXIT_CODES = `
Exit codes: 0 done, 1 done but a bot did not start, or interrupted, 2 usage or config, 3 the backup cannot be read or
the target is in use, 4 the backup is damaged, 5 no room, 7 busy, 8 failed and taken back, 9 failed half-way, 10 no
backup for that time, 75 the worker hung, or its deadline of 12 hours is over.`;

interface Options extends PlaceOptions {
  readonly at?: Date;
  readonly id?: string;
  readonly file?: string;
  readonly store?: string;
  readonly to?: string;
  readonly table?: readonly string[];
  readonly passwordFile?: string;
  readonly disconnect?: true;
  /** False with --no-backup. */
  readonly backup?: boolean;
  readonly list?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly json?: true;
}

export const command: Verb = {
  name: "restore",
  summary: "Brings back what a backup holds.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("<target>", "name of the target in the config")
      .option(
        "--at <time>",
        "the newest backup at or before this time, or that long ago; with --to and pitr: exactly that instant",
        parseSince,
      )
      .option("--id <id>", "this backup")
      .option("--store <name>", "from this store, also a bucket; default: the directories")
      .option("--file <file>", "this file or folder of a backup, wherever it came from")
      .option("--to <folder>", "into this empty folder; what lives is not touched")
      .option("--table <name>", "only this table of a database; may be repeated", collect)
      .option("--password-file <file>", "password of a file that openssl encrypted (.enc)")
      .option("--disconnect", "end whoever is connected to a PostgreSQL database that is replaced")
      .option("--no-backup", "do not back up first what is there, which is moved aside in any case")
      .option("--list", "show the backups that could be restored")
      .option("--dry-run", "only say what would be done")
      .option("--yes", "do not ask")
      .option("--json", "print one object")
      .addHelpText("after", EXIT_CODES)
      .action((target: string, options: Options) => restore(target, options, io));
  },
};

function collect(name: string, before: readonly string[] = []): readonly string[] {
  if (name === "") throw new InvalidArgumentError("a table has a name");
  return [...before, name];
}

async function restore(target: string, options: Options, io: CliIo): Promise<void> {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  requireTarget(loaded, target);
  refuseMixed(options);
  await settleFirst(loaded, io);
  const stored = await storedIn(loaded, target, options.store);
  if (options.list === true) return list(loaded, target, { ...options, stored }, io);
  const into = intoOf(loaded, target, options, io);
  const file = options.file === undefined ? undefined : resolve(io.cwd, options.file);
  const wish = { target, at: options.at, id: options.id, file, into, stored };
  const planned = planRestore(loaded, wish, systemClock.wallTime());
  if (planned.kind === "none")
    throw new BackupRefusal(
      `cannot restore ${target}: ${planned.reason}`,
      planned.exitCode,
      hintOf(loaded, target, options),
    );
  refuseFilled(target, into);
  const { from, faults } = planned;
  const means = meansOf(loaded, { target, from, options }, io);
  await refuseForeignKey(target, from, means);
  const up = await upBots(controlSocketPath(loaded.dirs.runtimeDir), planned.plan.bots);
  const plan = { ...planned.plan, up };
  if (options.json !== true) io.out(planText(plan));
  for (const fault of faults) io.err(`a newer backup may be elsewhere: ${fault}`);
  warn(from, io);
  if (options.dryRun === true) {
    if (options.json === true) io.out(JSON.stringify({ version: 1, plan, result: null }));
    return;
  }
  if (into.kind !== "folder" && into.kind !== "instant" && options.yes !== true) await confirm(target, options);
  const place = { target, store: plan.store ?? "" };
  const until = into.kind === "instant" ? into.at : undefined;
  await withFetched(loaded, { place, from, json: options.json, until }, io, (fetched) =>
    carryOut(loaded, { plan, from: fetched, options, means }, io),
  );
}

/** Another backup than one that is damaged. */
function otherText(target: string, loaded: LoadedConfig, options: Options): string {
  return `take another with --id; ${hintOf(loaded, target, options)}`;
}

/** Where else a backup may be. */
function hintOf({ config }: LoadedConfig, target: string, { store }: Options): string {
  const [copies] = config.backups === undefined ? [] : copyPlacesOf(config.backups, target);
  return copies === undefined || store !== undefined
    ? `supervisor restore ${target} --list shows what there is`
    : `supervisor restore ${target} --store ${copies.store} takes a copy from the bucket`;
}

function requireTarget({ config, shown }: LoadedConfig, target: string): void {
  const names = Object.keys(config.backups?.targets ?? {});
  if (names.includes(target)) return;
  const known =
    names.length === 0
      ? `${shown} has no backups section`
      : `the targets are ${names.join(", ")}${guessText(target, names)}`;
  throw new BackupRefusal(`cannot find target ${target}: ${known}`, EXIT.usage, "docs/restore.md tells how it is used");
}

function refuseMixed({ at, id, file, store, to, backup, table = [] }: Options): void {
  if (backup === false && table.length > 0)
    throw new BackupRefusal(
      "cannot use --no-backup and --table together",
      EXIT.usage,
      "tables are written over in place: without a backup nothing would be left of what was there",
    );
  if (file !== undefined && store !== undefined)
    throw new BackupRefusal("cannot use --file and --store together", EXIT.usage, "name one");
  const given = Object.entries({ "--at": at, "--id": id, "--file": file }).filter(([, value]) => value !== undefined);
  if (given.length > 1)
    throw new BackupRefusal(`cannot use ${given.map(([name]) => name).join(" and ")} together`, EXIT.usage, "name one");
  if (to !== undefined && table.length > 0)
    throw new BackupRefusal(
      "cannot use --to and --table together",
      EXIT.usage,
      "restore to a folder and take the table from there",
    );
}

function intoOf(
  { config }: LoadedConfig,
  target: string,
  { to, at, table = [] }: Options,
  io: CliIo,
): RestoreJob["into"] {
  const wanted = config.backups?.targets[target];
  if (to !== undefined && at !== undefined && wanted?.kind === "postgres" && wanted.pitr)
    return { kind: "instant", path: resolve(io.cwd, to), at: at.toISOString() };
  if (to !== undefined) return { kind: "folder", path: resolve(io.cwd, to) };
  return table.length > 0 ? { kind: "tables", tables: [...table] } : { kind: "live" };
}

function warn(from: RestoreFrom, io: CliIo): void {
  if (isSealed(from))
    io.err("a file of openssl enc is not authenticated: whoever could write it may have changed what it holds");
}

/** The worker refuses it, too; before the plan is shown, and anything fetched, it costs nothing. */
function refuseFilled(target: string, into: RestoreJob["into"]): void {
  if (into.kind !== "folder" && into.kind !== "instant") return;
  const [other] = existsSync(into.path) && statSync(into.path).isDirectory() ? readdirSync(into.path) : [];
  if (other === undefined) return;
  throw new BackupRefusal(
    `cannot restore ${target}: ${into.path} is not empty: ${other} is there`,
    BACKUP_EXIT.source,
    "name an empty folder, or one that is not there yet",
  );
}

/** On a terminal the name of the target must be typed; a script says --yes. */
async function confirm(target: string, { json }: Options): Promise<void> {
  if (json === true || !process.stdin.isTTY)
    throw new BackupRefusal(
      `cannot restore ${target}: not confirmed`,
      EXIT.usage,
      "--yes restores without asking, --dry-run only shows the plan",
    );
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((done) => terminal.once("close", () => done("")));
  const answer = await Promise.race([terminal.question(`type ${target} to restore it: `), closed]);
  terminal.close();
  if (answer.trim() !== target)
    throw new BackupRefusal(`${target} is not restored`, EXIT.failed, "nothing was changed");
}

interface Deed {
  readonly plan: RestorePlan & { readonly up: readonly string[] };
  readonly from: RestoreFrom;
  readonly options: Options;
  readonly means: Means;
}

async function carryOut(loaded: LoadedConfig, deed: Deed, io: CliIo): Promise<void> {
  const { plan, from, options } = deed;
  const { target, into } = plan;
  const { common, password, place, folder } = deed.means;
  const job: RestoreJob = {
    ...common,
    from,
    ...(password === undefined ? {} : { password }),
    into,
    disconnect: options.disconnect === true,
    bots: [...plan.bots],
    stateDir: loaded.dirs.stateDir,
    socket: controlSocketPath(loaded.dirs.runtimeDir),
  };
  const wanted = into.kind === "tables" || (into.kind === "live" && options.backup !== false);
  const saved = wanted ? await backUpFirst(loaded, { plan, place, folder, quiet: options.json === true }, io) : null;
  const lines: BackupLine[] = [];
  const progress = new ProgressLine(io);
  const end = await runRestore(job, loaded, io, (line) => {
    if (line.kind === "progress") return options.json === true ? undefined : progress.show(line);
    lines.push(line);
    progress.clear();
    if (options.json !== true) tell(line, options.config, io);
  });
  const done = lines.find((line) => line.kind === "restored");
  if (end.failure !== undefined) io.err(`cannot restore ${target}: ${end.failure}`);
  if (end.code === BACKUP_EXIT.verification) io.err(`hint: nothing was touched; ${otherText(target, loaded, options)}`);
  const code = done !== undefined && done.troubles.length > 0 ? EXIT.failed : end.code;
  if (options.json === true)
    io.out(
      JSON.stringify({
        version: 1,
        plan,
        result: { code, failure: end.failure ?? null, saved, restored: done ?? null },
      }),
    );
  io.setExitCode(code);
}

/** Returns the id of the backup; `null`: there is none. Throws when it is needed and cannot be made. */
async function backUpFirst(
  loaded: LoadedConfig,
  wish: Parameters<typeof saveBefore>[1],
  io: CliIo,
): Promise<string | null> {
  const { plan, place } = wish;
  const { id, failure, end } = await saveBefore(loaded, wish, io);
  if (id !== null) io.err(`what is there now was backed up to ${place.store} first: ${id}`);
  if (failure === null) return id;
  if (plan.into.kind === "live") {
    io.err(
      `what is there now cannot be backed up first (${failure}); it is kept aside as it is, and the restore goes on`,
    );
    return null;
  }
  throw new BackupRefusal(
    `cannot back up ${place.target} before its tables are written over: ${failure}`,
    end.code,
    "restore the whole database instead, without --table: then what is there is moved aside",
  );
}

/** A signal ends the worker, which is safe on any line, until the renames begin; then they are waited for. */
async function runRestore(
  job: RestoreJob,
  loaded: LoadedConfig,
  io: CliIo,
  onLine: (line: BackupLine) => void,
): Promise<DeedEnd> {
  let worker: Worker | undefined;
  let touching = false;
  let interrupted = false;
  const onSignal = (): void => {
    if (touching) io.err("the restored data is being put in its place: wait for the end");
    else {
      interrupted = true;
      worker?.kill();
    }
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    const end = await runDeed("restore", job, {
      clock: systemClock,
      work: `the restore of ${job.target.name}`,
      stateDir: loaded.dirs.stateDir,
      hang: RESTORE_BOUNDS,
      onStart: (started) => (worker = started),
      onLine: (line) => {
        if (line.kind === "step") touching = line.touching;
        onLine(line);
      },
    });
    return interrupted && end.failure !== undefined ? { code: EXIT.failed, failure: "it was interrupted" } : end;
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    // A worker that was killed has left its journal, and bots that it had stopped.
    await settleFirst(loaded, io);
  }
}

/** A server may build an index for longer than anybody should wait for one: a person is there to judge that. */
const RESTORE_BOUNDS = { ...HANG_BOUNDS, waitMs: undefined };

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

function tell(line: BackupLine, file: string | undefined, io: CliIo): void {
  if (line.kind === "step") io.out(`${line.text} …`);
  if (line.kind !== "restored") return;
  io.out(`restored ${line.backup} in ${(line.durationMs / 1_000).toFixed(1)} s`);
  for (const folder of line.aside) io.out(`what was there is in ${folder} for 7 days`);
  for (const bot of line.marked)
    io.out(
      `${bot} may only reduce (level minimal) until it says that it is reconciled, or: ${completeCommands(`supervisor arm ${bot} --reason TEXT`, file)}`,
    );
  for (const trouble of line.troubles) io.err(trouble);
}

function list(
  loaded: LoadedConfig,
  target: string,
  { json, stored: looked }: Options & { readonly stored: StoredBackups | undefined },
  io: CliIo,
): void {
  const { all: stored, faults } = looked ?? storedBackups(loaded, target);
  if (faults.length > 0) io.setExitCode(BACKUP_EXIT.source);
  const all = stored.map(({ id, store, snapshotAt, unchangedAt, verified, damage, refuted, preRestore }) => ({
    id,
    store,
    verified,
    damage: damage ?? refuted,
    preRestore,
    snapshotAt: snapshotAt === "" ? null : snapshotAt,
    unchangedAt,
  }));
  if (json === true) return io.out(JSON.stringify({ version: 1, backups: all, faults }));
  for (const fault of faults) io.err(fault);
  if (all.length === 0 && faults.length === 0) return io.out(`there are no backups of ${target}`);
  if (all.length > 0) io.out(listText(all, io));
}

interface Restorable {
  readonly id: string;
  readonly store: string;
  readonly snapshotAt: string | null;
  readonly unchangedAt: string | null;
  readonly verified: boolean;
  readonly damage: string | null;
  readonly preRestore: boolean;
}

function listText(all: readonly Restorable[], { colour, columns }: CliIo): string {
  const rows = all.map(({ id, store, snapshotAt, unchangedAt, verified, damage, preRestore }): readonly Cell[] => [
    [id],
    [store],
    [snapshotAt ?? "?"],
    damage === null ? (verified ? ["verified"] : ["NOT VERIFIED", "yellow"]) : ["DAMAGED", "red"],
    [
      [
        ...(damage === null ? [] : [damage]),
        ...(unchangedAt === null ? [] : [`unchanged until ${unchangedAt}`]),
        ...(preRestore ? ["made before a restore: only by --id"] : []),
      ].join("; "),
    ],
  ]);
  const header = ["BACKUP", "STORE", "SNAPSHOT", "STATE", "NOTES"];
  return layOut({ header, rows, dispensable: ["STORE"] }, columns, painter(colour));
}
