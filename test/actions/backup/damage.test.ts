/** Damage of each file that a backup consists of, and of a database whose copy is faithful: found at the level that promises it. */
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import type { Level } from "../../../src/core/backup-manifest.ts";
import { provenLevel } from "../../../src/core/backup-manifest.ts";
import type { VerifyJob } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { query, RestoreRig } from "./restore-rig.ts";
import { Rig } from "./rig.ts";

/** Places of a file in which a bit is flipped, beside its first and last byte. */
const PLACES = 14;

interface Harm {
  readonly name: string;
  readonly to: (path: string) => void;
}

function harms(bytes: number): readonly Harm[] {
  const places = [...Array(PLACES).keys()].map((n) => Math.floor((n * (bytes - 1)) / (PLACES - 1)));
  const flips = [...new Set(places)].map((place, n) => ({
    name: `bit ${n % 8} of byte ${place} flipped`,
    to: (path: string) => {
      const whole = readFileSync(path);
      whole[place] = (whole[place] ?? 0) ^ (1 << (n % 8));
      writeFileSync(path, whole);
    },
  }));
  const cuts = [0, Math.floor(bytes / 2), bytes - 1].map((left) => ({
    name: `cut to ${left} bytes`,
    to: (path: string) => truncateSync(path, left),
  }));
  return [...flips, ...cuts, { name: "removed", to: (path) => rmSync(path) }];
}

/** A full backup and an incremental one on it. */
async function stage(rig: Rig): Promise<void> {
  rig.fill(400).close();
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  query(rig.database, "INSERT INTO orders (note) VALUES ('new')");
  expect(await rig.backUp(rig.job(rig.sqlite, { incremental: true }))).toBe(0);
}

async function check(rig: Rig, id: string, level: Level) {
  rig.lines.length = 0;
  const place: VerifyJob = { version: 1, target: rig.sqlite, store: "local", folder: rig.store, level, ids: [id] };
  const code = await checkBackups(place, { write: (line) => void rig.lines.push(line), clock: systemClock });
  return { code, detail: rig.lines.find((line) => line.kind === "verified")?.detail ?? null };
}

test("checkBackups() finds at L0 each flipped bit, cut and loss in each file that holds data or says what it must be", async () => {
  using rig = new Rig();
  await stage(rig);
  let tried = 0;
  for (const { id, folder } of rig.repository().list().backups)
    for (const file of readdirSync(folder).filter((name) => !name.startsWith("state.json"))) {
      const path = join(folder, file);
      const whole = readFileSync(path);
      for (const harm of harms(whole.length)) {
        // A copy elsewhere may be without them.
        if (file === "pages.xxh64" && harm.name === "removed") continue;
        harm.to(path);
        // One after the other: they harm the same files.
        // oxlint-disable-next-line no-await-in-loop
        const { code, detail } = await check(rig, id, "L0");
        expect.soft(detail, `${file}, ${harm.name}`).not.toBeNull();
        // Damaged hashes of pages cost the next incremental backup, and no restore.
        expect.soft(code, `${file}, ${harm.name}`).toBe(file === "pages.xxh64" ? 0 : 4);
        writeFileSync(path, whole);
        tried += 1;
      }
      // Safe: one look after the other.
      // oxlint-disable-next-line no-await-in-loop
      expect(await check(rig, id, "L0")).toEqual({ code: 0, detail: null });
    }
  expect(tried).toBeGreaterThan(100);
}, 60_000);

test("Repository.list() believes nothing of a state.json of which a bit has flipped, and what it says where none that counts has", async () => {
  using rig = new Rig();
  await stage(rig);
  const before = rig.repository().list().backups[0];
  if (before === undefined) throw new Error("there is no backup");
  const path = join(before.folder, "state.json");
  const whole = readFileSync(path);
  let refused = 0;
  const believed: unknown[] = [];
  for (let place = 0; place < whole.length; place += 1)
    for (const bit of [0, 1, 5]) {
      const flipped = Buffer.from(whole);
      flipped[place] = (flipped[place] ?? 0) ^ (1 << bit);
      writeFileSync(path, flipped);
      const state = rig.repository().list().backups[0]?.state;
      if (state !== undefined && state.verifications.length === 0) refused += 1;
      // A blank more or less, or the name of the checksum.
      else believed.push({ verifications: state?.verifications, pinned: state?.pinned });
    }
  const { verifications, pinned } = before.state;
  expect(new Set(believed.map((each) => JSON.stringify(each)))).toEqual(
    new Set([JSON.stringify({ verifications, pinned })]),
  );
  expect(refused).toBeGreaterThan(whole.length);
}, 60_000);

test("restoreBackup() refuses a database with a row that an index has not, until a proof is remembered that has looked", async () => {
  using rig = new RestoreRig();
  rig.fill(50).close();
  query(
    rig.database,
    `CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'orders_note';
     PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'orders_note'; PRAGMA writable_schema = RESET;
     DELETE FROM orders WHERE id = 7; INSERT INTO orders (note) VALUES ('not in the index');
     PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; PRAGMA writable_schema = RESET; DROP TABLE kept`,
  );
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  const job = rig.restoreJob(rig.sqlite);
  expect(await rig.restore(job)).toBe(4);
  expect(rig.failure()?.reason).toContain("missing from index orders_note");
  const { id, folder, state } = rig.stored();
  const proof = { level: "L2", at: new Date().toISOString(), ok: true, durationMs: 1, detail: null } as const;
  rig.repository().writeState(id, { ...state, verifications: [proof] });
  expect(provenLevel(rig.stored().state)).toBe("L2");
  expect(await rig.restore(job)).toBe(0);
  // The same files elsewhere have no history that is believed.
  const elsewhere = join(rig.folder, "elsewhere");
  cpSync(folder, elsewhere, { recursive: true });
  expect(await rig.restore({ ...job, from: { kind: "file", path: elsewhere } })).toBe(4);
}, 60_000);
