/** The disk of the repository, or of the data, fills up at each stage: what was there stays whole, and the next run works once there is room. */
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkBackups } from "../../../src/actions/backup/check.ts";
import { Failure } from "../../../src/actions/backup/failure.ts";
import { refuseNoRoom } from "../../../src/actions/backup/precheck.ts";
import { pruneBackups } from "../../../src/actions/backup/prune.ts";
import { BACKUP_STEPS } from "../../../src/actions/backup/make.ts";
import { RESTORE_STEPS } from "../../../src/actions/backup/restore-steps.ts";
import { pruneJobSchema, type VerifyJob } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { query, RestoreRig, rowsOf } from "./restore-rig.ts";

/** Larger than the reserve that a backup leaves free; pages that nobody writes cost nothing. */
const ROOMY = "4g";
const TMPFS_PAGE_BYTES = 4_096;

const base = mkdtempSync(join(tmpdir(), "full-"));
const mayMount =
  process.getuid?.() === 0 &&
  Bun.spawnSync({ cmd: ["mount", "-t", "tmpfs", "-o", `size=${ROOMY}`, "tmpfs", base], stderr: "ignore" }).exitCode ===
    0;
const WHY = mayMount ? "" : " [skipped: no right to mount a tmpfs]";

let temporary: string | undefined;
beforeAll(() => {
  temporary = process.env["TMPDIR"];
  // The rig makes its folder there.
  process.env["TMPDIR"] = base;
});
afterAll(() => {
  if (temporary === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporary;
  if (mayMount) Bun.spawnSync(["umount", "-l", base]);
  rmdirSync(base);
});

function remount(option: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["mount", "-o", `remount,${option}`, base]);
  if (exitCode !== 0) throw new Error(`cannot remount the tmpfs with ${option}: ${stderr.toString()}`);
}

const resize = (size: string): void => remount(`size=${size}`);

/** Not one page more than is in use. */
function fillUp(): void {
  const used = Bun.spawnSync(["df", "--output=used", "-B1", base]).stdout.toString().trim().split("\n").at(-1) ?? "0";
  resize(String(Math.max(TMPFS_PAGE_BYTES, Number(used))));
}

/** The deed with the disk full from the step on. */
function fullAfter(step: string): (done: string) => void {
  return (done) => {
    if (done === step) fillUp();
  };
}

/** A database, one backup of it, and orders since. */
async function stage(rig: RestoreRig): Promise<string> {
  rig.fill(3_000).close();
  const rows = rowsOf(rig.database);
  expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
  query(rig.database, "PRAGMA journal_mode = DELETE; DELETE FROM orders WHERE id % 2 = 0");
  return rows;
}

const hidden = (rig: RestoreRig): readonly string[] =>
  readdirSync(rig.repository().folder).filter((name) => /^\.(tmp|del)-/.test(name));

describe.runIf(mayMount)("on a disk that is full", () => {
  // Once it is published there is nothing left that must be written.
  test.each(BACKUP_STEPS.map((step) => [step, ["published", "pruned"].includes(step) ? 0 : 5] as const))(
    "makeBackup() after %s leaves the backups that were there, and no half of one",
    async (step, code) => {
      using rig = new RestoreRig();
      await stage(rig);
      const [before] = rig.repository().list().backups;
      const ended = await rig.backUp(rig.job(rig.sqlite, { verify: "L2" }), { onStep: fullAfter(step) });
      resize(ROOMY);
      expect(ended).toBe(code);
      const { backups, damaged } = rig.repository().list();
      expect({ first: backups[0]?.id, count: backups.length, damaged }).toEqual({
        first: before?.id,
        count: code === 0 ? 2 : 1,
        damaged: [],
      });
      expect(hidden(rig)).toEqual([]);
      expect(await rig.backUp(rig.job(rig.sqlite, { verify: "L2" }))).toBe(0);
    },
    60_000,
  );
});

describe.runIf(mayMount)("on a disk of data that is full", () => {
  const steps = RESTORE_STEPS.flatMap((step) => (step === "moved" ? ["moved:1", "moved:2"] : [step]));
  test.each(steps)(
    "restoreBackup() after %s leaves the old data or the new as a whole",
    async (step) => {
      using rig = new RestoreRig();
      const backedUp = await stage(rig);
      const old = rowsOf(rig.database);
      const [wanted, nth = "1"] = step.split(":");
      let seen = 0;
      const ended = await rig.restore(rig.restoreJob(rig.sqlite), {
        onStep: (done) => {
          if (done === wanted && (seen += 1) === Number(nth)) fillUp();
        },
      });
      resize(ROOMY);
      rig.settle();
      expect(rowsOf(rig.database)).toBe(ended === 0 || ended === 9 ? backedUp : old);
      expect(rig.journals).toEqual([]);
      expect(rig.traces.filter((name) => name.startsWith(".restore"))).toEqual([]);
      expect(await rig.restore(rig.restoreJob(rig.sqlite))).toBe(0);
      expect(rowsOf(rig.database)).toBe(backedUp);
    },
    60_000,
  );
});

