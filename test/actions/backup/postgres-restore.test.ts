/** Restores of real PostgreSQL databases, killed at every step: what stands afterwards is the old database or the new, by the hash of its rows. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exportBackup } from "../../../src/actions/backup/export.ts";
import { settleOnServer } from "../../../src/actions/backup/pg-settle.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { restoreJournalSchema } from "../../../src/core/restore-journal.ts";
import { exportJobSchema, type RestoreJob } from "../../../src/core/restore-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const SERVER = { concurrent: true, skip: missing !== undefined, timeout: 120_000 };
const DAY_MS = 86_400_000;
const server = new PgServer();

beforeAll(async () => {
  if (missing === undefined) await server.start();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

interface Stage {
  readonly rig: PgRig;
  readonly database: string;
  readonly job: RestoreJob;
  readonly backedUp: string;
  readonly old: string;
}

/** A backed up database that has gone on since. */
async function stage(more: Partial<RestoreJob> = {}): Promise<Stage> {
  const rig = new PgRig();
  const database = server.makeDatabase(60);
  server.sql(
    "postgres",
    `ALTER DATABASE ${database} SET search_path TO public, risk; REVOKE ALL ON DATABASE ${database} FROM PUBLIC`,
  );
  const backedUp = server.contentOf(database);
  const target = server.target(database);
  expect(await rig.backUp(rig.job(target))).toBe(0);
  server.sql(
    database,
    "DELETE FROM fills; DELETE FROM trades WHERE id < 40; INSERT INTO risk.limits VALUES ('bad', 1)",
  );
  return { rig, database, job: rig.restoreJob(target, more), backedUp, old: server.contentOf(database) };
}

const settle = async ({ rig, job }: Stage, now = systemClock): Promise<readonly BackupLine[]> => {
  const lines: BackupLine[] = [];
  const code = await settleOnServer(
    { version: 1, target: job.target, stateDir: rig.stateDir },
    { write: (line) => void lines.push(line), clock: now },
  );
  expect(code).toBe(0);
  return lines;
};

/** Databases that restores have made. */
const traces = (id: string): readonly string[] => server.databases().filter((name) => name.includes(id));

const idOf = ({ rig }: Stage): string => {
  const restored = rig.lines.find((line) => line.kind === "restored");
  return restored?.kind === "restored" ? restored.id.toLowerCase().replace("-", "_") : "none";
};

test(
  `restoreBackup() of a PostgreSQL database puts the backup in its place, keeps the old one for 7 days, and then drops it${WHY}`,
  SERVER,
  async () => {
    const at = await stage({ bots: ["momentum"] });
    using _ = at.rig;
    expect(await at.rig.restore(at.job)).toBe(0);
    expect(server.contentOf(at.database)).toBe(at.backedUp);
    const aside = `pre_restore_${idOf(at)}`;
    expect(traces(idOf(at))).toEqual([aside]);
    expect(server.contentOf(aside)).toBe(at.old);
    // What the dump of one database does not hold.
    expect(server.sql(at.database, "SHOW search_path")).toBe("public, risk");
    expect(server.sql("postgres", `SELECT has_database_privilege('pg_monitor', '${at.database}', 'CONNECT')`)).toBe(
      "f",
    );
    expect(existsSync(join(at.rig.stateDir, "bots", "momentum", "restored.json"))).toBe(true);
    expect(at.rig.journals).toEqual([]);
    await settle(at);
    expect(traces(idOf(at))).toEqual([aside]);
    await settle(at, { ...systemClock, wallTime: () => new Date(systemClock.wallTime().getTime() + 8 * DAY_MS) });
    expect(traces(idOf(at))).toEqual([]);
  },
);

const OUTCOMES: Readonly<Record<string, string | undefined>> = {
  journaled: "discarded",
  unpacked: "discarded",
  stopped: "discarded",
  swapping: "rolledBack",
  swapped: "rolledBack",
  checked: "finished",
};

