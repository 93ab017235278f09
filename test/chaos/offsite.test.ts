/** Copies in a bucket on the compiled binary: sent by hand and by the daemon, and all that is left when the folder is lost. */
import { createHash } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { Database } from "bun:sqlite";
import { expect, test } from "vitest";
import { makeCertificates } from "../harness/certificates.ts";
import { S3Server } from "../harness/s3-server.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

/** Of long ago, and not due again in the middle of a test. */
const YEARLY = "0 0 1 1 *";

function rigWith(s3: S3Server, target: object = {}, more: object = {}, store: object = {}): Rig {
  const { endpoint, bucket, prefix, region, accessKeyId, secretAccessKey } = s3.settings();
  const offsite = {
    kind: "s3",
    endpoint,
    bucket,
    prefix,
    region,
    accessKeyIdFile: "s3.id",
    secretAccessKeyEnv: "S3_SECRET",
    ...store,
  };
  const stores = { local: { kind: "directory", path: "store" }, offsite };
  const targets = { state: { kind: "sqlite", path: "bot.db", ...target }, conf: { kind: "files", paths: ["notes"] } };
  const rig = new Rig({
    bots: { bot: { command: STAY } },
    config: { backups: { stores, targets, ...more } },
    env: { S3_SECRET: secretAccessKey },
  });
  rig.write("s3.id", `${accessKeyId}\n`);
  rig.write("notes", "n");
  return rig;
}

function trade(rig: Rig, orders: number): void {
  using database = new Database(rig.path("bot.db"));
  database.exec("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, note TEXT)");
  for (let n = 0; n < orders; n += 1) database.query("INSERT INTO orders (note) VALUES (hex(randomblob(40)))").run();
}

/** Over all rows, as another program reads them. */
function rowsOf(path: string): string {
  const { stdout } = Bun.spawnSync(["sqlite3", path, "SELECT * FROM orders ORDER BY id"]);
  return createHash("sha256").update(stdout).digest("hex");
}

test.concurrent("what was copied comes back by row when database and backups are lost", async () => {
  await using s3 = await S3Server.start();
  await using rig = rigWith(s3);
  trade(rig, 200);
  expect((await rig.cli("backup", "run", "state")).code).toBe(0);
  trade(rig, 20);
  expect((await rig.cli("backup", "run", "state", "--incremental")).out).toMatch(/delta.*copied to offsite/);
  const rows = rowsOf(rig.path("bot.db"));
  for (const name of ["store", "bot.db", "bot.db-wal", "bot.db-shm"])
    rmSync(rig.path(name), { recursive: true, force: true });
  expect((await rig.cli("restore", "state", "--yes")).code).not.toBe(0);
  const restored = await rig.cli("restore", "state", "--store", "offsite", "--yes");
  expect(restored).toMatchObject({ code: 0, err: "" });
  expect(rowsOf(rig.path("bot.db"))).toBe(rows);
  // What the drill of the same copies finds, an auditor reads.
  expect((await rig.cli("backup", "run", "conf")).code).toBe(0);
  const drilled = await rig.cli("drill", "all", "--store", "offsite");
  expect(drilled.code).toBe(0);
  expect(drilled.out).toMatch(
    /^drill .*: PASSED\n[\s\S]*bucket vault at http[\s\S]*tables: 1, rows: 220; as when it was made/,
  );
  expect(await rig.cli("drill", "--last")).toMatchObject({ code: 0, out: drilled.out });
  expect(readdirSync(rig.state("backups/scratch"))).toEqual([]);
  expect(`${restored.out}${rig.read(".supervisor/backups/state@offsite.json")}`).not.toContain(
    s3.settings().secretAccessKey,
  );
});

test.concurrent("backup list says of each backup why it is kept and in which buckets it lies since when, of copies too", async () => {
  await using s3 = await S3Server.start();
  await using rig = rigWith(s3);
  trade(rig, 20);
  const begun = new Date().toISOString();
  expect((await rig.cli("backup", "run", "state")).code).toBe(0);
  const tiers = ["hourly", "daily", "weekly", "monthly"];
  const [here, there] = JSON.parse((await rig.cli("backup", "list", "state", "--json")).out).backups;
  const common = { id: here.id, kind: "sqlite", keep: true, reason: "newest of its hour", tiers };
  expect(there).toMatchObject({ ...common, store: "offsite", copies: null, createdAt: here.createdAt });
  const { copiedAt } = there;
  expect(here).toMatchObject({ ...common, store: "local", state: "replicated", copiedAt: null });
  expect(here.copies).toEqual([{ store: "offsite", copiedAt, ok: true }]);
  expect(begun <= here.createdAt && here.createdAt <= copiedAt).toBe(true);
  const [, row, copy] = (await rig.cli("backup", "list", "state")).out.split("\n");
  expect(row).toMatch(new RegExp(` local .* hourly, daily, weekly, monthly  copied to offsite at ${copiedAt}$`));
  expect(copy).toMatch(new RegExp(` offsite .* hourly, daily, weekly, monthly  copied at ${copiedAt}$`));
  // Who asks for one store is told of no other.
  const [alone] = JSON.parse((await rig.cli("backup", "list", "state", "--store", "local", "--json")).out).backups;
  expect(alone).toMatchObject({ state: "verified", copies: null });
});

