/** docs/restore-by-hand.md, line by line: its blocks are run by sh against real backups, and the rows that come back are compared. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { Receiver, until } from "./actions/backup/postgres-receiver.ts";
import { asOwner, missing, PgRig, PgServer, WHY } from "./actions/backup/postgres-rig.ts";
import { fillRedis, missing as noRedis, RedisRig } from "./actions/backup/redis-rig.ts";
import { query, RestoreRig, rowsOf } from "./actions/backup/restore-rig.ts";

const PAGE = readFileSync(join(import.meta.dirname, "..", "docs", "restore-by-hand.md"), "utf8");
const hasAge = spawnSync("age", ["--version"]).status === 0;

/** The sh blocks below a heading. */
function blocks(heading: string): readonly string[] {
  const section = PAGE.split(/^## /m).find((each) => each.startsWith(heading));
  if (section === undefined) throw new Error(`the page has no section ${heading}`);
  return [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);
}

function run(
  script: readonly string[],
  variables: Readonly<Record<string, string>>,
  prefix: readonly string[] = [],
): string {
  const [program, ...args] = [...prefix, "sh", "-eu", "-c", script.join("\n")];
  return execFileSync(program, args, {
    env: { PATH: process.env["PATH"] ?? "", ...variables },
  }).toString();
}

const FIND = "Find the backup and check it";
const CHECK = "Check what comes out";
const noXxhash = spawnSync("xxh64sum", ["--version"]).status !== 0;

const variablesOf = (rig: RestoreRig, more: Record<string, string> = {}): Record<string, string> => ({
  STORE: rig.store,
  TARGET: "state",
  OUT: join(rig.folder, "out"),
  DATABASE: rig.database,
  ...more,
});

test("every block of the page belongs to a section that is run here", () => {
  const sections = [
    FIND,
    CHECK,
    "A database",
    "A PostgreSQL database",
    "A PostgreSQL server to an instant",
    "A Redis server",
    "Files and secrets",
    "An encrypted backup",
    "Old files of `openssl enc`",
  ];
  const counted = sections.flatMap((heading) => blocks(heading)).length;
  // The first block only sets what is set here.
  expect(PAGE.match(/^```sh$/gm)).toHaveLength(counted + 1);
});

test.skipIf(noXxhash)(
  `what a backup unpacks to has the checksum of its manifest by the page's lines${noXxhash ? " (skipped: xxh64sum is not there)" : ""}`,
  async () => {
    using rig = new RestoreRig();
    rig.fill(30).close();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    const out = run([...blocks(FIND), ...blocks(CHECK)], variablesOf(rig));
    expect(out.split(rig.stored().manifest.raw.xxh64 ?? "none")).toHaveLength(3);
  },
);

test("a database comes back in its place with the page's lines, without the old log", async () => {
  using rig = new RestoreRig();
  rig.fill(30).close();
  const rows = rowsOf(rig.database);
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  query(rig.database, "DELETE FROM orders");
  writeFileSync(`${rig.database}-wal`, "an old log");
  const out = run([...blocks(FIND), ...blocks("A database")], variablesOf(rig));
  expect(out).toContain("manifest.json: OK");
  const [part] = rig.stored().manifest.parts;
  expect(out.split(part?.sha256 ?? "none")).toHaveLength(3);
  expect(rowsOf(rig.database)).toBe(rows);
  expect(existsSync(join(rig.folder, "out", "before", "bot.db-wal"))).toBe(true);
});

test.skipIf(missing !== undefined)(
  `a PostgreSQL database comes back with the page's lines${WHY}`,
  async () => {
    await using server = new PgServer();
    using rig = new RestoreRig();
    await server.start();
    const DB = server.makeDatabase();
    const content = server.contentOf(DB);
    expect(await rig.backUp(rig.job(server.target(DB)))).toBe(0);
    server.sql(DB, "DELETE FROM fills; DROP TABLE risk.limits");
    const reach = { PGHOST: server.folder, PGUSER: "postgres" };
    run([...blocks(FIND), ...blocks("A PostgreSQL database")], variablesOf(rig, { TARGET: "ledger", DB, ...reach }));
    expect(server.contentOf(DB)).toBe(content);
    expect(server.databases()).toContain(`${DB}_before`);
  },
  120_000,
);

test.skipIf(missing !== undefined)(
  `a PostgreSQL server comes back as of an instant with the page's lines${WHY}`,
  async () => {
    await using server = new PgServer();
    using rig = new PgRig();
    await server.start();
    const database = server.makeDatabase(20);
    const target = { kind: "postgres", name: "ledger", url: server.url(database), physical: true } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    await using receiver = new Receiver(rig, target);
    server.sql(database, "UPDATE fills SET quantity = 7");
    const AT = server.sql(database, "SELECT clock_timestamp()");
    server.sql(database, "DELETE FROM fills");
    // One segment is archived, and what comes after it is still received.
    server.sql(database, "SELECT pg_switch_wal()");
    await until("a segment is archived", () => receiver.lines.some((line) => line.kind === "wal" && line.archived > 0));
    server.sql(database, "DROP TABLE fills");
    const OUT = join(rig.folder, "out");
    const PATH = `${dirname(server.program("postgres"))}:${process.env["PATH"] ?? ""}`;
    const variables = { STORE: rig.store, TARGET: "ledger", OUT, AT, PGUSER: "postgres", LC_ALL: "C", PATH };
    const [unpack = "", collect = "", start = "", stop = ""] = blocks("A PostgreSQL server to an instant");
    expect(run([unpack, collect], variables)).toContain("manifest.json: OK");
    server.give(OUT);
    try {
      expect(run([start], variables, asOwner)).toContain("recovery stopping before commit of transaction");
      const rows = `psql -X -A -t -h "$OUT" -d ${database} -c "SELECT count(*), min(quantity) FROM fills"`;
      expect(run([rows], variables, asOwner).trim()).toBe("20|7");
    } finally {
      run([stop], variables, asOwner);
    }
  },
  240_000,
);

test.skipIf(noRedis !== undefined).each(["yes", "no"])(
  "a Redis server with appendonly %s has its keys again with the page's lines",
  async (appendonly) => {
    await using redis = new RedisRig();
    const settings = ["--appendonly", appendonly];
    const filled = await redis.start(...settings);
    await fillRedis(filled, 50);
    expect(await redis.backUp(redis.job(redis.redis))).toBe(0);
    await filled.command("FLUSHALL");
    filled.close();
    await redis.stop();
    const out = join(redis.folder, "out");
    const variables = { STORE: redis.store, TARGET: "cache", OUT: out, DATA: redis.data };
    expect(run([...blocks(FIND), ...blocks("A Redis server")], variables)).toContain("db0:keys=52");
    const restored = await redis.start(...settings);
    expect(await restored.command("DBSIZE")).toBe(52);
    restored.close();
  },
  120_000,
);

test("files come back with the page's lines", async () => {
  using rig = new RestoreRig();
  const conf = join(rig.folder, "conf");
  mkdirSync(conf);
  writeFileSync(join(conf, "a"), "1", { mode: 0o600 });
  expect(await rig.backUp(rig.job({ kind: "files", name: "conf", paths: [conf] }))).toBe(0);
  const variables = variablesOf(rig, { TARGET: "conf" });
  expect(run([...blocks(FIND), ...blocks("Files and secrets")], variables)).toContain("-rw-------");
  expect(readFileSync(join(rig.folder, "out", conf, "a"), "utf8")).toBe("1");
});

// Skipped where the program age is missing: apt-get install age.
test.runIf(hasAge)("an encrypted backup comes back with the page's lines", async () => {
  using rig = new RestoreRig();
  rig.fill(30).close();
  const rows = rowsOf(rig.database);
  const identity = await generateIdentity();
  const KEY = join(rig.folder, "restore.key");
  writeFileSync(KEY, `${identity}\n`, { mode: 0o600 });
  const recipients = [await identityToRecipient(identity)];
  expect(await rig.backUp(rig.job(rig.sqlite, { recipients, identity }))).toBe(0);
  run([...blocks(FIND), ...blocks("An encrypted backup")], variablesOf(rig, { KEY }));
  expect(rowsOf(join(rig.folder, "out", "raw"))).toBe(rows);
});

test("an old file of openssl comes back with the page's lines", () => {
  using rig = new RestoreRig();
  const [OLD, PASSWORD] = [join(rig.folder, "old.db.gz.enc"), join(rig.folder, "password")];
  writeFileSync(PASSWORD, "secret\n");
  const pack = `printf data | gzip | openssl enc -aes-256-cbc -pbkdf2 -salt -pass file:${PASSWORD} -out ${OLD}`;
  execFileSync("sh", ["-c", pack]);
  run(blocks("Old files of"), variablesOf(rig, { OLD, PASSWORD }));
  expect(readFileSync(join(rig.folder, "out", "raw"), "utf8")).toBe("data");
});
