/** Point-in-time recovery of a real PostgreSQL server: base, received WAL, and a chosen millisecond after a table was dropped. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import { WalArchive } from "../../../src/actions/backup/wal-archive.ts";
import { contiguousFrom, gapsIn, readSegment } from "../../../src/core/wal.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { Receiver, until } from "./postgres-receiver.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const SERVER = { skip: missing !== undefined, timeout: 240_000 };
const SEGMENT_BYTES = 16 * 1_024 ** 2;
const server = new PgServer();

beforeAll(async () => {
  if (missing === undefined) await server.start(["fsync=on"]);
}, 120_000);
afterAll(() => server[Symbol.asyncDispose](), 120_000);

/** The WAL has sequences some numbers ahead, so that not each one is logged. */
const rowsOf = (of: PgServer, database: string): string => of.contentOf(database).replaceAll(/^\w+_seq \d+$/gm, "");

const names = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);

test(
  `restoreBackup() recovers a PostgreSQL server to a chosen millisecond after DROP TABLE${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(100);
    const target = { kind: "postgres", name: "ledger", url: server.url(database), physical: true } as const;
    expect(await rig.backUp(rig.job(target, { verify: "L2" }))).toBe(0);
    const { manifest, folder, id } = rig.stored("ledger");
    expect(manifest).toMatchObject({
      kind: "base",
      raw: { name: "base.tar" },
      engine: { walStart: expect.any(String) },
    });
    expect(
      await verifyBackup({
        folder,
        manifest,
        level: "L1",
        scratch: rig.folder,
        identity: undefined,
        clock: systemClock,
      }),
    ).toMatchObject({ ok: true });
    await using receiver = new Receiver(rig, target);

    const stamp = (): string =>
      server.sql(database, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')");
    server.sql(database, "INSERT INTO trades (symbol, price) SELECT 'BTC', n FROM generate_series(1, 20) n");
    const good = rowsOf(server, database);
    // An instant of its own: by the server's clock no transaction ends in the same millisecond.
    const inserted = stamp();
    await until("the server's clock goes on", () => stamp() > inserted);
    const at = stamp();
    await until("the server's clock goes on", () => stamp() > at);
    server.sql(database, "DROP TABLE trades CASCADE; DROP TABLE fills; CREATE TABLE fills (lost text)");
    server.sql(database, "SELECT pg_switch_wal()");
    await until("a segment is archived", () => receiver.lines.some((line) => line.kind === "wal" && line.archived > 0));
    server.sql(database, "CREATE TABLE later (n int)");
    const wal = new WalArchive(rig.repository("ledger").folder, SEGMENT_BYTES);
    await until("the rest is received", () => names(wal.incoming).some((name) => name.endsWith(".partial")));

    const path = join(rig.folder, "recovered");
    const from = { kind: "backup", folder: rig.store, id } as const;
    const job = rig.restoreJob(target, { from, into: { kind: "instant", path, at } });
    expect(await rig.restore(job)).toBe(0);
    const said = rig.lines.flatMap((line) => (line.kind === "step" ? [line.text] : [])).at(-1);
    expect(said).toMatch(/RPO.*RTO/);
    await using recovered = await PgServer.on(path);
    expect(rowsOf(recovered, database)).toBe(good);
    expect(recovered.sql("postgres", "SELECT pg_is_in_recovery()")).toBe("f");
    expect(names(path).filter((name) => name.includes("supervisor") || name === "recovery.signal")).toEqual([]);

    // An instant behind everything: what there is comes back, and that is said.
    const whole = join(rig.folder, "whole");
    expect(
      await rig.restore({
        ...job,
        into: { kind: "instant", path: whole, at: new Date(Date.now() + 60_000).toISOString() },
      }),
    ).toBe(0);
    expect(rig.lines.at(-1)).toMatchObject({ troubles: [expect.stringContaining("all of it was played")] });
    await using all = await PgServer.on(whole);
    expect(all.sql(database, "SELECT count(*) FROM later")).toBe("0");

    // A flipped byte in the archive is found before anything is played.
    const [segment = ""] = names(wal.folder)
      .filter((name) => /^[0-9A-F]{24}$/.test(name))
      .toSorted()
      .slice(-1);
    const part = join(wal.folder, segment, "data.000");
    const bytes = readFileSync(part);
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    const spoilt = join(rig.folder, "spoilt");
    expect(await rig.restore({ ...job, into: { kind: "instant", path: spoilt, at } })).toBe(4);
    expect(existsSync(spoilt)).toBe(false);
  },
);

test(
  `restoreBackup() to an instant, killed at any journaled line, leaves the folder whole or empty${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(20);
    const target = { kind: "postgres", name: "ledger", url: server.url(database), physical: true } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    const from = { kind: "backup", folder: rig.store, id: rig.stored("ledger").id } as const;
    const path = join(rig.folder, "recovered");
    const at = new Date().toISOString();
    const job = rig.restoreJob(target, { from, into: { kind: "instant", path, at } });
    expect(await rig.restore({ ...job, into: { kind: "instant", path: join(path, "deep"), at } })).toBe(5);
    expect(rig.failure()?.reason).toContain(`there is no folder ${path} to make`);
    const outcomes: Record<string, readonly string[]> = {};
    for (const step of ["locked", "journaled", "unpacked", "swapping", "moved:1", "swapped", "checked", "done"]) {
      expect(await rig.restoreAndDie(job, step)).toBe("SIGKILL");
      outcomes[step] = [...rig.settle().map(({ outcome }) => outcome), ...rig.journals];
      const whole = step === "checked" || step === "done";
      expect([
        step,
        names(path).includes("global"),
        names(path).filter((name) => name.startsWith(".restore")).length,
      ]).toEqual([step, whole, 0]);
      if (!whole) continue;
      await using recovered = await PgServer.on(path);
      expect(recovered.sql(database, "SELECT count(*) FROM trades")).toBe("20");
      await recovered.stop();
      rmSync(path, { recursive: true });
    }
    expect(outcomes).toEqual({
      locked: [],
      journaled: ["discarded"],
      unpacked: ["discarded"],
      swapping: ["rolledBack"],
      "moved:1": ["rolledBack"],
      swapped: ["rolledBack"],
      checked: ["finished"],
      done: [],
    });
  },
);