test.each(["locked", ...Object.keys(OUTCOMES), "done"])(
  `restoreBackup() of a PostgreSQL database killed after %s leaves the old database or the new${WHY}`,
  SERVER,
  async (step) => {
    const at = await stage({ bots: ["momentum"] });
    using _ = at.rig;
    expect(await at.rig.restoreAndDie(at.job, step)).toBe("SIGKILL");
    const outcome = OUTCOMES[step];
    expect(at.rig.settle().map((each) => each.outcome)).toEqual(outcome === undefined ? [] : ["server"]);
    const settled = await settle(at);
    expect(settled.map((line) => line.kind === "settled" && line.outcome)).toEqual(
      outcome === undefined ? [] : [outcome],
    );
    const done = step === "checked" || step === "done";
    expect(server.contentOf(at.database)).toBe(done ? at.backedUp : at.old);
    expect(at.rig.journals).toEqual([]);
    expect(await settle(at)).toEqual([]);
    // And the same restore goes through afterwards.
    expect(await at.rig.restore(at.job)).toBe(0);
    expect(server.contentOf(at.database)).toBe(at.backedUp);
  },
);

test(
  `restoreBackup() of a PostgreSQL database that fails its proof afterwards puts the old one back${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    const onStep = (step: string): void => {
      if (step === "swapped") server.sql(at.database, "DELETE FROM risk.limits");
    };
    expect(await at.rig.restore(at.job, { onStep })).toBe(8);
    expect(at.rig.failure()?.reason).toContain("table risk.limits has 0 rows instead of 1");
    expect(server.contentOf(at.database)).toBe(at.old);
    expect(at.rig.journals).toEqual([]);
  },
);

test(
  `restoreBackup() of a PostgreSQL database names who is connected, and ends them with disconnect${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    await using client = await server.connect("postgres", at.database, "exporter");
    expect(client.exitCode).toBeNull();
    expect(await at.rig.restore(at.job)).toBe(3);
    expect(at.rig.failure()?.reason).toMatch(/^exporter of postgres \(backend \d+\) is connected to ledger/);
    expect(server.contentOf(at.database)).toBe(at.old);
    expect(await at.rig.restore({ ...at.job, disconnect: true })).toBe(0);
    expect(server.contentOf(at.database)).toBe(at.backedUp);
  },
);

test(
  `restoreBackup() of PostgreSQL makes a database that is not there, and refuses a role that may not${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    server.sql("postgres", `DROP DATABASE ${at.database}`);
    server.sql("postgres", `CREATE ROLE ${at.database}_poor LOGIN`);
    const poor = { ...at.job, target: { ...at.job.target, url: server.url(at.database, `${at.database}_poor`) } };
    expect(await at.rig.restore(poor as RestoreJob)).toBe(3);
    expect(at.rig.failure()?.reason).toContain("CREATEDB");
    expect(await at.rig.restore(at.job)).toBe(0);
    expect(server.contentOf(at.database)).toBe(at.backedUp);
  },
);

test(
  `restoreBackup() of PostgreSQL changes nothing when the backup is damaged or is not of such a database${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    const part = join(at.rig.stored("ledger").folder, "data.000");
    const bytes = readFileSync(part);
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    expect(await at.rig.restore(at.job)).toBe(4);
    expect(server.contentOf(at.database)).toBe(at.old);
    expect(at.rig.journals).toEqual([]);
    expect(await at.rig.restore({ ...at.job, target: at.rig.sqlite, from: at.job.from })).toBe(3);
  },
);

const tablesOf = (database: string): string =>
  server.sql(
    database,
    "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'",
  );

