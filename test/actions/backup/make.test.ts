/** Backups of a real database and of real files, proven on what is stored, read back by the standard tools too. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { pruneBackups } from "../../../src/actions/backup/prune.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import { verifyJobSchema, type VerifyJob } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { Rig } from "./rig.ts";

const WRITER = join(import.meta.dirname, "..", "..", "fixtures", "write-database.ts");

const verify = (rig: Rig, level: "L0" | "L1" | "L2", target = "state", identity?: string) => {
  const { folder, manifest } = rig.stored(target);
  return verifyBackup({ folder, manifest, level, scratch: rig.folder, identity, clock: systemClock });
};

describe("makeBackup() of a database", () => {
  test("publishes one backup that stands every level and whose tables are counted", async () => {
    using rig = new Rig();
    rig.fill(500).close();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    const { manifest } = rig.stored();
    expect(manifest).toMatchObject({ type: "sqlite", kind: "full", content: { tables: { orders: 500 } } });
    for (const level of ["L0", "L1", "L2"] as const)
      expect(await verify(rig, level)).toMatchObject({ ok: true, detail: null });
    expect(readdirSync(rig.repository().folder).toSorted()).toEqual([".lock", manifest.id]);
  });

  test.each(["zstd", "gzip", "none"] as const)("reads back with standard tools when packed by %s", async (compress) => {
    using rig = new Rig();
    rig.fill(50).close();
    expect(await rig.backUp(rig.job(rig.sqlite, { compress }))).toBe(0);
    const unpack = { zstd: "zstd -dc", gzip: "gzip -dc", none: "cat" }[compress];
    const copy = join(rig.folder, "copy.db");
    execFileSync("sh", ["-c", `cat data.* | ${unpack} > ${copy}`], { cwd: rig.stored().folder });
    expect(execFileSync("sqlite3", [copy, "SELECT count(*) FROM orders"]).toString()).toBe("50\n");
  });

  test("holds one instant while another process goes on writing", async () => {
    using rig = new Rig();
    rig.fill(20_000).close();
    // In a process of its own: two libraries in one process break each other's locks.
    const writer = Bun.spawn([process.execPath, WRITER, rig.database], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await writer.stdout.getReader().read();
      expect(await rig.backUp(rig.job(rig.sqlite, { verify: "L2" }))).toBe(0);
      expect(writer.exitCode).toBe(null);
      expect(rig.stored().manifest.content.tables?.["orders"]).toBeGreaterThan(20_000);
    } finally {
      writer.kill("SIGKILL");
      await writer.exited;
    }
  });

  test("refuses a source that is locked, missing or no database, and leaves nothing", async () => {
    using rig = new Rig();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(3);
    writeFileSync(rig.database, "this is a letter, not a database; ".repeat(100));
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(3);
    expect(rig.failure()?.stage).toBe("source");
    expect(readdirSync(rig.repository().folder)).toEqual([".lock"]);
  });

  test("is refused while another process holds the target", async () => {
    using rig = new Rig();
    rig.fill(5).close();
    rig.repository().make();
    const lock = rig.repository().lock();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(7);
    lock?.release();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  });
});

describe("makeBackup() with encryption", () => {
  test("stores what only the private key opens, and every flipped byte is found", async () => {
    using rig = new Rig();
    rig.fill(200).close();
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    expect(await rig.backUp(rig.job(rig.sqlite, { recipients, identity, verify: "L2" }))).toBe(0);
    // That there is no key says nothing of the backup.
    await expect(verify(rig, "L1")).rejects.toThrow("no identityFile is given");
    await expect(verify(rig, "L1", "state", "no key")).rejects.toThrow("holds no key of age");
    await expect(verify(rig, "L1", "state", await generateIdentity())).rejects.toThrow(
      `does not open it; it was encrypted for ${recipients[0] ?? ""}`,
    );
    expect(await verify(rig, "L2", "state", identity)).toMatchObject({ ok: true });
    const path = join(rig.stored().folder, "data.000");
    const bytes = readFileSync(path);
    bytes[bytes.length - 40] = (bytes.at(-40) ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(await verify(rig, "L0")).toMatchObject({ ok: false });
    expect(await verify(rig, "L1", "state", identity)).toMatchObject({ ok: false });
  });
});

const verifyJob = (rig: Rig, identity: string): VerifyJob =>
  verifyJobSchema.parse({
    version: 1,
    target: rig.sqlite,
    store: "local",
    folder: rig.store,
    level: "L1",
    checks: [],
    ids: [],
    identity,
    record: join(rig.folder, "records", "state.json"),
  });

const stageEncrypted = async (rig: Rig) => {
  rig.fill(50).close();
  const identity = await generateIdentity();
  const recipients = [await identityToRecipient(identity)];
  expect(await rig.backUp(rig.job(rig.sqlite, { recipients, identity }))).toBe(0);
  return { recipients, check: verifyJob(rig, await generateIdentity()) };
};

describe("checkBackups() with the wrong key", () => {
  test("refutes nothing: the backup stays verified, and its record too", async () => {
    using rig = new Rig();
    const { check } = await stageEncrypted(rig);
    const before = [rig.stored().state, readFileSync(check.record ?? "", "utf8")];
    expect(await checkBackups(check, { write: (line) => void rig.lines.push(line), clock: systemClock })).toBe(3);
    expect([rig.stored().state, readFileSync(check.record ?? "", "utf8")]).toEqual(before);
    expect(rig.failure()?.reason).toContain("does not open it");
  });

  test("refutes a backup whose encrypted header has a wrong byte", async () => {
    using rig = new Rig();
    const { check } = await stageEncrypted(rig);
    const path = join(rig.stored().folder, "data.000");
    const bytes = readFileSync(path);
    bytes[60] = (bytes[60] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(await checkBackups(check, { write: (line) => void rig.lines.push(line), clock: systemClock })).toBe(4);
    expect(rig.stored().state.verifications.at(-1)).toMatchObject({ ok: false });
  });
});

describe("makeBackup() of files", () => {
  test("keeps modes, links and folders, and counts what it holds", async () => {
    using rig = new Rig();
    const conf = join(rig.folder, "conf");
    mkdirSync(join(conf, "deep"), { recursive: true });
    writeFileSync(join(conf, "a.yaml"), "a: 1\n");
    writeFileSync(join(conf, "deep", "key"), "k");
    chmodSync(join(conf, "deep", "key"), 0o600);
    symlinkSync("a.yaml", join(conf, "link"));
    expect(await rig.backUp(rig.job({ kind: "files", name: "conf", paths: [conf] }, { verify: "L2" }))).toBe(0);
    expect(rig.stored("conf").manifest.content).toEqual({ files: 2 });
    const out = join(rig.folder, "out");
    mkdirSync(out);
    execFileSync("sh", ["-c", `cat data.* | zstd -dc | tar -xpf - -C ${out}`], { cwd: rig.stored("conf").folder });
    expect(statSync(join(out, conf, "deep", "key")).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(out, conf, "link"), "utf8")).toBe("a: 1\n");
  });

  test("fails as a whole when one path is not there", async () => {
    using rig = new Rig();
    expect(await rig.backUp(rig.job({ kind: "files", name: "conf", paths: [rig.folder, "/nowhere/at/all"] }))).toBe(3);
    expect(rig.failure()?.reason).toContain("/nowhere/at/all");
  });
});

const RETENTION = { hourly: 7 * 86_400_000, daily: 0, weekly: 0, monthly: 0, minKeep: 3 };
const recordIn = (rig: Rig): unknown => JSON.parse(readFileSync(join(rig.folder, "records", "state.json"), "utf8"));
const alarmsOf = (rig: Rig): readonly unknown[] => rig.lines.filter(({ kind }) => kind === "alarm");

describe("makeBackup() and what it remembers", () => {
  test("raises an alarm when a full backup has shrunk by more than half, and remembers it until the next", async () => {
    using rig = new Rig();
    using database = rig.fill(2_000);
    const job = rig.job(rig.sqlite, { retention: RETENTION });
    expect(await rig.backUp(job)).toBe(0);
    database.exec("DELETE FROM orders WHERE id > 10; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    expect(await rig.backUp(job)).toBe(0);
    const id = rig.repository().list().backups.at(-1)?.id;
    const text = expect.stringMatching(new RegExp(`^${id} has .*, less than half of the .* of the one before`));
    expect(alarmsOf(rig)).toEqual([{ kind: "alarm", text }]);
    expect(recordIn(rig)).toMatchObject({ sizes: { full: { id, shrunk: { toBytes: expect.any(Number) } } } });
    expect(await rig.backUp(job)).toBe(0);
    expect(alarmsOf(rig)).toHaveLength(1);
    expect(recordIn(rig)).toMatchObject({ sizes: { full: { shrunk: null } } });
  });

  test("remembers what is stored, since when, and how much room there is, after a prune too", async () => {
    using rig = new Rig();
    rig.fill(50).close();
    const job = rig.job(rig.sqlite, { retention: RETENTION });
    expect([await rig.backUp(job), await rig.backUp(job)]).toEqual([0, 0]);
    const { backups } = rig.repository().list();
    const storedBytes = backups
      .flatMap(({ manifest: { parts, pageTable } }) => [...parts, ...(pageTable === undefined ? [] : [pageTable])])
      .reduce((sum, { bytes }) => sum + bytes, 0);
    expect(recordIn(rig)).toMatchObject({
      stood: { L1: expect.any(String) },
      stock: {
        storedBytes,
        oldestAt: backups[0]?.manifest.snapshotAt,
        newestAt: backups[1]?.manifest.snapshotAt,
        disk: { freeBytes: expect.any(Number), reserveBytes: expect.any(Number) },
      },
    });
    const { version, target, store, folder, record } = job;
    const prune = { version, target, store, folder, record, dryRun: false, force: true };
    const retention = { ...RETENTION, hourly: 0, minKeep: 1 };
    expect(await pruneBackups({ ...prune, retention }, { write: () => undefined, clock: systemClock })).toBe(0);
    expect(recordIn(rig)).toMatchObject({ stock: { oldestAt: backups[1]?.manifest.snapshotAt } });
  });
});
