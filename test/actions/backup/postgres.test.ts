/** Backups of a real PostgreSQL server; skipped with the reason where it is not installed. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pgObstacle } from "../../../src/actions/backup/pg-check.ts";
import { postgresProver } from "../../../src/actions/backup/postgres.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { postgresProgram } from "../../../src/platform/postgres-tools.ts";
import { until } from "./postgres-receiver.ts";
import { missing, PASSWORD, PgRig, PgServer, WHY } from "./postgres-rig.ts";

/** They wait for their servers more than they work. */
const SERVER = { concurrent: true, skip: missing !== undefined, timeout: 120_000 };
const FIXTURE = join(import.meta.dirname, "..", "..", "fixtures", "backup-and-die.ts");
const server = new PgServer();

beforeAll(async () => {
  if (missing !== undefined) return;
  await server.start();
  server.sql("postgres", `CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '${PASSWORD.replace("'", "''")}'`);
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

async function* raw(some: Uint8Array): AsyncGenerator<Uint8Array> {
  yield some;
}

const verify = (rig: PgRig, level: "L0" | "L1" | "L2", identity?: string) => {
  const { folder, manifest } = rig.stored("ledger");
  return verifyBackup({ folder, manifest, level, scratch: rig.folder, identity, clock: systemClock });
};

test(
  `makeBackup() of a PostgreSQL database counts the rows of its snapshot and stands every level${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(300);
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    expect(await rig.backUp(rig.job(server.target(database), { verify: "L2", recipients, identity }))).toBe(0);
    const { manifest } = rig.stored("ledger");
    expect(manifest).toMatchObject({
      type: "postgres",
      kind: "full",
      raw: { name: "database.dump" },
      content: { tables: { trades: 300, fills: 300, "risk.limits": 1 } },
      engine: { name: "PostgreSQL", database, encoding: "UTF8" },
    });
    for (const level of ["L0", "L1", "L2"] as const)
      expect(await verify(rig, level, identity)).toMatchObject({ ok: true, detail: null });
    expect(rig.leftovers).toEqual([]);
  },
);

test(`makeBackup() of a PostgreSQL database holds one instant while others write${WHY}`, SERVER, async () => {
  using rig = new PgRig();
  const database = server.makeDatabase(1_000);
  const writer = Bun.spawn({
    cmd: [server.program("psql"), "-X", "-q", "-h", server.folder, "-U", "postgres", "-d", database],
    stdin: Buffer.from("INSERT INTO trades (symbol, price) VALUES ('ETH', 1);\n".repeat(20_000)),
    stdout: "ignore",
  });
  try {
    // L2 compares what was restored with what was counted.
    expect(await rig.backUp(rig.job(server.target(database), { verify: "L2" }))).toBe(0);
  } finally {
    writer.kill("SIGKILL");
    await writer.exited;
  }
});

test(
  `makeBackup() of a PostgreSQL database takes a password that is nowhere in what is stored or said${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(5);
    const target = { kind: "postgres", name: "ledger", url: server.url(database, "keeper") } as const;
    expect(await rig.backUp(rig.job({ ...target, password: "wrong" }))).toBe(3);
    expect(rig.failure()?.reason).toContain("password authentication failed");
    expect(await rig.backUp(rig.job(target))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({
      stage: "source",
      reason: expect.stringContaining("no password supplied"),
    });
    expect(await rig.backUp(rig.job({ ...target, password: PASSWORD }))).toBe(0);
    expect(JSON.stringify([rig.lines, rig.stored("ledger").manifest])).not.toContain(PASSWORD);
  },
);

test(
  `makeBackup() of a PostgreSQL database says why, and leaves nothing, when there is no server, no database, or pg_dump fails${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const nowhere = { kind: "postgres", name: "ledger", url: `postgres://postgres@/x?host=${rig.folder}` } as const;
    expect(await rig.backUp(rig.job(nowhere))).toBe(3);
    expect(rig.failure()?.reason).toContain("connection to server on socket");
    expect(await rig.backUp(rig.job(server.target("absent")))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({ reason: expect.stringContaining('database "absent" does not exist') });
    const database = server.makeDatabase(5);
    // Who may count the rows may not read the large object that the dump wants.
    server.sql("postgres", `CREATE ROLE poor LOGIN`);
    server.sql(database, "GRANT SELECT ON trades, fills, risk.limits TO poor; GRANT USAGE ON SCHEMA risk TO poor");
    server.sql(database, "SELECT lo_from_bytea(0, 'x')");
    const poor = { kind: "postgres", name: "ledger", url: server.url(database, "poor") } as const;
    expect(await rig.backUp(rig.job(poor))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({
      stage: "source",
      reason: expect.stringContaining("pg_dump ended with 1"),
    });
    expect(rig.repository("ledger").list().backups).toEqual([]);
    expect(rig.leftovers).toEqual([]);
  },
);

test.each(["captured", "stored", "published"])(
  `makeBackup() of a PostgreSQL database killed after %s leaves whole backups only, and no session${WHY}`,
  SERVER,
  async (step) => {
    using rig = new PgRig();
    const job = rig.job(server.target(server.makeDatabase(20)));
    const died = Bun.spawnSync([process.execPath, FIXTURE, JSON.stringify(job), step], { stdout: "ignore" });
    expect(died.signalCode).toBe("SIGKILL");
    const { backups, damaged } = rig.repository("ledger").list();
    expect([backups.length, damaged.length]).toEqual([step === "published" ? 1 : 0, 0]);
    expect(await rig.backUp(rig.job(job.target, { verify: "L2" }))).toBe(0);
    expect(rig.leftovers).toEqual([]);
    const sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'supervisor'";
    await until("its sessions have ended", () => server.sql("postgres", sessions) === "0");
  },
);

test(
  `postgresProver finds a dump that is cut off, a flipped byte, and rows that are not there${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(50);
    expect(await rig.backUp(rig.job(server.target(database), { compress: "none" }))).toBe(0);
    const { folder, manifest } = rig.stored("ledger");
    const bytes = readFileSync(join(folder, "data.000"));
    await postgresProver.parse(raw(bytes), manifest);
    await expect(postgresProver.parse(raw(bytes.subarray(0, bytes.length * 0.6)), manifest)).rejects.toThrow(
      "pg_restore ended with",
    );
    const tables = { ...manifest.content.tables, trades: 51 };
    const scratch = join(rig.folder, "scratch");
    mkdirSync(scratch);
    const more = { ...manifest, content: { ...manifest.content, tables } };
    await expect(postgresProver.prove(raw(bytes), more, scratch, undefined)).rejects.toThrow(
      "table trades has 50 rows instead of 51",
    );
    const flipped = Buffer.from(bytes);
    const middle = Math.floor(flipped.length / 2);
    flipped[middle] = (flipped[middle] ?? 0) ^ 1;
    writeFileSync(join(folder, "data.000"), flipped);
    for (const level of ["L0", "L1", "L2"] as const) expect(await verify(rig, level)).toMatchObject({ ok: false });
    appendFileSync(join(folder, "data.000"), "x");
    expect(await verify(rig, "L0")).toMatchObject({ ok: false });
  },
);

test("postgresProgram() takes the version of the server or the next newer one, and says what to install", () => {
  using rig = new PgRig();
  const folders = [13, 16, 17].map((major) => {
    const folder = join(rig.folder, String(major));
    mkdirSync(folder);
    writeFileSync(join(folder, "pg_dump"), "");
    return { folder, major };
  });
  expect(postgresProgram("pg_dump", 13, folders)).toBe(join(rig.folder, "13", "pg_dump"));
  expect(postgresProgram("pg_dump", 15, folders)).toBe(join(rig.folder, "16", "pg_dump"));
  expect(() => postgresProgram("pg_dump", 18, folders)).toThrow(
    "pg_dump of PostgreSQL 18 or newer is not installed (there is 13, 16, 17); install postgresql-client-18",
  );
});

test(`pgObstacle() names what keeps a target from being backed up, or followed${WHY}`, SERVER, async () => {
  const database = server.makeDatabase(1);
  server.sql("postgres", "CREATE ROLE plain LOGIN");
  const plain = { url: server.url(database, "plain") };
  expect(await pgObstacle(plain, { pitr: false })).toBe(undefined);
  expect(await pgObstacle(plain, { pitr: true })).toContain("REPLICATION");
  expect(await pgObstacle({ url: server.url(database) }, { pitr: true })).toBe(undefined);
  await expect(pgObstacle({ url: server.url("absent") }, { pitr: false })).rejects.toThrow("does not exist");
});