test(
  `restoreBackup() of a PostgreSQL table brings it back with indexes, constraints, sequence and what refers to it${WHY}`,
  SERVER,
  async () => {
    const at = await stage({ into: { kind: "tables", tables: ["trades", "fills"] }, bots: ["momentum"] });
    using _ = at.rig;
    server.sql(at.database, "DROP VIEW open_trades; DROP MATERIALIZED VIEW totals; DROP TABLE trades CASCADE");
    expect(await at.rig.restore(at.job)).toBe(0);
    server.sql(at.database, "DELETE FROM risk.limits WHERE symbol = 'bad'");
    expect(server.contentOf(at.database)).toBe(at.backedUp);
    expect(server.sql(at.database, "INSERT INTO trades (symbol, price) VALUES ('ETH', 1) RETURNING id")).toBe("61");
    expect(server.sql(at.database, "SELECT count(*) FROM pg_trigger WHERE tgname = 'touched'")).toBe("1");
    expect(existsSync(join(at.rig.stateDir, "bots", "momentum", "restored.json"))).toBe(true);
  },
);

test(
  `restoreBackup() of a PostgreSQL table that others refer to checks them anew, and changes nothing when they fail${WHY}`,
  SERVER,
  async () => {
    const at = await stage({ into: { kind: "tables", tables: ["trades"] } });
    using _ = at.rig;
    server.sql(at.database, "DROP VIEW open_trades; DROP MATERIALIZED VIEW totals");
    server.sql(
      at.database,
      "INSERT INTO trades (id, symbol, price) VALUES (900, 'BTC', 1); INSERT INTO fills (trade, quantity) VALUES (900, 1)",
    );
    const old = server.contentOf(at.database);
    expect(await at.rig.restore(at.job)).toBe(4);
    expect(at.rig.failure()?.reason).toContain('violates foreign key constraint "fills_trade_fkey"');
    expect(server.contentOf(at.database)).toBe(old);
    server.sql(at.database, "DELETE FROM fills");
    expect(await at.rig.restore(at.job)).toBe(0);
    expect(server.sql(at.database, "SELECT count(*) FROM trades")).toBe("60");
    expect(server.sql(at.database, "SELECT count(*) FROM pg_constraint WHERE conname = 'fills_trade_fkey'")).toBe("1");
  },
);

test(
  `restoreBackup() of a PostgreSQL table names what is in its way, or that the backup has no such table${WHY}`,
  SERVER,
  async () => {
    const at = await stage({ into: { kind: "tables", tables: ["trades"] } });
    using _ = at.rig;
    expect(await at.rig.restore(at.job)).toBe(4);
    expect(at.rig.failure()?.reason).toContain("cannot drop table");
    expect(await at.rig.restore({ ...at.job, into: { kind: "tables", tables: ["absent"] } })).toBe(3);
    expect(at.rig.lines.at(-1)).toMatchObject({
      reason: expect.stringContaining("no table absent; it has fills, risk.limits, trades"),
    });
    expect(server.contentOf(at.database)).toBe(at.old);
  },
);

test.each(["checked", "swapped"])(
  `restoreBackup() of a PostgreSQL table killed after %s leaves the old table or the new${WHY}`,
  SERVER,
  async (step) => {
    const at = await stage({ into: { kind: "tables", tables: ["fills"] }, bots: ["momentum"] });
    using _ = at.rig;
    server.sql(at.database, "DELETE FROM fills; DROP TABLE trades CASCADE");
    // Without what it refers to, it could not come back.
    const both: RestoreJob = { ...at.job, into: { kind: "tables", tables: ["trades", "fills"] } };
    expect(await at.rig.restoreAndDie(both, step)).toBe("SIGKILL");
    await settle(at);
    expect(tablesOf(at.database)).toBe(step === "swapped" ? "fills,trades" : "fills");
    expect(server.sql(at.database, "SELECT count(*) FROM fills")).toBe(step === "swapped" ? "60" : "0");
    expect(at.rig.journals).toEqual([]);
  },
);

