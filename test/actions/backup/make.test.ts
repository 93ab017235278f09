/** Backups of a real database and of real files, proven on what is stored, read back by the standard tools too. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { describe, expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
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
