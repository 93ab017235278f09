/** Restores of PostgreSQL databases by their owners, who are no superusers: what they may, and what they are told that they lack. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { RestoreJob } from "../../../src/core/restore-job.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const SERVER = { concurrent: true, skip: missing !== undefined, timeout: 120_000 };
const server = new PgServer();

beforeAll(async () => {
  if (missing === undefined) await server.start();
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

test(`restoreBackup() of PostgreSQL needs no more than an owner who may make databases${WHY}`, SERVER, async () => {
  using rig = new PgRig();
  server.sql("postgres", "CREATE ROLE plain LOGIN CREATEDB");
  server.sql("postgres", "CREATE DATABASE plainly OWNER plain");
  server.sql("plainly", "SET ROLE plain; CREATE TABLE trades (id int PRIMARY KEY); INSERT INTO trades VALUES (1), (2)");
  const backedUp = server.contentOf("plainly");
  const target = { kind: "postgres", name: "ledger", url: server.url("plainly", "plain") } as const;
  expect(await rig.backUp(rig.job(target))).toBe(0);
  const places: readonly RestoreJob["into"][] = [{ kind: "live" }, { kind: "tables", tables: ["trades"] }];
  for (const into of places) {
    server.sql("plainly", "DELETE FROM trades");
    expect([await rig.restore(rig.restoreJob(target, { into })), rig.failure()?.reason]).toEqual([0, undefined]);
    expect(server.contentOf("plainly")).toBe(backedUp);
  }
});

test(
  `restoreBackup() of PostgreSQL by its owner names the sessions of other roles, and ends those that it may${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    server.sql("postgres", "CREATE ROLE careful LOGIN CREATEDB; CREATE ROLE watcher LOGIN");
    server.sql("postgres", "CREATE DATABASE watched OWNER careful");
    server.sql("watched", "SET ROLE careful; CREATE TABLE trades (id int PRIMARY KEY); INSERT INTO trades VALUES (1)");
    const backedUp = server.contentOf("watched");
    const target = { kind: "postgres", name: "ledger", url: server.url("watched", "careful") } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    server.sql("watched", "DELETE FROM trades");
    const old = server.contentOf("watched");
    await using metrics = await server.connect("watcher", "watched", "metrics");
    expect(metrics.exitCode).toBeNull();
    expect(await rig.restore(rig.restoreJob(target))).toBe(3);
    expect(rig.failure()?.reason).toMatch(/^metrics of watcher \(backend \d+\) is connected to watched; end it/);
    expect(await rig.restore(rig.restoreJob(target, { disconnect: true }))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({
      reason: expect.stringContaining('GRANT pg_signal_backend TO "careful"'),
    });
    expect(server.contentOf("watched")).toBe(old);
    server.sql("postgres", "GRANT pg_signal_backend TO careful");
    await using own = await server.connect("careful", "watched", "own");
    expect(own.exitCode).toBeNull();
    expect(await rig.restore(rig.restoreJob(target, { disconnect: true }))).toBe(0);
    expect(server.contentOf("watched")).toBe(backedUp);
  },
);

test(
  `restoreBackup() of PostgreSQL keeps a database in its tablespace, and names the right that is missing for it${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const space = join(server.folder, "spare");
    mkdirSync(space);
    server.give(space);
    server.sql("postgres", "CREATE ROLE placed LOGIN CREATEDB");
    server.sql("postgres", `CREATE TABLESPACE spare LOCATION '${space}'`);
    server.sql("postgres", "CREATE DATABASE elsewhere OWNER placed TABLESPACE spare");
    server.sql("elsewhere", "SET ROLE placed; CREATE TABLE trades (id int PRIMARY KEY); INSERT INTO trades VALUES (1)");
    const target = { kind: "postgres", name: "ledger", url: server.url("elsewhere", "placed") } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    expect(await rig.restore(rig.restoreJob(target))).toBe(3);
    expect(rig.failure()?.reason).toContain('GRANT CREATE ON TABLESPACE "spare" TO "placed"');
    server.sql("postgres", "GRANT CREATE ON TABLESPACE spare TO placed");
    expect(await rig.restore(rig.restoreJob(target))).toBe(0);
    const where = "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace";
    expect(server.sql("postgres", `${where} WHERE datname = 'elsewhere'`)).toBe("spare");
  },
);
