/**
 * A backup of a SQLite database that is written meanwhile, beside the same deed by command-line tools: a copy as of one instant,
 * `zstd -1`, and one checksum. Then what an incremental one stores, a restore with its proof, and the retention.
 */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { planRetention, type Kept } from "../src/core/backup-retention.ts";
import type { Row } from "./measure.ts";
import { ENV, type Options, type Rig } from "./rig.ts";

const TARGETS = { ratio: 1.6, rssMib: 100, commitMs: 40, deltaMib: 8, restoreS: 10, retentionMs: 50 };
const FULL = { mib: 800, rounds: 5, patienceS: 30 };
const QUICK = { mib: 40, rounds: 1, patienceS: 3 };
/** The writer by itself, in each round; about as long as a backup takes. */
const ALONE_MS = { full: 8_000, quick: 1_000 };
/** Until the disk is done with what was there before. */
const SETTLE_MS = 500;
/** Between two looks at the memory of a worker. */
const LOOK_MS = 10;
const HOUR_MS = 3_600_000;
const BACKUPS = 500 * 24;

interface Site {
  readonly rig: Rig;
  readonly supervisor: string;
  readonly database: string;
  readonly config: string;
  readonly folder: string;
}

export async function benchBackup(rig: Rig, { quick, supervisor }: Options): Promise<readonly Row[]> {
  const { mib, rounds, patienceS } = quick ? QUICK : FULL;
  const site = prepare(rig, supervisor);
  source("make", site.database, String(mib));
  const writer = startWriter(site.database);
  try {
    const alone: Commits[] = [];
    const tools: ToolRun[] = [];
    const ours: OurRun[] = [];
    for (let round = 0; round < rounds; round += 1) {
      alone.push(await runAlone(writer, quick ? ALONE_MS.quick : ALONE_MS.full));
      tools.push(await runTools(site, writer));
      await settle();
      ours.push(await runOurs(site, writer));
    }
    const unpinned = await runUnpinned(site, patienceS);
    await writer.end();
    return [...rows({ alone, tools, ours, unpinned }), ...incremental(site), ...restored(site, rounds), retained()];
  } finally {
    await writer.end();
  }
}

function prepare(rig: Rig, supervisor: string): Site {
  const folder = rig.folderFor("backup");
  const site = { rig, supervisor, folder, database: join(folder, "bot.db"), config: join(folder, "supervisor.yaml") };
  const backups = {
    stores: { local: { kind: "directory", path: join(folder, "store") } },
    targets: { state: { kind: "sqlite", path: site.database } },
  };
  // JSON is YAML 1.2.
  const bots = { bot: { command: ["true"] } };
  writeFileSync(site.config, JSON.stringify({ version: 1, bots, backups, stateDir: join(folder, "state") }));
  return site;
}

function source(...args: readonly string[]): void {
  run([process.execPath, join(import.meta.dirname, "backup-database.ts"), ...args]);
}

/** Throws what the program says when it fails. */
function run(cmd: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...cmd], { env: ENV });
  if (exitCode !== 0) throw new Error(`cannot measure: ${cmd.join(" ")} ended with ${exitCode}: ${stderr.toString()}`);
  return stdout.toString();
}

interface Commits {
  readonly commits: number;
  readonly worstMs: number;
  readonly p99Ms: number;
}