function freeBytes(): number {
  const { bavail, bsize } = statfsSync(base);
  return bavail * bsize;
}

/** All inodes but so many are in use. */
function leaveFiles(count: number): void {
  const used = Bun.spawnSync(["df", "--output=iused", base]).stdout.toString().trim().split("\n").at(-1) ?? "0";
  remount(`nr_inodes=${Number(used) + count}`);
}

describe.runIf(mayMount)("on a disk without inodes", () => {
  test("makeBackup() and restoreBackup() refuse before anything is written, and work with enough of them", async () => {
    using rig = new RestoreRig();
    await stage(rig);
    const old = rowsOf(rig.database);
    leaveFiles(10);
    const made = await rig.backUp(rig.job(rig.sqlite));
    const restored = await rig.restore(rig.restoreJob(rig.sqlite));
    remount("nr_inodes=100k");
    expect([made, restored]).toEqual([5, 5]);
    expect(rig.failure()).toMatchObject({
      stage: "space",
      reason: expect.stringMatching(/ has inodes for 10 more files/),
    });
    expect([rowsOf(rig.database), rig.repository().list().backups.length, hidden(rig)]).toEqual([old, 1, []]);
    expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    expect(await rig.restore(rig.restoreJob(rig.sqlite))).toBe(0);
  }, 60_000);
});

describe.runIf(mayMount)("with less than the reserve left", () => {
  test("makeBackup() raises one alarm, whatever comes of the run, and says when there is room again", async () => {
    using rig = new RestoreRig();
    const retention = { hourly: 86_400_000, daily: 0, weekly: 0, monthly: 0, minKeep: 3 };
    const job = rig.job(rig.sqlite, { retention });
    rig.fill(3_000).close();
    expect(await rig.backUp(job)).toBe(0);
    // A fifth of a small disk is its reserve.
    resize("64m");
    const ballast = join(rig.folder, "ballast");
    writeFileSync(ballast, Buffer.alloc(54 * 1_024 ** 2));
    // The daemon looks at the disk itself.
    const scheduled = { ...job, trigger: "schedule", record: join(rig.folder, "records", "other.json") } as const;
    const full = [await rig.backUp(scheduled), await rig.backUp(job), await rig.backUp(job)];
    rmSync(ballast);
    expect(full).toEqual([5, 5, 5]);
    const said = (kind: "alarm" | "note") => rig.lines.flatMap((line) => (line.kind === kind ? [line.text] : []));
    expect(said("alarm")).toEqual([expect.stringMatching(/ free, less than the reserve of .*: make room/)]);
    expect(said("note")).toEqual([]);
    expect(await rig.backUp(job)).toBe(0);
    resize(ROOMY);
    expect([said("alarm").length, said("note")]).toEqual([1, [expect.stringMatching(/ free again, enough for /)]]);
  }, 60_000);
});

describe.runIf(mayMount)("on a disk that another program fills up", () => {
  test("makeBackup() ends while it copies the source, before the bot's disk is full", async () => {
    using rig = new RestoreRig();
    rig.fill(30_000).close();
    resize("64m");
    const ballast = join(rig.folder, "ballast");
    const steps: string[] = [];
    const code = await rig.backUp(rig.job(rig.sqlite), {
      onStep: (step) => {
        steps.push(step);
        // What is left then is less than half of the reserve, and more than the copy takes.
        if (step === "begun") writeFileSync(ballast, Buffer.alloc(freeBytes() - 5 * 1_024 ** 2));
      },
    });
    rmSync(ballast);
    resize(ROOMY);
    expect([code, steps]).toEqual([5, ["locked", "begun"]]);
    expect(rig.failure()).toMatchObject({ stage: "space", reason: expect.stringMatching(/is filling up: \d/) });
    expect(hidden(rig)).toEqual([]);
  }, 60_000);
});

