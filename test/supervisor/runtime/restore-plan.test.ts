/** The plan of a restore on real stores: never from a backup of the damage, never from a store that is gone as if it were empty. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { pruneBackups } from "../../../src/actions/backup/prune.ts";
import { withVerification } from "../../../src/core/backup-manifest.ts";
import { recordName } from "../../../src/core/backup-record.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { planText } from "../../../src/report/restore-text.ts";
import { isSealed } from "../../../src/supervisor/cli/restore-means.ts";
import { loadConfig, type LoadedConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { planRestore, storedBackups, type RestoreWish } from "../../../src/supervisor/runtime/restore-plan.ts";
import { Rig } from "../../actions/backup/rig.ts";

/** A rig with one manual backup of a database with the table orders, and the config that names it. */
async function stage(): Promise<{ rig: Rig; loaded: LoadedConfig; job: ReturnType<Rig["job"]> }> {
  const rig = new Rig();
  rig.fill(10).close();
  const file = join(rig.folder, "supervisor.yaml");
  const text = {
    version: 1,
    stateDir: join(rig.folder, "state"),
    bots: { bot: { command: ["true"] } },
    backups: {
      stores: { local: { kind: "directory", path: rig.store } },
      targets: { state: { kind: "sqlite", path: rig.database, bots: ["bot"] }, conf: { kind: "files", paths: [file] } },
    },
  };
  writeFileSync(file, JSON.stringify(text), { mode: 0o600 });
  const loaded = loadConfig({ file, env: {}, cwd: rig.folder });
  const record = join(loaded.dirs.stateDir, "backups", recordName("state", "local"));
  mkdirSync(dirname(record), { recursive: true });
  const job = rig.job(rig.sqlite, { record });
  expect(await rig.backUp(job)).toBe(0);
  return { rig, loaded, job };
}

const plan = (loaded: LoadedConfig, more: Partial<RestoreWish> = {}) =>
  planRestore(
    loaded,
    { target: "state", at: undefined, id: undefined, file: undefined, into: { kind: "live" }, ...more },
    new Date(),
  );
const tables = (...names: string[]): RestoreWish["into"] => ({ kind: "tables", tables: names });

test("planRestore() takes a backup of before a restore only by its id; no delta is made against it, no record tells of it", async () => {
  const { rig, loaded, job } = await stage();
  using _ = rig;
  const good = rig.stored().id;
  expect(await rig.backUp({ ...job, trigger: "pre-restore" })).toBe(0);
  const safety = storedBackups(loaded, "state").all.find(({ preRestore }) => preRestore)?.id;
  expect(safety).not.toBe(undefined);
  for (const into of [{ kind: "live" } as const, tables("orders")])
    expect(plan(loaded, { into })).toMatchObject({ plan: { backup: good } });
  expect(plan(loaded, { id: safety })).toMatchObject({ plan: { backup: safety } });
  expect(await Bun.file(job.record).json()).toMatchObject({ lastSuccess: { id: good } });
  expect(await rig.backUp({ ...job, incremental: true })).toBe(0);
  expect(rig.repository().list().backups.at(-1)?.manifest).toMatchObject({ kind: "delta", base: good });
});

test("planRestore() counts what is lost from when the source was last seen unchanged, and does not believe a time of the future", async () => {
  const { rig, loaded } = await stage();
  using _ = rig;
  const { id, state, manifest } = rig.stored();
  const now = Date.parse(manifest.snapshotAt) + 7_200_000;
  const planAt = (unchangedMs: number) => {
    rig.repository().writeState(id, { ...state, unchangedAt: new Date(unchangedMs).toISOString() });
    const wish = { target: "state", at: undefined, id: undefined, file: undefined, into: { kind: "live" } } as const;
    const planned = planRestore(loaded, wish, new Date(now));
    if (planned.kind === "none") throw new Error(planned.reason);
    return planned.plan;
  };
  const unchangedAt = new Date(now - 60_000).toISOString();
  const seen = planAt(now - 60_000);
  expect(seen).toMatchObject({ snapshotAt: manifest.snapshotAt, unchangedAt, lossSeconds: 60 });
  expect(planText({ ...seen, up: [] })).toContain(`${manifest.snapshotAt}, which was still that at ${unchangedAt}\n`);
  const at = new Date(now).toISOString();
  expect(planText({ ...seen, into: { kind: "instant", path: "/new", at }, up: [] })).toMatch(
    new RegExp(`holds .*\\nand then +the archived WAL up to ${at}\\nloses +what was written after that\\ninto +/new,`),
  );
  expect(planAt(now + 60_000)).toMatchObject({ unchangedAt: null, lossSeconds: 7_200 });
});

test("planRestore() refuses tables that the backup does not have, and tables of what is no database, as mistakes", async () => {
  const { rig, loaded } = await stage();
  using _ = rig;
  expect(plan(loaded, { into: tables("nosuch") })).toMatchObject({
    exitCode: 2,
    reason: expect.stringMatching(/has no table nosuch; its tables are orders$/),
  });
  expect(plan(loaded, { target: "conf", into: tables("orders") })).toMatchObject({ kind: "none", exitCode: 2 });
  const file = rig.stored().folder;
  expect(plan(loaded, { file, into: tables("nosuch") })).toMatchObject({ exitCode: 2 });
  expect(plan(loaded, { file })).toMatchObject({ plan: { snapshotAt: rig.stored().manifest.snapshotAt } });
  expect(plan(loaded, { file: join(rig.folder, "none.db") })).toMatchObject({ kind: "none", exitCode: 3 });
});