test.concurrent("the daemon copies what it has made, goes on when the bucket comes back, and says what is missing", async () => {
  await using s3 = await S3Server.start();
  await using rig = rigWith(s3, { schedule: YEARLY, stores: ["local", "offsite"] });
  trade(rig, 20);
  s3.fail(403, "PUT", /manifest\.json/);
  await rig.run();
  const offsite = async () =>
    (await rig.status()).backups.find(({ target, store }) => target === "state" && store === "offsite");
  const failed = await until(
    "the copy has failed",
    async () => {
      const entry = await offsite();
      return (entry?.lastError ?? null) !== null ? entry : undefined;
    },
    60_000,
  );
  expect(failed).toMatchObject({ lastSuccessAt: null, failures: 1, overdue: false });
  expect(failed?.copies?.pendingBytes).toBeGreaterThan(0);
  expect(failed?.lastError).toMatch(/^remote: cannot write .*AccessDenied/);
  // The daemon may be at it again by itself.
  await until("it is copied", async () => (await rig.cli("backup", "copy", "state")).code === 0, 90_000);
  expect(await offsite()).toMatchObject({ lastError: null, copies: { pendingBytes: 0, backups: 1 } });
});

test.concurrent("the daemon does the drill that its schedule missed, from the bucket, and shows it", async () => {
  await using s3 = await S3Server.start();
  await using rig = rigWith(s3);
  trade(rig, 20);
  expect((await rig.cli("backup", "run")).code).toBe(0);
  // The schedule counts since long ago, so that a drill is due.
  const record = { version: 1, since: "2020-01-01T00:00:00Z", last: null, lastSuccessAt: null, failuresInRow: 0 };
  rig.write(".supervisor/backups/drill.json", JSON.stringify(record));
  await rig.run();
  const drilled = await until(
    "the drill is done",
    async () => {
      const { drill } = await rig.status();
      return (drill?.lastAt ?? null) === null ? undefined : drill;
    },
    90_000,
  );
  expect(drilled).toMatchObject({ ok: true, objectivesMet: true, overdue: false, lastError: null });
  expect(Date.parse(drilled.nextAt ?? "")).toBeGreaterThan(Date.now());
  expect((await rig.cli("drill", "--last")).out).toMatch(/by {20}the daemon, by the schedule, on /);
});

test.concurrent("a copy that fails is exit code 6, and config check --online says why", async () => {
  await using s3 = await S3Server.start();
  await using rig = rigWith(s3);
  trade(rig, 20);
  expect((await rig.cli("config", "check", "--online")).code).toBe(0);
  s3.fail(403, "PUT", /./, 100);
  expect(await rig.cli("backup", "run", "state")).toMatchObject({
    code: 6,
    out: expect.stringMatching(/stands L1\n$/),
  });
  const checked = await rig.cli("config", "check", "--online");
  expect(checked).toMatchObject({
    code: 2,
    err: expect.stringMatching(/backups\.stores\.offsite: .*is not allowed to/),
  });
});

test.concurrent("config check --online tells a certificate of an authority that caFile does not hold, and a copy goes through with the right one", async () => {
  const tls = makeCertificates();
  await using s3 = await S3Server.start(tls);
  await using rig = rigWith(s3, {}, {}, { caFile: "ca.pem" });
  rig.write("ca.pem", "no certificate");
  expect((await rig.cli("config", "check")).err).toMatch(/caFile: .*ca\.pem holds no certificate in PEM/);
  rig.write("ca.pem", makeCertificates().ca);
  const wrong = await rig.cli("config", "check", "--online");
  expect(wrong).toMatchObject({
    code: 2,
    err: expect.stringMatching(/offsite: .*certificate of the store is not accepted/),
  });
  rig.write("ca.pem", tls.ca);
  expect(await rig.cli("config", "check", "--online")).toMatchObject({ code: 0 });
  trade(rig, 20);
  expect((await rig.cli("backup", "run", "state")).out).toContain("copied to offsite");
  const stored = await rig.cli("backup", "verify", "state", "--store", "offsite");
  expect(stored).toMatchObject({ code: 0, err: "" });
});
