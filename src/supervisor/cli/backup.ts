/** `supervisor backup`: makes, lists, proves and prunes backups; needs no daemon, and none is in its way. */
import type { Command } from "commander";
import { BACKUP_EXIT, type BackupLine, type PruneJob, type VerifyJob } from "../../core/backup-job.ts";
import { LEVELS, readBackupId } from "../../core/backup-manifest.ts";
import { EXIT } from "../../core/exit-code.ts";
import { guessText } from "../../core/nearest.ts";
import { systemClock } from "../../platform/clock.ts";
import {
  backupJobs,
  commonJob,
  copyPlacesOf,
  placesOf,
  recordPath,
  keyOf,
  runBackup,
  runDeed,
  verifyJob,
  type Place,
} from "../runtime/backup-run.ts";
import { loadConfig, type LoadedConfig } from "../runtime/config/load.ts";
import { copyJob, lookAtCopies, remotePruneJob, remoteVerifyJob, runRemote } from "../runtime/copies.ts";
import { lookInto } from "../runtime/stores.ts";
import { VERSION } from "./build-info.ts";
import { eventsOf, tellDaemon } from "./backup-events.ts";
import { tellLine } from "./backup-told.ts";
import { nextStep, stageOf, unprovenText } from "./backup-hints.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import { Option } from "commander";
import type { ExportOptions } from "./backup-export.ts";
import { callerName } from "./caller.ts";
import { ProgressLine } from "./progress.ts";
import { settleFirst } from "./settle.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: true;
  readonly store?: string;
}

interface RunOptions extends Options {
  readonly incremental?: true;
}

interface VerifyOptions extends Options {
  readonly level: VerifyJob["level"];
  readonly id?: readonly string[];
}

interface PruneOptions extends Options {
  readonly dryRun?: true;
  readonly force?: true;
}

