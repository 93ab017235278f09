/** Runs of the schedule on a real PostgreSQL server that nobody writes to; skipped with the reason where it is not installed. */
import { cpSync, rmSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { postgresSource } from "../../../src/actions/backup/postgres.ts";
import { markOf } from "../../../src/actions/backup/source-mark.ts";
import { until } from "./postgres-receiver.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

/** The server itself writes a few records after whatever was done, and a dump may tidy pages up. */
const DEADLINE_MS = 60_000;
const server = new PgServer();

beforeAll(async () => {
  // A vacuum of the server's own, at whatever time, is a change as any other.
  if (missing === undefined) await server.start(["autovacuum=off"]);
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

test(
  `makeBackup() of the schedule copies no PostgreSQL database that nobody has written to, and each that somebody has${WHY}`,
  { skip: missing !== undefined, timeout: 240_000 },
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(50);
    server.sql("postgres", "CREATE DATABASE other");
    server.sql(database, "CREATE SEQUENCE orders_sent; SELECT nextval('orders_sent')");
    const count = async (): Promise<number> => {
      expect(await rig.backUp(rig.job(server.target(database), { trigger: "schedule" }))).toBe(0);
      return rig.repository("ledger").list().backups.length;
    };
    /** The server itself writes a few records after whatever was done, and a dump may tidy pages up. */
    const settle = async (): Promise<number> => {
      const deadline = Date.now() + DEADLINE_MS;
      for (let last = await count(); Date.now() < deadline;) {
        const before = last;
        last = await count();
        if (last === before) return last;
      }
      throw new Error("each run copies the database again");
    };
    const idle = await settle();
    expect(rig.lines.at(-1)).toMatchObject({ kind: "unchanged", level: "L1" });
    const lsn = (): string => server.sql(database, "SELECT pg_current_wal_insert_lsn()");
    // Most values of a sequence are given out without WAL, and yet a restore of before would give the same again.
    const silent = Array.from({ length: 10 }, () => {
      const before = lsn();
      server.sql(database, "SELECT nextval('orders_sent')");
      return lsn() === before;
    });
    expect(silent).toContain(true);
    expect(await count()).toBe(idle + 1);
    const numbered = await settle();
    server.sql(database, "UPDATE trades SET price = price WHERE id = 1");
    expect(await count()).toBe(numbered + 1);
    await settle();
    server.sql(database, "CREATE UNLOGGED TABLE notes (text text)");
    const unlogged = await count();
    expect([await count(), await count()]).toEqual([unlogged + 1, unlogged + 2]);
  },
);

/** What the mark is made of, but for the end of the WAL, which a record of the server's own may move as well. */
async function factsBesideWal(at: PgServer, database: string): Promise<object> {
  const facts = await postgresSource({ url: at.url(database) }).facts?.(new Date());
  if (facts === undefined) throw new Error("there is no mark");
  return { ...facts, lsn: null, segment: null };
}

test(
  `postgresSource() sees a commit that was in the WAL before, and waited for a standby until somebody could see its rows${WHY}`,
  { skip: missing !== undefined, timeout: 120_000 },
  async () => {
    const database = server.makeDatabase(5);
    server.sql(database, "ALTER SYSTEM SET synchronous_standby_names = 'away'");
    server.sql(database, "SELECT pg_reload_conf()");
    const price = (): number => Number(server.sql(database, "SELECT price FROM trades WHERE id = 1"));
    const commit = () =>
      Bun.spawn({
        cmd: [server.program("psql"), server.url(database), "-Xqc", "UPDATE trades SET price = price + 1 WHERE id = 1"],
        stdio: ["ignore", "ignore", "ignore"],
      });
    let update = commit();
    try {
      await until("it waits", () => {
        // The server takes the setting up in its own time.
        if (update.exitCode !== null) update = commit();
        return server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") === "1";
      });
      const [seen, before] = [price(), await factsBesideWal(server, database)];
      expect([price(), await factsBesideWal(server, database)]).toEqual([seen, before]);
      server.sql(database, "ALTER SYSTEM RESET synchronous_standby_names");
      server.sql(database, "SELECT pg_reload_conf()");
      expect(await update.exited).toBe(0);
      expect(price()).toBe(seen + 1);
      expect(await factsBesideWal(server, database)).not.toEqual(before);
    } finally {
      update.kill("SIGKILL");
    }
  },
);

test(
  `postgresSource() tells a server that was put back from a copy from what it was, as far as its WAL may have come again${WHY}`,
  { skip: missing !== undefined, timeout: 120_000 },
  async () => {
    await using other = new PgServer();
    await other.start(["autovacuum=off"]);
    const database = other.makeDatabase(5);
    await other.stop();
    const copy = `${other.data}-copy`;
    cpSync(other.data, copy, { recursive: true });
    const from = async (price: number): Promise<object> => {
      other.give(other.data);
      await other.start(["autovacuum=off"]);
      other.sql(database, `UPDATE trades SET price = ${price} WHERE id = 1`);
      const facts = await factsBesideWal(other, database);
      await other.stop("SIGQUIT");
      return facts;
    };
    const before = await from(1001);
    rmSync(other.data, { recursive: true });
    cpSync(copy, other.data, { recursive: true });
    expect(await from(2002)).not.toEqual(before);
  },
);

test(
  `markOf() has none of a PostgreSQL database whose role may not ask for the last checkpoint${WHY}`,
  { skip: missing !== undefined, timeout: 120_000 },
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(5);
    const job = rig.job(server.target(database));
    const mark = (): Promise<string | undefined> =>
      markOf(job, postgresSource({ url: server.url(database, "modest") }), new Date());
    server.sql(database, "CREATE ROLE modest LOGIN");
    expect(await mark()).toMatch(/^[0-9a-f]{64}$/);
    server.sql(database, "REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM PUBLIC");
    expect(await mark()).toBeUndefined();
  },
);