/** `commits()` tells of those since it was asked before. */
function startWriter(database: string) {
  const script = join(import.meta.dirname, "backup-database.ts");
  const child = Bun.spawn([process.execPath, script, "write", database], {
    stdio: ["pipe", "pipe", "inherit"],
    env: ENV,
  });
  const lines = child.stdout.getReader();
  return {
    commits: async (): Promise<Commits> => {
      void child.stdin.write("\n");
      await child.stdin.flush();
      const { value } = await lines.read();
      // Safe: it is what the writer prints.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      return JSON.parse(new TextDecoder().decode(value)) as Commits;
    },
    end: async (): Promise<void> => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
type Writer = ReturnType<typeof startWriter>;

/** What the disk does to the writer by itself. */
async function runAlone(writer: Writer, durationMs: number): Promise<Commits> {
  await settle();
  await writer.commits();
  await Bun.sleep(durationMs);
  return await writer.commits();
}

/** What was written before, and nobody has flushed, is not what is measured next. */
async function settle(): Promise<void> {
  run(["sync"]);
  await Bun.sleep(SETTLE_MS);
}

interface ToolRun {
  readonly tookS: number;
  readonly copyWorstMs: number;
}

/** `.backup` in a transaction of its own, which pins the instant: without that it does not end. */
async function runTools({ folder, database }: Site, writer: Writer): Promise<ToolRun> {
  const copy = join(folder, "copy.db");
  await settle();
  await writer.commits();
  const startMs = performance.now();
  const child = Bun.spawn(["sqlite3", database, "BEGIN; SELECT count(*) FROM sqlite_schema;", `.backup ${copy}`], {
    env: ENV,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if ((await child.exited) !== 0) throw new Error("cannot measure: sqlite3 .backup failed");
  const { worstMs } = await writer.commits();
  for (const cmd of [
    ["zstd", "-q", "-1", copy],
    ["sha256sum", `${copy}.zst`],
  ]) {
    const next = Bun.spawn(cmd, { env: ENV, stdio: ["ignore", "ignore", "inherit"] });
    if ((await next.exited) !== 0) throw new Error(`cannot measure: ${cmd.join(" ")} failed`);
  }
  const tookS = (performance.now() - startMs) / 1_000;
  rmSync(copy);
  rmSync(`${copy}.zst`);
  return { tookS, copyWorstMs: worstMs };
}

interface OurRun {
  readonly tookS: number;
  readonly rssMib: number;
  readonly worstMs: number;
  readonly p99Ms: number;
}

/** The whole command: start, copy, store, proof of what was stored (L1), publication. */
async function runOurs({ supervisor, config, folder }: Site, writer: Writer): Promise<OurRun> {
  await writer.commits();
  const startMs = performance.now();
  const child = Bun.spawn([supervisor, "backup", "run", "state", "--config", config], {
    env: { ...ENV, TMPDIR: folder },
    stdio: ["ignore", "ignore", "ignore"],
  });
  let rssMib = 0;
  while (child.exitCode === null && child.signalCode === null) {
    rssMib = Math.max(rssMib, peakMib(child.pid));
    await Bun.sleep(LOOK_MS);
  }
  if (child.exitCode !== 0) throw new Error(`cannot measure: supervisor backup run ended with ${child.exitCode}`);
  const tookS = (performance.now() - startMs) / 1_000;
  const { worstMs, p99Ms } = await writer.commits();
  return { tookS, rssMib, worstMs, p99Ms };
}

/** VmHWM of the largest child: the worker. */
function peakMib(parent: number): number {
  const peaks = read(`/proc/${parent}/task/${parent}/children`)
    .split(" ")
    .filter((pid) => pid !== "")
    .map((pid) => Number(/^VmHWM:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0));
  return Math.max(0, ...peaks) / 1_024;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Seconds until `sqlite3 .backup` ended, or the whole patience when it did not. */
async function runUnpinned({ database, folder }: Site, patienceS: number): Promise<{ ended: boolean }> {
  const copy = join(folder, "unpinned.db");
  const child = Bun.spawn(["sqlite3", database, `.backup ${copy}`], {
    env: ENV,
    stdio: ["ignore", "ignore", "ignore"],
  });
  const ended = await Promise.race([child.exited.then(() => true), Bun.sleep(patienceS * 1_000).then(() => false)]);
  child.kill("SIGKILL");
  await child.exited;
  for (const path of [copy, `${copy}-journal`]) if (existsSync(path)) rmSync(path);
  return { ended };
}

interface Runs {
  /** The writer with nothing beside it but the machine's other work, which its worst commit with a backup has in it as well. */
  readonly alone: readonly Commits[];
  readonly tools: readonly ToolRun[];
  readonly ours: readonly OurRun[];
  readonly unpinned: { readonly ended: boolean };
}

function rows({ alone, tools, ours, unpinned }: Runs): readonly Row[] {
  const single = {
    name: "during `sqlite3 .backup`, pinned, one flush at its end",
    values: tools.map((each) => each.copyWorstMs),
  };
  return [
    {
      what: "`backup run`, proven to L1, 200 commits/s meanwhile",
      unit: "s",
      values: ours.map(({ tookS }) => tookS),
      baseline: { name: "pinned `.backup`, `zstd -1`, `sha256sum`", values: tools.map(({ tookS }) => tookS) },
      targetRatio: TARGETS.ratio,
    },
    {
      what: "the same: peak memory of its worker (VmHWM)",
      unit: "MiB",
      values: ours.map(({ rssMib }) => rssMib),
      target: TARGETS.rssMib,
      targetOf: "worst",
    },
    {
      what: "the same: the writer's worst commit",
      unit: "ms",
      values: ours.map(({ worstMs }) => worstMs),
      baseline: single,
      target: TARGETS.commitMs,
    },
    { what: "the same: 99 of 100 commits within", unit: "ms", values: ours.map(({ p99Ms }) => p99Ms) },
    {
      what: "the same, beside what the disk does by itself",
      unit: "ms",
      values: ours.map(({ worstMs }) => worstMs),
      baseline: {
        name: "the writer's worst commit with no backup under way",
        values: alone.map((each) => each.worstMs),
      },
    },
    {
      what: "backups that ended",
      unit: "runs",
      values: [ours.length],
      baseline: { name: "`sqlite3 .backup`, not pinned", values: [Number(unpinned.ended)] },
    },
  ];
}

/** What 2 000 orders and 4 000 fills cost. */
function incremental({ supervisor, config, database }: Site): readonly Row[] {
  run([supervisor, "backup", "run", "state", "--config", config]);
  source("grow", database, "2000");
  const startMs = performance.now();
  const text = run([supervisor, "backup", "run", "state", "--incremental", "--json", "--config", config]);
  const tookS = (performance.now() - startMs) / 1_000;
  const bytes = Number(/"storedBytes":(\d+)/.exec(text)?.[1] ?? Number.NaN);
  return [
    {
      what: "incremental backup after 2 000 orders, stored",
      unit: "MiB",
      values: [bytes / 1_024 ** 2],
      target: TARGETS.deltaMib,
    },
    { what: "the same: time", unit: "s", values: [tookS] },
  ];
}

/** Into the place of the database, proven and counted before the exchange. Once it stood L2 in the store, no index is looked up again. */
function restored({ supervisor, config, database }: Site, rounds: number): readonly Row[] {
  const sizeMib = statSync(database).size / 1_024 ** 2;
  const restores = (): number[] =>
    Array.from({ length: rounds }, () => {
      const startMs = performance.now();
      run([supervisor, "restore", "state", "--yes", "--no-backup", "--config", config]);
      return (performance.now() - startMs) / 1_000;
    });
  const first = restores();
  run([supervisor, "backup", "verify", "state", "--level", "L2", "--config", config]);
  const what = `\`restore\` of ${sizeMib.toFixed(0)} MiB from a full and an incremental backup, proven to L2`;
  return [
    { what: `${what}, which never was`, unit: "s", values: first, target: TARGETS.restoreS },
    { what: `${what}, as the newest is each day`, unit: "s", values: restores(), target: TARGETS.restoreS },
  ];
}

/** Which of 500 days of hourly backups stay. */
function retained(): Row {
  const backups = Array.from({ length: BACKUPS }, (_, hour): Kept => {
    const id = `state-${hour % 24 === 0 ? "full" : "delta"}-${hour}`;
    const base = hour % 24 === 0 ? null : `state-full-${hour - (hour % 24)}`;
    const kept = { kind: base === null ? "full" : "delta", verified: true, refuted: false, preRestore: false } as const;
    return { ...kept, id, base, snapshotMs: hour * HOUR_MS, createdMs: hour * HOUR_MS, pinned: null, inUse: false };
  });
  const day = 24 * HOUR_MS;
  const policy = { hourly: 7 * day, daily: 30 * day, weekly: 90 * day, monthly: 365 * day, minKeep: 3 };
  const values = Array.from({ length: 11 }, () => {
    const startMs = performance.now();
    planRetention(backups, policy, BACKUPS * HOUR_MS);
    return performance.now() - startMs;
  });
  return { what: "retention of 500 days of hourly backups", unit: "ms", values, target: TARGETS.retentionMs };
}