/** The last lines of the help, of the sub-commands too: 3 and 4 mean something else than with other commands. */
const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 usage or config, 3 the source is not there, locked or cannot be read, 4 what is stored
does not stand its verification, 5 no room, 6 the copy to another store failed, 7 busy, 10 there is nothing to export,
75 the worker hung, or its deadline of 12 hours is over.`;

const LIST_HINT = "supervisor backup list shows what is stored";

class NoTargetError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

export const command: Verb = {
  name: "backup",
  summary: "Makes, lists, proves and prunes backups, as the config's section backups says.",
  acts: true,
  configure: (cmd, io) => {
    cmd.addHelpText("afterAll", EXIT_CODES);
    sub(cmd, "run", "Makes a backup of each target, or of one, now.")
      .option("--incremental", "only what differs from the newest full backup, of the targets of kind sqlite")
      .action((target: string | undefined, options: RunOptions) => run(target, options, io));
    sub(cmd, "copy", "Sends what is not there yet to the buckets of each target, or of one.")
      .option("--store <name>", "to this bucket only")
      .action((target: string | undefined, options: Options) => copy(target, options, io));
    sub(cmd, "list", "Shows the backups that there are, and their copies.")
      .option("--store <name>", "in this store only")
      .action((target: string | undefined, options: Options) => list(target, options, io));
    sub(cmd, "verify", "Proves the newest full backup of each target, or of one, and a newer incremental one.")
      .option("--store <name>", "in this store, also a bucket; default: the directories")
      .addOption(
        new Option(
          "--level <level>",
          "L0: checksums; L1: unpacks and parses; L2: restores into scratch and compares; L3: asks its checks there too",
        )
          .choices([...LEVELS])
          .default("L2"),
      )
      .option("--id <id...>", "these backups instead of the newest")
      .action((target: string | undefined, options: VerifyOptions) => verify(target, options, io));
    sub(cmd, "prune", "Deletes what no rule of backups.retention keeps.")
      .option("--store <name>", "in this store, also a bucket; default: the directories")
      .option("--dry-run", "delete nothing; say of each backup why it stays or goes")
      .option("--force", "also when it takes more than half of a target's backups")
      .action((target: string | undefined, options: PruneOptions) => prune(target, options, io));
    withConfig(cmd.command("export"))
      .description("Writes a backup as one plain file, for tools that know nothing of us.")
      .argument("<target>", "name of the target in the config")
      .requiredOption(
        "--plain <file>",
        "file to write; its name ends in .db, .tar, .rdb, .sql or .dump, as the kind of the target is, then .gz or .zst to pack it",
      )
      .option("--id <id>", "this backup instead of the newest")
      .option("--unencrypted", "also when backups are encrypted")
      .option("--json", "print one object")
      .action(async (target: string, options: ExportOptions & Options) => {
        const loaded = await load(options, io);
        placesFor(loaded, target);
        const { exportPlain } = await import("./backup-export.ts");
        await exportPlain(loaded, target, options, io);
      });
  },
};

function sub(cmd: Command, name: string, summary: string): Command {
  return withConfig(cmd.command(name))
    .description(summary)
    .argument("[target]", "name of the target in the config; default: all")
    .option("--json", "print one object");
}

async function run(target: string | undefined, options: RunOptions, io: CliIo): Promise<void> {
  const loaded = await load(options, io);
  const incremental = options.incremental === true;
  const places = incremental ? incrementalPlaces(loaded, target) : placesFor(loaded, target);
  await eachPlace(loaded, withCopies(loaded, places), { ...options, verb: "run" }, io, (place, onLine) =>
    isBucket(loaded, place)
      ? runRemote(copyJob(loaded, place), { ...ownWork(loaded, place), onLine })
      : make(loaded, place, { incremental, onLine }),
  );
}

/** Should we be killed, the daemon goes on with the worker. `what`: of one whose end is not that of a backup or a copy, as "the proof of". */
function ownWork({ dirs }: LoadedConfig, place: Place, what?: string) {
  const work = what === undefined ? keyOf(place) : `${what} ${keyOf(place)}`;
  return { clock: systemClock, work, stateDir: dirs.stateDir };
}

/** What a run of the schedule makes, in order, up to the first that fails. */
async function make(
  loaded: LoadedConfig,
  place: Place,
  { incremental, onLine }: { readonly incremental: boolean; readonly onLine: (line: BackupLine) => void },
): ReturnType<typeof runDeed> {
  let end: Awaited<ReturnType<typeof runDeed>> = { code: EXIT.done, failure: undefined };
  for (const job of backupJobs(loaded, place, { trigger: "manual", version: VERSION, incremental })) {
    // Safe: they share a disk with the bots.
    // oxlint-disable-next-line no-await-in-loop
    end = await runBackup(job, { ...ownWork(loaded, place), onLine });
    if (end.failure !== undefined) break;
  }
  return end;
}

async function copy(target: string | undefined, options: Options, io: CliIo): Promise<void> {
  const loaded = await load(options, io);
  const places = withCopies(loaded, placesFor(loaded, target)).filter((place) => isBucket(loaded, place));
  const wanted = options.store === undefined ? places : places.filter(({ store }) => store === options.store);
  if (wanted.length === 0)
    throw new NoTargetError(
      `cannot copy: no target goes to ${options.store === undefined ? "a bucket" : `a bucket ${options.store}`}`,
      "docs/backup.md shows a store of kind s3",
    );
  await eachPlace(loaded, wanted, { ...options, verb: "copy" }, io, (place, onLine) =>
    runRemote(copyJob(loaded, place), { ...ownWork(loaded, place), onLine }),
  );
}

async function verify(target: string | undefined, options: VerifyOptions, io: CliIo): Promise<void> {
  const loaded = await load(options, io);
  const { level, id = [] } = options;
  const named = await withIds(loaded, placesFor(loaded, target, options.store), id);
  await eachPlace(loaded, [...named.keys()], { ...options, verb: "verify" }, io, async (place, onLine) => {
    const ids = [...(named.get(place) ?? [])];
    if (isBucket(loaded, place))
      return runRemote(remoteVerifyJob(loaded, place, { level, ids }), {
        ...ownWork(loaded, place, "the proof of"),
        onLine,
      });
    const { fault } = lookInto(loaded, place);
    if (fault !== null) return { code: BACKUP_EXIT.source, failure: fault };
    return runDeed("verify-backups", verifyJob(loaded, place, { level, ids }), { ...ownWork(loaded, place), onLine });
  });
}

async function prune(target: string | undefined, options: PruneOptions, io: CliIo): Promise<void> {
  const loaded = await load(options, io);
  const retention = loaded.config.backups?.retention;
  if (retention === undefined) return;
  const how = { dryRun: options.dryRun === true, force: options.force === true };
  await eachPlace(
    loaded,
    placesFor(loaded, target, options.store),
    { ...options, verb: "prune" },
    io,
    async (place, onLine) => {
      if (isBucket(loaded, place))
        return runRemote(remotePruneJob(loaded, place, how), { ...ownWork(loaded, place, "the pruning of"), onLine });
      const { fault } = lookInto(loaded, place);
      if (fault !== null) return { code: BACKUP_EXIT.source, failure: fault };
      const { identity: _, ...common } = { identity: undefined, ...commonJob(loaded, place) };
      const record = recordPath(loaded.dirs.stateDir, place);
      const job: PruneJob = { ...common, retention, ...how, record };
      return runDeed("prune-backups", job, { ...ownWork(loaded, place), onLine });
    },
  );
}

type Deed = (place: Place, onLine: (line: BackupLine) => void) => ReturnType<typeof runDeed>;

/** One place after the other, all of them whatever fails; the exit code is the first failure's. */
async function eachPlace(
  loaded: LoadedConfig,
  places: readonly Place[],
  { json, verb }: Options & { readonly verb: string },
  io: CliIo,
  deed: Deed,
): Promise<void> {
  const results: object[] = [];
  let code: number = EXIT.done;
  for (const place of places) {
    const lines: BackupLine[] = [];
    const progress = new ProgressLine(io);
    const bucket = isBucket(loaded, place);
    // One after the other: they share a disk with the bots.
    // oxlint-disable-next-line no-await-in-loop
    const end = await attempt(() =>
      deed(place, (line) => {
        if (line.kind === "progress") return json === true ? undefined : progress.show(line);
        lines.push(line);
        progress.clear();
        if (json !== true) tellLine(place, line, io);
      }),
    );
    progress.clear();
    const failure = end.failure === undefined ? undefined : (unprovenText(lines) ?? end.failure);
    if (failure !== undefined) {
      io.err(`cannot finish ${place.target} in ${place.store}: ${failure}`);
      const hint = nextStep(end.code, { ...place, bucket, stage: stageOf(lines) });
      if (hint !== undefined) io.err(`hint: ${hint}`);
    }
    const events = end.code === BACKUP_EXIT.busy ? [] : eventsOf({ ...place, lines, failure });
    // Safe: in the order of the deeds.
    // oxlint-disable-next-line no-await-in-loop
    await tellDaemon(loaded, `supervisor backup ${verb} by ${callerName(io.env)}`, events);
    // What is missing here counts more than what is missing elsewhere.
    if (code === EXIT.done || (code === BACKUP_EXIT.remote && end.code !== EXIT.done)) code = end.code;
    results.push({ ...place, code: end.code, failure: failure ?? null, lines });
  }
  if (json === true) io.out(JSON.stringify({ version: 1, results }));
  io.setExitCode(code);
}

/** A key that cannot be read costs its store only. */
async function attempt(deed: () => ReturnType<typeof runDeed>): ReturnType<typeof runDeed> {
  try {
    return await deed();
  } catch (error) {
    return { code: EXIT.usage, failure: error instanceof Error ? error.message : String(error) };
  }
}

async function list(target: string | undefined, options: Options, io: CliIo): Promise<void> {
  const loaded = await load(options, io);
  const places =
    options.store === undefined
      ? withCopies(loaded, placesFor(loaded, target))
      : placesFor(loaded, target, options.store);
  const { listBackups } = await import("./backup-list.ts");
  await listBackups(loaded, places, options, io);
}

/** A restore that was broken off is ended first: what a backup would read may be half in its place. */
async function load(options: Options, io: CliIo): Promise<LoadedConfig> {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  await settleFirst(loaded, io);
  return loaded;
}

/** The directories of the targets, or the one store of any kind. */
function placesFor({ config, shown }: LoadedConfig, target: string | undefined, store?: string): readonly Place[] {
  const { backups } = config;
  if (backups === undefined)
    throw new NoTargetError(
      `cannot find a target: ${shown} has no backups section`,
      "docs/backup.md shows one; supervisor config check says when it is right",
    );
  const names = Object.keys(backups.targets);
  if (target !== undefined && !names.includes(target))
    throw new NoTargetError(
      `cannot find target ${target}: the targets are ${names.join(", ")}${guessText(target, names)}`,
      LIST_HINT,
    );
  const wanted = target === undefined ? names : [target];
  if (store === undefined) return wanted.flatMap((name) => placesOf(backups, name));
  const places = wanted
    .flatMap((name) => [...placesOf(backups, name), ...copyPlacesOf(backups, name)])
    .filter((place) => place.store === store);
  if (places.length > 0) return places;
  const stores = Object.keys(backups.stores);
  throw new NoTargetError(
    `cannot find a backup in the store ${store}: ${backups.stores[store] === undefined ? `the stores are ${stores.join(", ")}${guessText(store, stores)}` : `${target ?? "no target"} does not go there`}`,
    LIST_HINT,
  );
}

/** Which of the ids are looked for where: without any, nothing is named anywhere. Each begins with the name of its target. */
async function withIds(
  loaded: LoadedConfig,
  places: readonly Place[],
  ids: readonly string[],
): Promise<ReadonlyMap<Place, readonly string[]>> {
  if (ids.length === 0) return new Map(places.map((place) => [place, []]));
  const all = await Promise.all(
    places.map(async (place) => {
      const own = ids.filter((id) => readBackupId(id)?.target === place.target);
      const { here, unseen } = own.length === 0 ? { here: [], unseen: false } : await namesIn(loaded, place);
      return { place, own, here, held: unseen ? own : own.filter((id) => here.includes(id)) };
    }),
  );
  const unknown = ids.filter((id) => !all.some(({ held }) => held.includes(id)));
  const [first] = unknown;
  if (first !== undefined) {
    const why = all.some(({ own }) => own.includes(first))
      ? `it is not there${guessText(
          first,
          all.flatMap(({ here }) => here),
        )}`
      : "its name is of no target that is asked for";
    throw new NoTargetError(`cannot find backup ${unknown.join(", ")}: ${why}`, LIST_HINT);
  }
  return new Map(all.map(({ place, held }) => [place, held] as const).filter(([, held]) => held.length > 0));
}

/** Of a place that cannot be looked into nobody knows what is there: whoever proves it says why. */
async function namesIn(loaded: LoadedConfig, place: Place): Promise<{ here: readonly string[]; unseen: boolean }> {
  if (isBucket(loaded, place)) {
    const { found, fault } = await lookAtCopies(loaded, place, systemClock);
    return { here: found.map(({ id }) => id), unseen: fault !== null };
  }
  const { backups, damaged, fault } = lookInto(loaded, place);
  return { here: [...backups, ...damaged].map(({ id }) => id), unseen: fault !== null };
}

/** Each target's directories, and then its buckets. */
function withCopies({ config }: LoadedConfig, places: readonly Place[]): readonly Place[] {
  const { backups } = config;
  if (backups === undefined) return places;
  const targets = [...new Set(places.map(({ target }) => target))];
  return targets.flatMap((name) => [...places.filter(({ target }) => target === name), ...copyPlacesOf(backups, name)]);
}

function isBucket({ config }: LoadedConfig, { store }: Place): boolean {
  return config.backups?.stores[store]?.kind === "s3";
}

/** Those whose kind has incremental backups. */
function incrementalPlaces(loaded: LoadedConfig, target: string | undefined): readonly Place[] {
  const targets = loaded.config.backups?.targets;
  const places = placesFor(loaded, target).filter((place) => targets?.[place.target]?.kind === "sqlite");
  if (places.length === 0)
    throw new NoTargetError(
      `cannot make an incremental backup: ${target === undefined ? "no target" : `target ${target}`} is ${target === undefined ? "" : "not "}of kind sqlite`,
      "leave --incremental out for a full backup",
    );
  return places;
}