test("a store that is gone or cannot be read is a fault, and nothing makes an empty one in its place", async () => {
  const { rig, loaded, job } = await stage();
  using _ = rig;
  renameSync(rig.store, `${rig.store}.away`);
  const lines: object[] = [];
  const io = { write: (line: object) => void lines.push(line), clock: systemClock };
  const common = { version: 1, target: rig.sqlite, store: "local", folder: rig.store } as const;
  expect(await checkBackups({ ...common, level: "L0", ids: [] }, io)).toBe(3);
  const retention = { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };
  expect(await pruneBackups({ ...common, retention, dryRun: false, force: false }, io)).toBe(0);
  expect(await rig.backUp(job)).toBe(5);
  expect(rig.failure()?.reason).toMatch(/is not there, and state was backed up to it before: mount its disk/);
  expect(existsSync(rig.store)).toBe(false);
  expect(plan(loaded)).toMatchObject({ exitCode: 3, reason: expect.stringContaining("is not there") });
  symlinkSync(rig.store, rig.store);
  expect(storedBackups(loaded, "state").faults).toEqual([expect.stringMatching(/^cannot read the backups in .*ELOOP/)]);
  rmSync(rig.store);
  mkdirSync(join(rig.store, "state"), { recursive: true });
  expect(await checkBackups({ ...common, level: "L0", ids: [] }, io)).toBe(4);
  expect(await rig.backUp(job)).toBe(0);
});

test("planRestore() names the newer backups that were found damaged, and one that is asked for", async () => {
  const { rig, loaded, job } = await stage();
  using _ = rig;
  const good = rig.stored().id;
  expect(await rig.backUp(job)).toBe(0);
  const [, newer] = rig.repository().list().backups;
  if (newer === undefined) throw new Error("there is no second backup");
  const at = new Date().toISOString();
  const failed = { level: "L0", at, ok: false, durationMs: 1, detail: "data.000 is damaged" } as const;
  rig.repository().writeState(newer.id, withVerification(newer.state, failed));
  const damaged = [{ id: newer.id, store: "local", reason: "data.000 is damaged" }];
  const planned = plan(loaded);
  expect(planned).toMatchObject({ plan: { backup: good, damaged } });
  if (planned.kind === "none") throw new Error(planned.reason);
  expect(planText({ ...planned.plan, up: [] })).toMatch(
    /\ndamaged +\S+ in local, which is passed over: data.000 is damaged$/,
  );
  expect(plan(loaded, { id: newer.id })).toMatchObject({ plan: { backup: newer.id, damaged } });
  expect(plan(loaded, { id: good })).toMatchObject({ plan: { damaged: [] } });
  // The folder says so, too, wherever it is taken.
  const elsewhere = join(rig.folder, "elsewhere");
  cpSync(join(rig.store, "state", newer.id), elsewhere, { recursive: true });
  const asFile = plan(loaded, { file: elsewhere });
  expect(asFile).toMatchObject({ plan: { damaged: [{ id: newer.id, store: null, reason: "data.000 is damaged" }] } });
  if (asFile.kind === "none") throw new Error(asFile.reason);
  expect(planText({ ...asFile.plan, up: [] })).toMatch(/\ndamaged +this very backup: data.000 is damaged$/);
  rmSync(join(rig.store, "state", good), { recursive: true });
  const reason = `no backup is verified and whole; ${newer.id} in local is damaged: data.000 is damaged`;
  expect(plan(loaded)).toMatchObject({ kind: "none", reason });
});

test("planRestore() calls a name that is not there a mistake, and one whose manifest is gone damaged", async () => {
  const { rig, loaded } = await stage();
  using _ = rig;
  const { id, folder } = rig.stored();
  const typo = `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}`;
  const reason = `there is no backup ${typo}; did you mean "${id}"?`;
  expect(plan(loaded, { id: typo })).toEqual({ kind: "none", exitCode: 2, reason });
  rmSync(join(folder, "manifest.json"));
  const damaged = `${id} in local is damaged: manifest.json is missing`;
  expect(plan(loaded, { id })).toEqual({ kind: "none", exitCode: 4, reason: damaged });
  expect(plan(loaded)).toMatchObject({ kind: "none", exitCode: 10 });
});

test("isSealed() takes a folder for a backup of ours, whatever its name ends with", () => {
  const folder = mkdtempSync(join(tmpdir(), "sealed-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [path, file] = [join(folder, "copy.db.enc"), join(folder, "real.db.enc")];
  mkdirSync(path);
  writeFileSync(file, "");
  expect([path, file].map((each) => isSealed({ kind: "file", path: each }))).toEqual([false, true]);
});

test("planText() says which bots are stopped, and that the others stay down", async () => {
  const { rig, loaded } = await stage();
  using _ = rig;
  const planned = plan(loaded);
  if (planned.kind === "none") throw new Error(planned.reason);
  expect(planText({ ...planned.plan, up: [] })).toMatch(/stops +no bot \(bot: not up, and not started; level minimal/);
  expect(planText({ ...planned.plan, up: ["bot"] })).toMatch(/stops +bot, then started with level minimal$/);
});
