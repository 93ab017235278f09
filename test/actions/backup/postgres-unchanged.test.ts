/** Runs of the schedule on a real PostgreSQL server that nobody writes to; skipped with the reason where it is not installed. */
import { afterAll, beforeAll, expect, test } from "vitest";
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
