/** PostgreSQL by a real pgBackRest: one catalogue with ours, proven, restored to an instant, and its own retention. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pgObstacle } from "../../../src/actions/backup/pg-check.ts";
import { pruneBackups } from "../../../src/actions/backup/prune.ts";
import type { StoredBackup } from "../../../src/actions/backup/repository.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import type { BackupLine, JobTarget } from "../../../src/core/backup-job.ts";
import { keptElsewhere } from "../../../src/core/pgbackrest.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { BackRestServer, missing, WHY } from "./pgbackrest-rig.ts";
import { PgRig, PgServer } from "./postgres-rig.ts";

const SERVER = { skip: missing !== undefined, timeout: 240_000 };
const RETENTION = { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };
const server = new BackRestServer();

/** Makes a backup, and returns it. */
function makerOf(rig: PgRig, target: JobTarget): (more?: object) => Promise<StoredBackup> {
  return async (more = {}) => {
    const code = await rig.backUp(rig.job(target, { retention: RETENTION, ...more }));
    expect([code, rig.failure()]).toEqual([0, undefined]);
    const last = rig.repository("ledger").list().backups.at(-1);
    if (last === undefined) throw new Error("there is no backup");
    return last;
  };
}

/** The same configuration in another file. */
function copiedConfig(): string {
  const copied = `${server.config}.first`;
  copyFileSync(server.config, copied);
  return copied;
}

beforeAll(async () => {
  if (missing === undefined) await server.archiving();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

test(
  `pgObstacle() names what pgBackRest lacks: stanza, archive_command, its own configuration${WHY}`,
  SERVER,
  async () => {
    const target = { url: server.url("postgres") };
    const how = { pitr: true, pgbackrest: server.settings };
    await expect(pgObstacle(target, how)).resolves.toMatch(
      /stanza main cannot be used: missing stanza path; pgbackrest stanza-create/,
    );
    server.backRest("stanza-create");
    await expect(pgObstacle(target, how)).resolves.toBeUndefined();
    await expect(
      pgObstacle(target, { pitr: true, pgbackrest: { ...server.settings, config: "/nowhere.conf" } }),
    ).resolves.toMatch(/pgbackrest info ended with 55: \[055\]: unable to open missing file '\/nowhere\.conf'/);
    await using other = new PgServer();
    await other.start();
    await expect(pgObstacle({ url: other.url("postgres") }, how)).resolves.toMatch(
      "pgbackrest needs archive_mode = on at the server, and archive_command = 'pgbackrest --stanza=main archive-push %p'",
    );
  },
);

test(
  `makeBackup() has pgBackRest make full and incremental backups, proves and restores them to an instant${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(100);
    const target = {
      kind: "postgres",
      name: "ledger",
      url: server.url(database),
      physical: true,
      pgbackrest: server.settings,
    } as const;
    const made = makerOf(rig, target);
    const full = await made({ verify: "L2" });
    expect(full.manifest).toMatchObject({ kind: "base", raw: { name: "pgbackrest.json" } });
    expect(keptElsewhere(full.manifest)).toMatchObject({ type: "full", databaseBytes: expect.any(Number) });
    server.sql(database, "INSERT INTO trades (symbol, price) SELECT 'BTC', n FROM generate_series(1, 20) n");
    const { id, manifest } = await made();
    expect(keptElsewhere(manifest)?.type).toBe("incr");
    const good = server.sql(database, "SELECT count(*), sum(price) FROM trades");
    // A backup says whole seconds, so the instant must lie behind its last one.
    const at = new Date(Date.parse(manifest.snapshotAt) + 1).toISOString();
    server.sql(
      database,
      `SELECT pg_sleep_until('${at}'::timestamptz + interval '5 ms'); DROP TABLE trades CASCADE; SELECT pg_switch_wal()`,
    );

    const path = join(rig.folder, "recovered");
    const from = { kind: "backup", folder: rig.store, id } as const;
    chmodSync(rig.folder, 0o700);
    const job = rig.restoreJob(target, { from, into: { kind: "instant", path, at } });
    expect([await rig.restore(job), rig.failure()]).toEqual([0, undefined]);
    {
      await using recovered = await PgServer.on(path);
      expect(recovered.sql(database, "SELECT count(*), sum(price) FROM trades")).toBe(good);
      expect(existsSync(join(path, "recovery.signal"))).toBe(false);
    }

    // A byte that has changed is found where the data lies.
    const prove = () =>
      verifyBackup({
        folder: join(rig.repository("ledger").folder, id),
        manifest,
        level: "L1",
        scratch: rig.folder,
        identity: undefined,
        clock: systemClock,
      });
    expect(await prove()).toMatchObject({ ok: true });
    const file = server.storedFile();
    const [bytes, { mode }] = [readFileSync(file), statSync(file)];
    const spoilt = Buffer.from(bytes);
    spoilt[20] = (spoilt[20] ?? 0) ^ 1;
    writeFileSync(file, spoilt, { mode });
    expect(await prove()).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/verify calls it invalid: .*checksum invalid: 1/),
    });
    writeFileSync(file, bytes);
  },
);

test(
  `makeBackup() takes out of the list what pgBackRest's retention has taken, and nothing that its repository never had${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const pgbackrest = { ...server.settings, config: copiedConfig() };
    const url = server.url(server.makeDatabase(10));
    const target = { kind: "postgres", name: "ledger", url, physical: true, pgbackrest } as const;
    const made = makerOf(rig, target);
    const { id } = await made();
    server.backRest("--type=full", "backup");
    // Whether it has taken all of them, or never had them, nothing tells.
    expect([await rig.backUp(rig.job(target, { retention: RETENTION })), rig.failure()?.reason]).toEqual([
      expect.any(Number),
      expect.stringContaining("knows none of the 1 backups"),
    ]);
    rig.lines.length = 0;
    await made();
    expect(rig.repository("ledger").list().backups).toHaveLength(3);
    const { version, store, folder } = rig.job(target);
    const forced = { version, store, folder, target, retention: RETENTION, dryRun: false, force: true } as const;
    const io = { write: (line: BackupLine) => void rig.lines.push(line), clock: systemClock };
    expect(await pruneBackups(forced, io)).toBe(0);
    expect(rig.lines.at(-1)).toMatchObject({ kind: "pruned", ids: [id] });
    // A full backup of ours that takes the ones before, as its retention says: they were there a moment ago. Its configuration has moved.
    rmSync(pgbackrest.config);
    const due = { ...target, pgbackrest: { ...server.settings, fullMs: 1 } };
    expect([await rig.backUp(rig.job(due, { retention: RETENTION })), rig.failure()]).toEqual([0, undefined]);
    expect(rig.repository("ledger").list().backups).toHaveLength(1);
  },
);

test(
  `restoreBackup() takes a pgBackRest that cannot be reached for no damage, and leaves nothing behind${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const url = server.url("postgres");
    const target = { kind: "postgres", name: "ledger", url, physical: true, pgbackrest: server.settings } as const;
    expect([await rig.backUp(rig.job(target)), rig.failure()]).toEqual([0, undefined]);
    const { id, manifest } = rig.stored("ledger");
    const path = join(rig.folder, "never");
    const into = { kind: "instant", path, at: manifest.snapshotAt } as const;
    renameSync(server.config, `${server.config}.away`);
    const job = rig.restoreJob(target, { from: { kind: "backup", folder: rig.store, id }, into });
    expect(await rig.restore(job)).toBe(3);
    renameSync(`${server.config}.away`, server.config);
    expect([existsSync(path), rig.journals]).toEqual([false, []]);
  },
);
