/** Incremental backups of a real database, whatever is done to it between them. */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { decodeStream } from "../../../src/actions/backup/encode.ts";
import { readPart } from "../../../src/actions/backup/repository.ts";
import { rebuiltDatabase } from "../../../src/actions/backup/sqlite.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { RestoreRig, rowsOf } from "./restore-rig.ts";
import { Rig } from "./rig.ts";

/** What a program does to its database between two backups. */
const DEEDS = [
  "INSERT INTO orders (note) SELECT hex(randomblob(40)) FROM orders LIMIT 50",
  "UPDATE orders SET note = hex(randomblob(30)) WHERE id % 97 = 0",
  "DELETE FROM orders WHERE id > (SELECT max(id) - 300 FROM orders)",
  "DELETE FROM orders WHERE id % 5 = 0",
  "VACUUM",
  "CREATE TABLE IF NOT EXISTS fills (id INTEGER PRIMARY KEY, price REAL)",
  "INSERT INTO orders (note) SELECT hex(randomblob(400)) FROM orders LIMIT 200",
];

const run = (rig: Rig, deeds: readonly string[]): void =>
  // In a process of its own: two libraries in one process break each other's locks.
  void execFileSync("sqlite3", ["-cmd", ".timeout 5000", rig.database, deeds.join(";\n")]);

test("makeBackup() of what differs makes a full backup first, then deltas whose restore is byte for byte the database, whatever was done to it", async () => {
  using rig = new Rig();
  rig.fill(3_000).close();
  const job = rig.job(rig.sqlite, { incremental: true, verify: "L2" });
  expect(await rig.backUp(job)).toBe(0);
  expect(rig.lines).toContainEqual({
    kind: "note",
    text: "a full backup is made instead of an incremental one: there is no full backup yet",
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...DEEDS), { minLength: 1, maxLength: 4 }), async (deeds) => {
      run(rig, deeds);
      // L2 rebuilds the file, compares its checksum, and counts its tables.
      expect(await rig.backUp(job)).toBe(0);
    }),
    { numRuns: 12 },
  );
  const { backups } = rig.repository().list();
  const newest = backups.findLast(({ manifest }) => manifest.kind === "full")?.id;
  expect(backups.at(-1)?.manifest.base ?? backups.at(-1)?.id).toBe(newest);
  expect(new Set(backups.map(({ manifest }) => manifest.kind))).toEqual(new Set(["full", "delta"]));
}, 60_000);

test.each<[string, (rig: Rig) => void, string]>([
  [
    "the size of the pages changed",
    (rig) => run(rig, ["PRAGMA journal_mode = DELETE", "PRAGMA page_size = 8192", "VACUUM"]),
    "pages of 8192 bytes now",
  ],
  ["most of it changed", (rig) => run(rig, ["UPDATE orders SET note = hex(randomblob(40))"]), "more than half"],
  [
    "the hashes are damaged",
    (rig) => truncateSync(join(rig.stored().folder, "pages.xxh64"), 8),
    "pages.xxh64 is damaged",
  ],
  [
    "the full backup is truncated",
    (rig) => truncateSync(join(rig.stored().folder, "data.000"), 100),
    "data.000 of the full backup",
  ],
  ["the hashes are gone", (rig) => rmSync(join(rig.stored().folder, "pages.xxh64")), "is not there"],
])("makeBackup() of what differs makes a full backup and says so when %s", async (_, harm, reason) => {
  using rig = new Rig();
  rig.fill(2_000).close();
  const job = rig.job(rig.sqlite, { incremental: true });
  expect(await rig.backUp(job)).toBe(0);
  harm(rig);
  rig.lines.length = 0;
  expect(await rig.backUp(job)).toBe(0);
  expect(rig.lines.find((line) => line.kind === "note")?.text).toContain(reason);
  expect(
    rig
      .repository()
      .list()
      .backups.map(({ manifest }) => manifest.kind),
  ).toEqual(["full", "full"]);
});

test("makeBackup() of what differs stores what is applied by hand as docs/backup.md says", async () => {
  using rig = new Rig();
  rig.fill(2_000).close();
  const job = rig.job(rig.sqlite, { incremental: true });
  expect(await rig.backUp(job)).toBe(0);
  run(rig, ["UPDATE orders SET note = 'changed' WHERE id % 500 = 0", "INSERT INTO orders (note) VALUES ('new')"]);
  expect(await rig.backUp(job)).toBe(0);
  const [base, delta] = rig.repository().list().backups;
  const docs = readFileSync(join(import.meta.dirname, "..", "..", "..", "docs", "backup.md"), "utf8");
  const [, lines = ""] = /```sh\n(cd STORE\/TARGET[\s\S]*?)```/.exec(docs) ?? [];
  expect(lines).not.toBe("");
  const script = lines
    .replaceAll("/tmp/", `${rig.folder}/`)
    .replaceAll("STORE/TARGET", rig.repository().folder)
    .replaceAll("FULL-ID", base?.id ?? "")
    .replaceAll("DELTA-ID", delta?.id ?? "");
  const out = execFileSync("bash", ["-euc", script]).toString();
  // Said by sha256sum, and by the manifest.
  expect(out.split(delta?.manifest.content.fileSha256 ?? "").length).toBe(3);
  expect(execFileSync("sqlite3", [join(rig.folder, "bot.restored.db"), "SELECT count(*) FROM orders"]).toString()).toBe(
    "2001\n",
  );
});