test(
  `archiveWal() says that the server has thrown WAL away, makes the slot anew, and goes on${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    await using small = new PgServer();
    await small.start(["max_slot_wal_keep_size=48MB", "max_wal_size=32MB", "min_wal_size=32MB"]);
    const target = { kind: "postgres", name: "ledger", url: small.url("postgres"), physical: true } as const;
    expect([await rig.backUp(rig.job(target)), rig.failure()?.reason]).toEqual([0, undefined]);
    for (let n = 0; n < 6; n += 1) small.sql("postgres", `CREATE TABLE t${n} AS SELECT 1; SELECT pg_switch_wal()`);
    small.sql("postgres", "CHECKPOINT");
    const status = (): string => small.sql("postgres", "SELECT wal_status FROM pg_replication_slots");
    expect(status()).toBe("lost");
    await using receiver = new Receiver(rig, target);
    const wals = () => receiver.lines.filter((line) => line.kind === "wal");
    await until("it goes on", () => wals().length > 0);
    expect(receiver.lines[0]).toMatchObject({ kind: "walGap", needsBase: true });
    expect(wals().at(-1)).toMatchObject({ gaps: 1, recoverableTo: null });
    expect(status()).toBe("reserved");
    // Another base closes it.
    expect(await rig.backUp(rig.job(target))).toBe(0);
    await until("nothing is missing", () => wals().at(-1)?.gaps === 0);
    await until("all is received", () => wals().at(-1)?.lagBytes === 0);
    expect(wals().at(-1)?.recoverableTo).toMatch(/^\d{4}-/);
    // And one that archives beside it is refused.
    await using second = new Receiver(rig, target);
    expect(await second.ended).toBe(7);
    // Without its server it ends, and says why.
    await small.stop("SIGKILL");
    expect(await receiver.ended).toBe(3);
    expect(receiver.lines.at(-1)).toMatchObject({ kind: "failed", stage: "source" });
  },
);

test(
  `archiveWal() says how much it has not received, and until when everything can be recovered${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const database = server.makeDatabase(10);
    const target = { kind: "postgres", name: "lagging", url: server.url(database), physical: true } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    await using receiver = new Receiver(rig, target);
    const wals = () => receiver.lines.filter((line) => line.kind === "wal");
    const last = () => wals().at(-1);
    await until("all is received", () => last()?.lagBytes === 0);
    expect(last()).toMatchObject({ gaps: 0, recoverableTo: expect.any(String) });
    const { incoming } = new WalArchive(rig.repository("lagging").folder, SEGMENT_BYTES);
    const pids = receiversOf(incoming);
    expect(pids).not.toEqual([]);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      server.sql(database, "UPDATE trades SET price = price + 1");
      await until("something is not received", () => (last()?.lagBytes ?? 0) > 0);
      const [stopped, told] = [last()?.recoverableTo, wals().length];
      expect(stopped).toEqual(expect.any(String));
      await until("it is told again", () => wals().length > told + 1);
      // What is not here does not move the instant.
      expect(last()?.recoverableTo).toBe(stopped);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    await until("all is received again", () => last()?.lagBytes === 0);
    // A whole segment that is lost is a gap behind the base.
    for (let n = 0; n < 3; n += 1) server.sql(database, `CREATE TABLE more${n} (a int); SELECT pg_switch_wal()`);
    const archive = new WalArchive(rig.repository("lagging").folder, SEGMENT_BYTES);
    await until("three are archived", () => archive.stored().length >= 3);
    rmSync(join(archive.folder, archive.stored().at(-2)?.name ?? ""), { recursive: true });
    await until("it is told", () => last()?.gaps === 1);
    expect(last()?.recoverableTo).toBeNull();
  },
);