test(
  `restoreBackup() of a PostgreSQL table keeps its bots careful when it cannot clear up behind itself${WHY}`,
  SERVER,
  async () => {
    const at = await stage({ into: { kind: "tables", tables: ["trades", "fills"] }, bots: ["momentum"] });
    using _ = at.rig;
    server.sql(at.database, "DELETE FROM fills; DROP TABLE trades CASCADE");
    const template = (is: boolean, like: string): string =>
      server.sql("postgres", `UPDATE pg_database SET datistemplate = ${is} WHERE datname LIKE '${like}'`);
    let scratch = "";
    const onStep = (step: string): void => {
      if (step !== "swapped") return;
      const [journal = ""] = at.rig.journals;
      const text = readFileSync(join(at.rig.stateDir, "backups", "restores", journal), "utf8");
      scratch = restoreJournalSchema.parse(JSON.parse(text)).databases?.scratch ?? "";
      // Such a database cannot be dropped.
      template(true, scratch);
    };
    expect(await at.rig.restore(at.job, { onStep })).toBe(9);
    expect(at.rig.failure()?.reason).toContain("the restored data is in its place, but what is left to do failed");
    expect(server.sql(at.database, "SELECT count(*) FROM fills")).toBe("60");
    template(false, scratch);
    await settle(at);
    expect(at.rig.journals).toEqual([]);
    expect(server.databases()).not.toContain(scratch);
    expect(existsSync(join(at.rig.stateDir, "bots", "momentum", "restored.json"))).toBe(true);
  },
);

test(
  `restoreBackup() reads dumps of older tools, and refuses a script that leaves its database${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    const dump = (name: string, ...options: readonly string[]): string => {
      const file = join(at.rig.folder, name);
      const [, pack] = /\.(gz)$/.exec(name) ?? [];
      const bytes = execFileSync(server.program("pg_dump"), [
        "-h",
        server.folder,
        "-U",
        "postgres",
        ...options,
        at.database,
      ]);
      writeFileSync(file, pack === undefined ? bytes : Bun.gzipSync(new Uint8Array(bytes)));
      return file;
    };
    const files = [dump("postgres_backup_20250101_020000.sql.gz"), dump("ledger.dump", "-Fc"), dump("old.dump", "-Ft")];
    const elsewhere = dump("whole.sql", "-C");
    for (const path of files) {
      server.sql(at.database, "DROP TABLE fills; DELETE FROM trades");
      expect(await at.rig.restore({ ...at.job, from: { kind: "file", path } })).toBe(0);
      expect(server.contentOf(at.database)).toBe(at.old);
    }
    expect(await at.rig.restore({ ...at.job, from: { kind: "file", path: elsewhere } })).toBe(4);
    expect(at.rig.lines.at(-1)).toMatchObject({ reason: expect.stringContaining("leads out of the database") });
    expect(server.contentOf(at.database)).toBe(at.old);
  },
);

test(
  `exportBackup() writes a PostgreSQL backup as a dump and as statements, and --to as a file${WHY}`,
  SERVER,
  async () => {
    const at = await stage();
    using _ = at.rig;
    const { stateDir: __, socket: ___, bots: ____, into: _____, disconnect: ______, ...common } = at.job;
    const [dump, script] = [join(at.rig.folder, "x.dump"), join(at.rig.folder, "x.sql.gz")];
    for (const file of [dump, script])
      expect(await exportBackup(exportJobSchema.parse({ ...common, file }), { write: () => undefined })).toBe(0);
    expect(readFileSync(dump).toString("latin1", 0, 5)).toBe("PGDMP");
    expect(gunzipSync(readFileSync(script)).toString()).toContain("CREATE TABLE risk.limits");
    const path = join(at.rig.folder, "out");
    expect(await at.rig.restore({ ...at.job, into: { kind: "folder", path } })).toBe(0);
    expect(readFileSync(join(path, "database.dump"))).toEqual(readFileSync(dump));
  },
);