const rows = (path: string): string => execFileSync("sqlite3", [path, "SELECT * FROM orders ORDER BY id"]).toString();

test("rebuiltDatabase() puts a backup and its base together, and refuses another base", async () => {
  using rig = new Rig();
  rig.fill(2_000).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  run(rig, ["DELETE FROM orders WHERE id % 700 = 0", "INSERT INTO orders (note) VALUES ('new')"]);
  expect(await rig.backUp(rig.job(rig.sqlite, { incremental: true }))).toBe(0);
  const [base, delta] = rig.repository().list().backups;
  if (base === undefined || delta === undefined) throw new Error("there are not two backups");
  const stored = ({ folder, manifest }: typeof base) => ({
    manifest,
    raw: decodeStream(manifest, { read: readPart.bind(undefined, folder), identity: undefined }),
  });
  const copy = join(rig.folder, "copy.db");
  const pieces: Uint8Array[] = [];
  for await (const piece of rebuiltDatabase(stored(delta), stored(base))) pieces.push(Uint8Array.from(piece));
  writeFileSync(copy, Buffer.concat(pieces));
  expect(rows(copy)).toBe(rows(rig.database));
  expect(() => rebuiltDatabase(stored(delta), stored(delta))).toThrow("is made against");
  expect(() => rebuiltDatabase(stored(base), stored(base))).toThrow("is no incremental backup");
});

test("makeBackup() of what differs makes a full backup once a bit of the last one has flipped and a proof has found it", async () => {
  using rig = new Rig();
  rig.fill(500).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  const path = join(rig.stored().folder, "data.000");
  expect(await rig.backUp(rig.job(rig.sqlite, { incremental: true }))).toBe(0);
  const bytes = readFileSync(path);
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const place = { version: 1, target: rig.sqlite, store: "local", folder: rig.store, level: "L2" } as const;
  // That of the delta, whose own bytes are whole.
  const ids = rig
    .repository()
    .list()
    .backups.slice(-1)
    .map(({ id }) => id);
  expect(
    await checkBackups({ ...place, ids }, { write: (line) => void rig.lines.push(line), clock: systemClock }),
  ).toBe(4);
  rig.lines.length = 0;
  expect(await rig.backUp(rig.job(rig.sqlite, { incremental: true, verify: "L2" }))).toBe(0);
  expect(rig.lines.find((line) => line.kind === "note")?.text).toContain("does not stand its verification");
});

test("checkBackups() proves the newest full backup and then the incremental one that is newer, whatever came before", async () => {
  using rig = new Rig();
  rig.fill(500).close();
  const place = { version: 1, target: rig.sqlite, store: "local", folder: rig.store, level: "L2" } as const;
  const proven = async (): Promise<readonly string[]> => {
    rig.lines.length = 0;
    const io = { write: (line: BackupLine) => void rig.lines.push(line), clock: systemClock };
    expect(await checkBackups({ ...place, ids: [] }, io)).toBe(0);
    return rig.lines.flatMap((line) => (line.kind === "verified" ? [line.id] : []));
  };
  for (const incremental of [false, true, true]) await rig.backUp(rig.job(rig.sqlite, { incremental }));
  const [full, , delta] = rig.repository().list().backups;
  expect(await proven()).toEqual([full?.id, delta?.id]);
  await rig.backUp(rig.job(rig.sqlite));
  expect(await proven()).toEqual([rig.repository().list().backups.at(-1)?.id]);
});

test("restoreBackup() of what differs brings the database of that instant back, and nothing without its base", async () => {
  using rig = new RestoreRig();
  rig.fill(2_000).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  run(rig, ["UPDATE orders SET note = 'changed' WHERE id % 700 = 0", "INSERT INTO orders (note) VALUES ('new')"]);
  expect(await rig.backUp(rig.job(rig.sqlite, { incremental: true }))).toBe(0);
  const wanted = rowsOf(rig.database);
  run(rig, ["DELETE FROM orders"]);
  const job = rig.restoreJob(rig.sqlite);
  expect(await rig.restore(job)).toBe(0);
  expect(rowsOf(rig.database)).toBe(wanted);
  const [base] = rig.repository().list().backups;
  rmSync(base?.folder ?? "", { recursive: true });
  expect(await rig.restore(job)).toBe(4);
  expect(rowsOf(rig.database)).toBe(wanted);
});