/** Processes that receive into this folder. */
function receiversOf(incoming: string): readonly number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return words[0]?.endsWith("pg_receivewal") === true && words.includes(incoming);
      } catch {
        return false;
      }
    });
}

test(
  `archiveWal() keeps the WAL of a server made anew apart from the old one's, and both are recovered${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    const recovered: string[] = [];
    const gaps: boolean[] = [];
    const jobs: ReturnType<typeof rig.restoreJob>[] = [];
    for (const round of ["old", "new"]) {
      await using its = new PgServer();
      await its.start();
      its.sql("postgres", "CREATE ROLE keeper LOGIN REPLICATION PASSWORD 'pw'; GRANT pg_read_all_data TO keeper");
      its.sql("postgres", "CREATE TABLE whose (name text)");
      const url = its.url("postgres", "keeper");
      const target = { kind: "postgres", name: "ledger", url, password: "pw", physical: true } as const;
      const systemId = its.sql("postgres", "SELECT system_identifier FROM pg_control_system()");
      const backUp = async (): Promise<string> => {
        expect([await rig.backUp(rig.job(target)), rig.failure()?.reason]).toEqual([0, undefined]);
        return rig.repository("ledger").list().backups.at(-1)?.id ?? "";
      };
      let id = round === "old" ? await backUp() : "";
      {
        await using receiver = new Receiver(rig, target);
        await until("it receives", () => receiver.lines.some((line) => line.kind === "wal"));
        gaps.push(
          receiver.lines.some((line) => line.kind === "walGap" && line.needsBase && line.text.includes(systemId)),
        );
        if (round === "new") id = await backUp();
        its.sql("postgres", `INSERT INTO whose VALUES ('${round}')`);
        const switched = its.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        await until("the segment is archived", () =>
          receiver.lines.some((line) => line.kind === "wal" && (line.last ?? "") >= switched),
        );
        const wal = new WalArchive(rig.repository("ledger").folder, SEGMENT_BYTES);
        await until("it is stored", () => wal.find(switched) !== undefined);
        expect(wal.find(switched)?.manifest.systemId).toBe(systemId);
      }
      const from = { kind: "backup", folder: rig.store, id } as const;
      const at = new Date(Date.now() + 3_600_000).toISOString();
      jobs.push(rig.restoreJob(target, { from, into: { kind: "instant", path: join(rig.folder, round), at } }));
    }
    for (const job of jobs) {
      expect(await rig.restore(job)).toBe(0);
      if (job.into.kind !== "instant") continue;
      await using its = await PgServer.on(job.into.path);
      recovered.push(its.sql("postgres", "SELECT string_agg(name, ',') FROM whose"));
    }
    expect([recovered, gaps]).toEqual([
      ["old", "new"],
      [false, true],
    ]);
  },
);

test(`WalArchive keeps what is whole through a kill at any line, and finds a gap${WHY}`, async () => {
  using rig = new PgRig();
  const archive = new WalArchive(rig.folder, SEGMENT_BYTES);
  archive.make();
  const options = { compress: "zstd", recipients: [], now: () => new Date() } as const;
  const [first, second, fourth] = [
    "000000010000000000000001",
    "000000010000000000000002",
    "000000010000000000000004",
  ] as const;
  for (const name of [first, second]) writeFileSync(join(archive.incoming, name), name.repeat(1_000));
  expect(await archive.archive(options)).toEqual([first, second]);
  // The newest whole one stays where the receiver looks for it.
  expect(names(archive.incoming)).toEqual([second]);
  expect(await archive.archive(options)).toEqual([]);
  // Killed while it stored the next one.
  mkdirSync(join(archive.folder, `.tmp-${fourth}`));
  writeFileSync(join(archive.incoming, fourth), "4");
  archive.make();
  expect(await archive.archive(options)).toEqual([fourth]);
  expect(gapsIn(archive.segments()).map(([a, b]) => [a.name, b.name])).toEqual([[second, fourth]]);
  const [start] = archive.segments();
  expect(contiguousFrom(archive.segments(), start?.number ?? 0).usable.map(({ name }) => name)).toEqual([
    first,
    second,
  ]);
  const pieces: Uint8Array[] = [];
  for await (const piece of archive.read(first, undefined)) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe(first.repeat(1_000));
  const from = readSegment(second, SEGMENT_BYTES);
  if (from === undefined) throw new Error("it is no segment");
  expect(archive.prune(from)).toBe(1);
  expect(archive.segments().map(({ name }) => name)).toEqual([second, fourth]);
});
