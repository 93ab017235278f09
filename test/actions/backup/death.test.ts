/** A backup whose worker is killed after each of its steps: what is there afterwards is the old state or the new one. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BACKUP_STEPS } from "../../../src/actions/backup/make.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { Rig } from "./rig.ts";

const FIXTURE = join(import.meta.dirname, "..", "..", "fixtures", "backup-and-die.ts");

test.each(BACKUP_STEPS)(
  "makeBackup() killed after %s leaves whole backups only, and the next run clears up",
  async (step) => {
    using rig = new Rig();
    rig.fill(300).close();
    const job = rig.job(rig.sqlite, { verify: "L2" });
    expect(await rig.backUp(job)).toBe(0);
    const died = Bun.spawnSync([process.execPath, FIXTURE, JSON.stringify(job), step], { stdout: "ignore" });
    expect(died.signalCode).toBe("SIGKILL");

    const { backups, damaged } = rig.repository().list();
    expect(damaged).toEqual([]);
    expect(backups).toHaveLength(["published", "pruned"].includes(step) ? 2 : 1);
    expect(await rig.backUp(job)).toBe(0);
    for (const { folder, manifest } of rig.repository().list().backups) {
      // One after the other: each takes the whole machine for a moment.
      const options = {
        folder,
        manifest,
        level: "L2",
        scratch: rig.folder,
        identity: undefined,
        clock: systemClock,
      } as const;
      expect(await verifyBackup(options)).toMatchObject({ ok: true });
    }
    expect(leftovers(rig)).toEqual([]);
  },
);

test.each(BACKUP_STEPS)(
  "makeBackup() of what has changed, killed after %s, leaves the full backup and whole deltas only",
  async (step) => {
    using rig = new Rig();
    rig.fill(300).close();
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    rig.fill(10).close();
    const job = rig.job(rig.sqlite, { incremental: true, verify: "L2" });
    const died = Bun.spawnSync([process.execPath, FIXTURE, JSON.stringify(job), step], { stdout: "ignore" });
    expect(died.signalCode).toBe("SIGKILL");

    const { backups, damaged } = rig.repository().list();
    expect(damaged).toEqual([]);
    const kinds = backups.map(({ manifest }) => manifest.kind);
    expect(kinds).toEqual(["published", "pruned"].includes(step) ? ["full", "delta"] : ["full"]);
    // L2 rebuilds the database, and proves the full backup by it.
    expect(await rig.backUp(job)).toBe(0);
    expect(rig.repository().list().backups.at(-1)?.manifest).toMatchObject({ kind: "delta", base: backups[0]?.id });
    expect(leftovers(rig)).toEqual([]);
  },
);

function leftovers(rig: Rig): readonly string[] {
  return readdirSync(rig.repository().folder).filter((name) => name.startsWith(".") && name !== ".lock");
}
