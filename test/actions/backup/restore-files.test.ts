/** Restores of files with modes and owners, of archives that mean harm, and of files that older tools have made. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { create, Header } from "tar";
import { describe, expect, test } from "vitest";
import type { BackupLine, JobTarget } from "../../../src/core/backup-job.ts";
import { exportBackup } from "../../../src/actions/backup/export.ts";
import { exportJobSchema, type RestoreJob } from "../../../src/core/restore-job.ts";
import { RestoreRig, rowsOf } from "./restore-rig.ts";

const isRoot = process.getuid?.() === 0;

function confOf(rig: RestoreRig): { conf: string; single: string; target: JobTarget } {
  const conf = join(rig.folder, "etc", "conf");
  const single = join(rig.folder, "srv", "single.yaml");
  mkdirSync(join(conf, "deep"), { recursive: true });
  mkdirSync(join(rig.folder, "srv"));
  writeFileSync(join(conf, "a.yaml"), "a: 1\n");
  writeFileSync(join(conf, "deep", "key"), "k");
  writeFileSync(single, "single: 1\n");
  chmodSync(join(conf, "deep", "key"), 0o600);
  chmodSync(join(conf, "a.yaml"), 0o664);
  chmodSync(join(conf, "deep"), 0o711);
  symlinkSync("a.yaml", join(conf, "link"));
  symlinkSync("/etc/hostname", join(conf, "far"));
  if (isRoot) chownSync(join(conf, "deep", "key"), 1234, 2345);
  return { conf, single, target: { kind: "files", name: "conf", paths: [conf, single] } };
}

describe("restoreBackup() of files", () => {
  test("brings back modes, owners and links, and keeps what was there", async () => {
    using rig = new RestoreRig();
    const { conf, single, target } = confOf(rig);
    expect(await rig.backUp(rig.job(target, { verify: "L2" }))).toBe(0);
    writeFileSync(join(conf, "a.yaml"), "a: 2\n");
    writeFileSync(join(conf, "new.yaml"), "new\n");
    rmSync(join(conf, "deep"), { recursive: true });
    writeFileSync(single, "single: 2\n");
    expect(await rig.restore(rig.restoreJob(target))).toBe(0);
    expect(readdirSync(conf).toSorted()).toEqual(["a.yaml", "deep", "far", "link"]);
    expect(readFileSync(join(conf, "link"), "utf8")).toBe("a: 1\n");
    expect(readlinkSync(join(conf, "far"))).toBe("/etc/hostname");
    expect(readFileSync(single, "utf8")).toBe("single: 1\n");
    const modes = ["a.yaml", "deep", "deep/key"].map((name) => statSync(join(conf, name)).mode & 0o777);
    expect(modes).toEqual([0o664, 0o711, 0o600]);
    const owner = isRoot ? { uid: 1234, gid: 2345 } : {};
    expect(lstatSync(join(conf, "deep", "key"))).toMatchObject(owner);
    const [aside = ""] = readdirSync(join(rig.folder, "etc")).filter((name) => name.startsWith("pre-restore-"));
    expect(readFileSync(join(rig.folder, "etc", aside, "conf", "a.yaml"), "utf8")).toBe("a: 2\n");
    expect(readdirSync(join(rig.folder, "etc")).filter((name) => name.startsWith(".restore"))).toEqual([]);
  });

  test.each(["moved:1", "moved:2", "moved:3", "moved:4", "swapped", "checked"])(
    "killed after %s leaves all old or all new",
    async (step) => {
      using rig = new RestoreRig();
      const { conf, single, target } = confOf(rig);
      expect(await rig.backUp(rig.job(target))).toBe(0);
      writeFileSync(join(conf, "a.yaml"), "a: 2\n");
      writeFileSync(single, "single: 2\n");
      expect(await rig.restoreAndDie(rig.restoreJob(target), step)).toBe("SIGKILL");
      expect(rig.settle()).toHaveLength(1);
      const number = step === "checked" ? "1" : "2";
      expect(readFileSync(join(conf, "a.yaml"), "utf8")).toBe(`a: ${number}\n`);
      expect(readFileSync(single, "utf8")).toBe(`single: ${number}\n`);
    },
  );

  test("refuses a backup without a path of the target, or with one that the target does not name", async () => {
    using rig = new RestoreRig();
    const { conf, single, target } = confOf(rig);
    expect(await rig.backUp(rig.job({ kind: "files", name: "conf", paths: [conf] }))).toBe(0);
    expect(await rig.restore(rig.restoreJob(target))).toBe(3);
    expect(rig.failure()?.reason).toContain(`does not hold ${single}`);
    rig.lines.length = 0;
    expect(await rig.restore(rig.restoreJob({ kind: "files", name: "conf", paths: [join(conf, "deep")] }))).toBe(3);
    expect(rig.failure()?.reason).toContain("also holds");
    expect(existsSync(join(conf, "deep", "key"))).toBe(true);
  });
});

describe("restoreBackup() of an archive that means harm", () => {
  const attempts: Readonly<Record<string, (outside: string) => Buffer>> = {
    "a path with ..": (outside) => entry(`../../../../../../..${outside}`, "x"),
    "an absolute path": (outside) => entry(outside, "x"),
    "a file behind a link": (outside) =>
      Buffer.concat([link("way", outside.slice(0, outside.lastIndexOf("/"))), entry("way/evil", "x")]),
    "a hard link to the outside": (outside) => Buffer.concat([link("way", outside, "Link"), entry("way", "x")]),
  };

  test.each(Object.entries(attempts))("%s writes nothing outside", async (_name, make) => {
    using rig = new RestoreRig();
    mkdirSync(join(rig.folder, "outside"));
    const outside = join(rig.folder, "outside", "evil");
    const path = join(rig.folder, "evil.tar");
    writeFileSync(path, Buffer.concat([make(outside), Buffer.alloc(1_024)]));
    const to = join(rig.folder, "to");
    const target = { kind: "files", name: "conf", paths: [join(rig.folder, "conf")] } as const;
    const job: Partial<RestoreJob> = { from: { kind: "file", path }, into: { kind: "folder", path: to } };
    const code = await rig.restore(rig.restoreJob({ ...target, paths: [...target.paths] }, job));
    expect(code).toBe(4);
    expect(readdirSync(join(rig.folder, "outside"))).toEqual([]);
  });
});

describe("restoreBackup() of a file of older tools", () => {
  const packers: Readonly<Record<string, string>> = {
    "sqlite_backup_20250101_020000.db": "cat",
    "sqlite_backup_20250101_020000.db.gz": "gzip -c",
    "bot.db.zst": "zstd -qc",
    "bot.db.gz.enc": "gzip -c | openssl enc -aes-256-cbc -pbkdf2 -salt -pass pass:secret",
  };

  test.each(Object.entries(packers))("%s becomes the database", async (name, packer) => {
    using rig = new RestoreRig();
    rig.fill(40).close();
    execFileSync("sqlite3", [rig.database, "PRAGMA wal_checkpoint(TRUNCATE)"]);
    const rows = rowsOf(rig.database);
    const path = join(rig.folder, name);
    execFileSync("sh", ["-c", `cat ${rig.database} | ${packer} > ${path}`]);
    execFileSync("sqlite3", [rig.database, "DELETE FROM orders"]);
    const job = rig.restoreJob(rig.sqlite, { from: { kind: "file", path }, password: "secret" });
    expect(await rig.restore(job)).toBe(0);
    expect(rowsOf(rig.database)).toBe(rows);
    rmSync(path);
    expect(await rig.restore(job)).toBe(3);
  });

  test("an encrypted archive needs its password, and a wrong one changes nothing", async () => {
    using rig = new RestoreRig();
    const { conf, target } = confOf(rig);
    const path = join(rig.folder, "config_backup.tar.gz.enc");
    const paths = target.kind === "files" ? target.paths : [];
    await create(
      { file: join(rig.folder, "c.tar.gz"), gzip: true, cwd: "/" },
      paths.map((each) => relative("/", each)),
    );
    execFileSync("openssl", [
      "enc",
      "-aes-256-cbc",
      "-pbkdf2",
      "-salt",
      "-in",
      join(rig.folder, "c.tar.gz"),
      "-out",
      path,
      "-pass",
      "pass:secret",
    ]);
    writeFileSync(join(conf, "a.yaml"), "a: 2\n");
    const from = { kind: "file", path } as const;
    expect(await rig.restore(rig.restoreJob(target, { from }))).toBe(3);
    expect(await rig.restore(rig.restoreJob(target, { from, password: "wrong" }))).toBe(4);
    expect(readFileSync(join(conf, "a.yaml"), "utf8")).toBe("a: 2\n");
    expect(await rig.restore(rig.restoreJob(target, { from, password: "secret" }))).toBe(0);
    expect(readFileSync(join(conf, "a.yaml"), "utf8")).toBe("a: 1\n");
  });

  test.each(["postgres_backup_20250101_020000.sql.gz", "ledger.dump", "dump.rdb", "config.tar.gz"])(
    "%s is refused for a database",
    async (name) => {
      using rig = new RestoreRig();
      const path = join(rig.folder, name);
      writeFileSync(path, "not looked at");
      expect(await rig.restore(rig.restoreJob(rig.sqlite, { from: { kind: "file", path } }))).toBe(3);
      expect(rig.failure()?.reason).toContain("kind");
    },
  );
});

describe("exportBackup()", () => {
  test("writes a plain file that standard tools and a restore read, and replaces none", async () => {
    using rig = new RestoreRig();
    rig.fill(30).close();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    const rows = rowsOf(rig.database);
    const file = join(rig.folder, "plain.db.gz");
    const { from, target } = rig.restoreJob(rig.sqlite);
    const job = exportJobSchema.parse({ version: 1, target, from, file });
    expect(await exportBackup(job, { write: silently })).toBe(0);
    execFileSync("sh", ["-c", `gunzip -c ${file} > ${rig.folder}/plain.db`]);
    expect(rowsOf(join(rig.folder, "plain.db"))).toBe(rows);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await exportBackup(job, { write: silently })).toBe(3);
    expect(await exportBackup({ ...job, file: join(rig.folder, "plain.tar") }, { write: silently })).toBe(3);
    const lines: BackupLine[] = [];
    const nowhere = { ...job, file: join(rig.folder, "absent", "plain.db") };
    expect(await exportBackup(nowhere, { write: (line) => void lines.push(line) })).toBe(5);
    expect(lines).toMatchObject([{ reason: `there is no folder ${rig.folder}/absent; make it, or name another file` }]);
  });
});

function entry(path: string, text: string): Buffer {
  return Buffer.concat([block({ path, type: "File", size: text.length }), Buffer.from(text.padEnd(512, "\0"))]);
}

function link(path: string, linkpath: string, type: "SymbolicLink" | "Link" = "SymbolicLink"): Buffer {
  return block({ path, linkpath, type, size: 0 });
}

function block(header: {
  path: string;
  linkpath?: string;
  type: "File" | "SymbolicLink" | "Link";
  size: number;
}): Buffer {
  const bytes = Buffer.alloc(512);
  new Header({ mode: 0o644, uid: 0, gid: 0, mtime: new Date(0), ...header }).encode(bytes, 0);
  return bytes;
}

function silently(): void {}
