/** A backup of which a file is gone: every command names the file and the backup, and what is told of the target counts it no more. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { readRecord } from "../../../src/actions/backup/record.ts";
import type { BackupJob, VerifyJob } from "../../../src/core/backup-job.ts";
import type { BackupRecord } from "../../../src/core/backup-record.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { query, RestoreRig } from "./restore-rig.ts";

const retention = { hourly: 3_600_000, daily: 86_400_000, weekly: 0, monthly: 0, minKeep: 3 };

/** A full backup, another one, and an incremental one on that. */
async function stage(rig: RestoreRig): Promise<{ ids: readonly string[]; job: BackupJob }> {
  rig.fill(400).close();
  const job = rig.job(rig.sqlite, { retention });
  expect(await rig.backUp(job)).toBe(0);
  query(rig.database, "INSERT INTO orders (note) VALUES ('one')");
  expect(await rig.backUp(job)).toBe(0);
  query(rig.database, "INSERT INTO orders (note) VALUES ('two')");
  expect(await rig.backUp({ ...job, incremental: true })).toBe(0);
  return {
    ids: rig
      .repository()
      .list()
      .backups.map(({ id }) => id),
    job,
  };
}

function remove(rig: RestoreRig, id: string): string {
  rmSync(join(rig.repository().folder, id, "data.000"));
  return `the file data.000 of ${id} is missing`;
}

test.each(["L0", "L2"] as const)(
  "checkBackups() at %s names the file that is missing, and the record counts neither that backup nor what needs it",
  async (level) => {
    using rig = new RestoreRig();
    const { ids, job } = await stage(rig);
    const [old = "", full = "", delta = ""] = ids;
    const recordOf = (): BackupRecord | undefined => readRecord(job.record);
    const snapshotOf = (id: string): string | undefined =>
      rig
        .repository()
        .list()
        .backups.find((each) => each.id === id)?.manifest.snapshotAt;
    expect(recordOf()?.stock?.newestAt).toBe(snapshotOf(delta));
    const reason = remove(rig, full);
    const ask: VerifyJob = { ...job, level, ids: [full] };
    const code = await checkBackups(ask, { write: (line) => void rig.lines.push(line), clock: systemClock });
    expect(code).toBe(4);
    expect(rig.lines.findLast((line) => line.kind === "verified")).toMatchObject({
      id: full,
      ok: false,
      detail: reason,
    });
    const needs = { id: delta, reason: `it needs ${full}, which is damaged` };
    expect(recordOf()).toMatchObject({
      damaged: [{ id: full, reason }, needs],
      stock: { oldestAt: snapshotOf(old), newestAt: snapshotOf(old) },
    });
  },
);

test("restoreBackup() names the file that is missing, of the backup and of the one that it needs", async () => {
  using rig = new RestoreRig();
  const { ids } = await stage(rig);
  const [, full = "", delta = ""] = ids;
  const reason = remove(rig, full);
  for (const id of [full, delta]) {
    rig.lines.length = 0;
    const from = { kind: "backup", folder: rig.store, id } as const;
    // One after the other: there is one lock.
    // oxlint-disable-next-line no-await-in-loop
    expect(await rig.restore(rig.restoreJob(rig.sqlite, { from }))).toBe(4);
    expect(rig.failure()?.reason).toBe(`${id} is damaged: ${reason}`);
  }
});