describe.runIf(mayMount)("with room for what is stored alone", () => {
  test("makeBackup() refuses what its proof would unpack, before anything is written, and names the bots of the disk", async () => {
    using rig = new RestoreRig();
    const paths = [join(rig.folder, "data")];
    mkdirSync(join(rig.folder, "data"));
    writeFileSync(join(rig.folder, "data", "noise"), crypto.getRandomValues(Buffer.alloc(65_536)));
    for (let n = 0; n < 7; n += 1)
      writeFileSync(join(rig.folder, "data", `zeros-${n}`), Buffer.alloc(2 * 1_024 ** 2, n));
    resize("64m");
    writeFileSync(join(rig.folder, "ballast"), Buffer.alloc(20 * 1_024 ** 2));
    const bots = [
      { name: "momentum", folder: rig.folder },
      { name: "elsewhere", folder: "/proc" },
    ];
    const target = { kind: "files", name: "state", paths } as const;
    const steps: string[] = [];
    const refused = await rig.backUp(rig.job(target, { verify: "L2", bots }), { onStep: (step) => steps.push(step) });
    const shallow = await rig.backUp(rig.job(target, { bots }));
    resize(ROOMY);
    expect([refused, steps, shallow]).toEqual([5, ["locked"], 0]);
    expect(rig.failure()?.reason).toMatch(
      new RegExp(`, on a disk that is also that of the bot momentum, ${paths[0]}; make room or name another store$`),
    );
    expect(await rig.backUp(rig.job(target, { verify: "L2" }))).toBe(0);
  }, 60_000);
});

describe.runIf(mayMount)("with the source's own copy on another disk", () => {
  test("refuseNoRoom() looks at that disk, too, and at both at once where they are one", () => {
    using rig = new RestoreRig();
    rig.repository().make();
    const other = mkdtempSync(join(tmpdir(), "other-"));
    const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", other]);
    try {
      expect(mount.exitCode).toBe(0);
      const job = rig.job(rig.sqlite);
      const refusal = (folder: string, bytes: number): string | undefined => {
        try {
          const room = { rawBytes: 1, temporaryBytes: 0, beside: { folder, bytes } };
          refuseNoRoom(job, rig.repository(), room);
          return undefined;
        } catch (error) {
          return error instanceof Failure && error.stage === "space" ? error.message : String(error);
        }
      };
      expect(refusal(other, 8 * 1_024 ** 2)).toBeUndefined();
      expect(refusal(other, 15 * 1_024 ** 2)).toMatch(new RegExp(`^${other} has .* that is where state itself writes`));
      expect(refusal(rig.folder, 8 * 1_024 ** 2)).toBeUndefined();
      expect(refusal(rig.folder, 8 * 1_024 ** 3)).toMatch(new RegExp(`^${rig.store} has .* make room or name another`));
    } finally {
      Bun.spawnSync(["umount", "-l", other]);
      rmdirSync(other);
    }
  });
});

describe.runIf(mayMount)("with no room left", () => {
  test("checkBackups() says so, and refutes no backup that was proven", async () => {
    using rig = new RestoreRig();
    await stage(rig);
    const { id, state } = rig.stored();
    const job: VerifyJob = {
      version: 1,
      target: rig.sqlite,
      store: "local",
      folder: rig.store,
      level: "L2",
      ids: [id],
    };
    fillUp();
    const code = await checkBackups(job, { write: (line) => void rig.lines.push(line), clock: systemClock });
    resize(ROOMY);
    expect([code, rig.failure()]).toEqual([
      5,
      expect.objectContaining({
        stage: "space",
        reason: expect.stringMatching(/ are needed beside .* prove it to L1/),
      }),
    ]);
    expect(rig.stored().state).toEqual(state);
  }, 60_000);

  test("pruneBackups() needs no room: it makes some", async () => {
    using rig = new RestoreRig();
    await stage(rig);
    for (let n = 0; n < 3; n += 1) {
      // One after the other: each is newer than the last.
      // oxlint-disable-next-line no-await-in-loop
      expect(await rig.backUp(rig.job(rig.sqlite))).toBe(0);
    }
    const retention = { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };
    const place = { version: 1, target: rig.sqlite, store: "local", folder: rig.store };
    const job = pruneJobSchema.parse({ ...place, retention, dryRun: false, force: true });
    fillUp();
    const code = await pruneBackups(job, { write: (line) => void rig.lines.push(line), clock: systemClock });
    resize(ROOMY);
    expect(code).toBe(0);
    const { backups, damaged } = rig.repository().list();
    expect([backups.length, damaged, hidden(rig)]).toEqual([1, [], []]);
  }, 60_000);
});

test.skipIf(mayMount)(`makeBackup() and restoreBackup() on a full disk${WHY}`, () => {
  expect(mayMount).toBe(true);
});
