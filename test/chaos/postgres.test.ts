/** PostgreSQL on the compiled binary: the daemon archives WAL and ends what a kill has broken off on the server, before any bot starts. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BackRestServer, missing as noBackRest, WHY as WHY_BACKREST } from "../actions/backup/pgbackrest-rig.ts";
import { missing, PgServer, WHY } from "../actions/backup/postgres-rig.ts";
import { S3Server } from "../harness/s3-server.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const DIE = join(import.meta.dirname, "..", "fixtures", "restore-and-die.ts");
const SERVER = { concurrent: true, skip: missing !== undefined, timeout: 180_000 };

function configOf(url: string, more: object = {}) {
  return {
    backups: {
      stores: { local: { kind: "directory", path: "store" } },
      targets: { ledger: { kind: "postgres", url, bots: ["bot"], ...more } },
    },
  };
}

const idsIn = (rig: Rig, kind: string): readonly string[] =>
  readdirSync(rig.path("store/ledger")).filter((name) => name.startsWith(`ledger-${kind}-`));

test(
  `a restore of PostgreSQL that was killed amid the exchange is taken back on the server before the bot starts${WHY}`,
  SERVER,
  async () => {
    await using server = new PgServer();
    await server.start();
    const database = server.makeDatabase(30);
    await using rig = new Rig({ bots: { bot: { command: STAY } }, config: configOf(server.url(database)) });
    expect(await rig.cli("backup", "run", "ledger")).toMatchObject({ code: 0 });
    server.sql(database, "DELETE FROM fills");
    const old = server.contentOf(database);
    const [id = ""] = idsIn(rig, "full");
    const job = {
      version: 1,
      target: { kind: "postgres", name: "ledger", url: server.url(database) },
      from: { kind: "backup", folder: rig.path("store"), id },
      into: { kind: "live" },
      bots: ["bot"],
      stateDir: rig.state(""),
      socket: rig.state("run/control.sock"),
    };
    const worker = Bun.spawn([process.execPath, DIE, "swapped"], {
      stdin: Buffer.from(JSON.stringify(job)),
      stdout: "ignore",
    });
    await worker.exited;
    expect(worker.signalCode).toBe("SIGKILL");
    expect(server.contentOf(database)).not.toBe(old);
    // While the server does not answer, nobody knows which database it is.
    await server.stop();
    await rig.run();
    expect((await rig.bot()).state).toBe("stopped");
    await server.start();
    await rig.botUntil("it runs", ({ state }) => state === "running", 60_000);
    expect(server.contentOf(database)).toBe(old);
    expect(server.databases()).toEqual([database, "postgres"]);
    const table = await rig.cli("restore", "ledger", "--table", "fills", "--yes");
    expect(table).toMatchObject({ code: 0 });
    expect(server.sql(database, "SELECT count(*) FROM fills")).toBe("30");
  },
);

test(`the daemon archives WAL, and the binary recovers to an instant in a new folder${WHY}`, SERVER, async () => {
  await using server = new PgServer();
  await server.start();
  const database = server.makeDatabase(30);
  await using s3 = await S3Server.start();
  const { endpoint, bucket, prefix, region, accessKeyId, secretAccessKey } = s3.settings();
  const config = configOf(server.url(database), { pitr: true });
  const keys = { accessKeyIdEnv: "S3_ID", secretAccessKeyEnv: "S3_SECRET" };
  Object.assign(config.backups.stores, { offsite: { kind: "s3", endpoint, bucket, prefix, region, ...keys } });
  const env = { S3_ID: accessKeyId, S3_SECRET: secretAccessKey };
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config, env });
  expect(await rig.cli("config", "check", "--online")).toMatchObject({
    code: 0,
    out: expect.stringContaining("the target ledger can be backed up"),
  });
  expect(await rig.cli("backup", "run", "ledger")).toMatchObject({ code: 0 });
  expect([idsIn(rig, "full").length, idsIn(rig, "base").length]).toEqual([1, 1]);
  await rig.run();
  const wal = rig.path("store/ledger/wal");
  await until(
    "WAL is received",
    () => existsSync(join(wal, "incoming")) && readdirSync(join(wal, "incoming")).length > 0,
    60_000,
  );
  server.sql(database, "UPDATE trades SET price = 5");
  const at = new Date(Date.now() + 1).toISOString();
  await until("that instant is over", () => Date.now() > Date.parse(at) + 1, 60_000);
  server.sql(database, "DROP TABLE trades CASCADE; SELECT pg_switch_wal()");
  await until("a segment is archived", () => readdirSync(wal).some((name) => /^[0-9A-F]{24}$/.test(name)), 60_000);
  const status = JSON.parse((await rig.cli("status", "--json")).out);
  expect(status.backups[0].wal.slotRetainedBytes).toBeGreaterThanOrEqual(0);
  expect(status.backups[0].wal).toMatchObject({ gaps: 0, lagBytes: expect.any(Number) });
  expect(status.backups[0]).toMatchObject({ full: { full: { shrunk: false }, base: { shrunk: false } } });
  expect(status.backups[0].stored).toMatchObject({ freeBytes: expect.any(Number), tiers: { hourly: 2 } });
  const done = await rig.cli("restore", "ledger", "--at", at, "--to", "recovered");
  expect(done).toMatchObject({ code: 0 });
  expect(done.out).toMatch(/RPO.*RTO/);
  await using recovered = await PgServer.on(rig.path("recovered"));
  expect(recovered.sql(database, "SELECT count(*), sum(price) FROM trades")).toBe("30|150");
  expect((await rig.cli("restore", "ledger", "--at", "1d", "--to", "nowhere")).code).toBe(10);
  // The disk with all of that is lost; the bucket alone leads to the same instant.
  const segment = status.backups[0].wal.lastSegment ?? readdirSync(wal).find((name) => /^[0-9A-F]{24}$/.test(name));
  await until(
    "the segment is in the bucket",
    () => s3.keys(/manifest\.json$/).some((key) => key.includes(segment)),
    60_000,
  );
  rmSync(rig.path("store"), { recursive: true });
  const drilled = await rig.cli("drill", "ledger", "--store", "offsite");
  expect(drilled).toMatchObject({ code: 0, out: expect.stringMatching(/^ledger to an instant .*: restored$/m) });
  const again = await rig.cli("restore", "ledger", "--store", "offsite", "--at", at, "--to", "elsewhere");
  expect(again).toMatchObject({ code: 0 });
  await using elsewhere = await PgServer.on(rig.path("elsewhere"));
  expect(elsewhere.sql(database, "SELECT count(*), sum(price) FROM trades")).toBe("30|150");
  // Whose server is gone does not show the lag of before.
  await server.stop("SIGKILL");
  await until("nobody knows the lag", async () => (await rig.status()).backups[0]?.wal?.lagBytes === null, 60_000);
});

test(
  `pgBackRest makes the bases: checked, made, listed, proven and restored by the binary${WHY_BACKREST}`,
  { ...SERVER, skip: noBackRest !== undefined },
  async () => {
    await using server = new BackRestServer();
    await server.archiving();
    const database = server.makeDatabase(30);
    const { stanza, config } = server.settings;
    const target = { pitr: true, engine: "pgbackrest", pgbackrest: { stanza, config } };
    await using rig = new Rig({ bots: { bot: { command: STAY } }, config: configOf(server.url(database), target) });
    expect(await rig.cli("config", "check", "--online")).toMatchObject({
      code: 2,
      err: expect.stringContaining("missing stanza path; pgbackrest stanza-create makes one"),
    });
    server.backRest("stanza-create");
    expect(await rig.cli("config", "check", "--online")).toMatchObject({ code: 0 });
    expect(await rig.cli("backup", "run", "ledger")).toMatchObject({ code: 0 });
    const { backups } = JSON.parse((await rig.cli("backup", "list", "--json")).out);
    const listed = backups.find(({ id }: { id: string }) => id.includes("-base-"));
    expect(listed).toMatchObject({ kind: "postgres", proven: "L1", state: "verified" });
    // Those of the server, and not of its description.
    expect(listed.rawBytes).toBeGreaterThan(1_024 ** 2);
    expect(await rig.cli("backup", "verify", "ledger", "--level", "L2", "--id", listed.id)).toMatchObject({ code: 0 });
    await until("its instant is over", () => Date.now() > Date.parse(listed.snapshotAt), 60_000);
    server.sql(database, "UPDATE trades SET price = 5");
    const at = new Date(Date.now() + 1).toISOString();
    await until("that instant is over", () => Date.now() > Date.parse(at) + 1, 60_000);
    server.sql(database, "DROP TABLE trades CASCADE; SELECT pg_switch_wal()");
    const done = await rig.cli("restore", "ledger", "--at", at, "--to", "recovered");
    expect([done.code, done.err]).toEqual([0, ""]);
    await using recovered = await PgServer.on(rig.path("recovered"));
    expect(recovered.sql(database, "SELECT count(*), sum(price) FROM trades")).toBe("30|150");
  },
);
