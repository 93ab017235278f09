/** Runs of the schedule whose source has not changed: nothing is copied, what is there is proven again, and stands for longer. */
import { chmodSync, mkdirSync, readFileSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BACKUP_STEPS } from "../../../src/actions/backup/make.ts";
import { readRecord } from "../../../src/actions/backup/record.ts";
import type { StoredBackup } from "../../../src/actions/backup/repository.ts";
import { UNCHANGED_STEPS } from "../../../src/actions/backup/unchanged.ts";
import type { BackupJob, JobTarget } from "../../../src/core/backup-job.ts";
import { isRefuted, provenLevel } from "../../../src/core/backup-manifest.ts";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";
import { Rig } from "./rig.ts";

const FIXTURE = join(import.meta.dirname, "..", "..", "fixtures", "backup-and-die.ts");
/** A minute ahead: what was written just now has settled. */
const clock: Clock = { ...systemClock, wallTime: () => new Date(Date.now() + 60_000) };

class Place extends Rig {
  async run(target: JobTarget = this.sqlite, more: Partial<BackupJob> = {}): Promise<readonly StoredBackup[]> {
    const code = await this.backUp(this.job(target, { trigger: "schedule", ...more }), { clock });
    if (code !== 0) throw new Error(`it ended with ${code}: ${this.failure()?.reason}`);
    return this.repository(target.name).list().backups;
  }

  files(secret = false): JobTarget & { readonly paths: string[] } {
    const folder = join(this.folder, "conf");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "bot.yaml"), "size: 1\n");
    symlinkSync("bot.yaml", join(folder, "link"));
    return { kind: secret ? "secrets" : "files", name: "conf", paths: [folder] };
  }
}

const idsOf = (backups: readonly StoredBackup[]): readonly string[] => backups.map(({ id }) => id);

describe("makeBackup() of the schedule", () => {
  test("copies nothing that has not changed: proves the backup again and moves success and recovery point on", async () => {
    using rig = new Place();
    rig.fill(300).close();
    const [made] = await rig.run();
    const before = Date.now();
    const [seen, ...more] = await rig.run(rig.sqlite, { verify: "L2" });
    expect([seen?.id, more]).toEqual([made?.id, []]);
    expect(seen?.manifest).toEqual(made?.manifest);
    expect(seen === undefined ? undefined : provenLevel(seen.state)).toBe("L2");
    const { unchangedAt = "" } = seen?.state ?? {};
    expect(Date.parse(unchangedAt)).toBeGreaterThanOrEqual(before);
    const record = readRecord(rig.job(rig.sqlite).record);
    expect(record?.lastSuccess).toMatchObject({ id: made?.id, snapshotAt: made?.manifest.snapshotAt, unchangedAt });
    expect(Date.parse(record?.lastSuccess?.at ?? "")).toBeGreaterThanOrEqual(Date.parse(unchangedAt));
    expect(rig.lines.find(({ kind }) => kind === "unchanged")).toMatchObject({ id: made?.id, level: "L2" });
  });

  test("thins out by age after such a run, too, and keeps in mind until when the backup holds", async () => {
    using rig = new Place();
    rig.fill(30).close();
    const [old] = await rig.run();
    rig.fill(1).close();
    await rig.run();
    const retention = { hourly: 1, daily: 1, weekly: 1, monthly: 1, minKeep: 1 };
    const [seen, ...more] = await rig.run(rig.sqlite, { retention });
    expect(more).toEqual([]);
    expect(rig.lines.filter(({ kind }) => kind === "pruned")).toEqual([{ kind: "pruned", ids: [old?.id] }]);
    expect(readRecord(rig.job(rig.sqlite).record)?.stock).toMatchObject({ newestAt: seen?.state.unchangedAt });
  });

  test("makes another backup at once when the one that is there does not stand its verification any more", async () => {
    using rig = new Place();
    rig.fill(300).close();
    const [made] = await rig.run();
    const part = join(made?.folder ?? "", "data.000");
    const bytes = readFileSync(part);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(part, bytes);
    const [damaged, whole] = await rig.run();
    expect(damaged === undefined ? undefined : isRefuted(damaged.state)).toBe(true);
    expect(damaged?.state.unchangedAt).toBe(undefined);
    expect(whole?.manifest.kind).toBe("full");
    expect(rig.lines.filter(({ kind }) => kind === "alarm")).toHaveLength(1);
    // From here on that one stands for both.
    expect(idsOf(await rig.run())).toEqual([damaged?.id, whole?.id]);
  });
});

describe("makeBackup() of the schedule copies", () => {
  test("what has changed, and again what would look otherwise", async () => {
    using rig = new Place();
    rig.fill(30).close();
    await rig.run();
    rig.fill(1).close();
    expect(await rig.run()).toHaveLength(2);
    expect(await rig.run(rig.sqlite, { compress: "gzip" })).toHaveLength(3);
    expect(await rig.run(rig.sqlite, { compress: "gzip" })).toHaveLength(3);
    expect(await rig.run(rig.sqlite, { compress: "gzip", tool: { name: "supervisor", version: "next" } })).toHaveLength(
      4,
    );
  });

  test.each(["manual", "pre-upgrade", "pre-restore"] as const)(
    "what a run that is %s copies, whatever is there",
    async (trigger) => {
      using rig = new Place();
      rig.fill(30).close();
      await rig.run();
      expect(await rig.run(rig.sqlite, { trigger })).toHaveLength(2);
    },
  );

  test("what was written a moment ago again: a later write may have left the same times", async () => {
    using rig = new Place();
    rig.fill(30).close();
    const job = rig.job(rig.sqlite, { trigger: "schedule" });
    expect(await rig.backUp(job)).toBe(0);
    expect(rig.stored().manifest.sourceMark).toBe(undefined);
    expect(await rig.run()).toHaveLength(2);
    expect(await rig.run()).toHaveLength(2);
  });
});

describe("makeBackup() of the schedule, incremental,", () => {
  test("is content with a full backup or a delta of the same, and a full run with a full one alone", async () => {
    using rig = new Place();
    rig.fill(300).close();
    await rig.run();
    expect(await rig.run(rig.sqlite, { incremental: true })).toHaveLength(1);
    rig.fill(1).close();
    expect((await rig.run(rig.sqlite, { incremental: true })).map(({ manifest }) => manifest.kind)).toEqual([
      "full",
      "delta",
    ]);
    expect(await rig.run(rig.sqlite, { incremental: true })).toHaveLength(2);
    expect(await rig.run()).toHaveLength(3);
    expect(await rig.run()).toHaveLength(3);
  });

  test("is not content with a delta whose full backup has gone bad", async () => {
    using rig = new Place();
    rig.fill(300).close();
    const [full] = await rig.run();
    rig.fill(1).close();
    await rig.run(rig.sqlite, { incremental: true });
    unlinkSync(join(full?.folder ?? "", "data.000"));
    const kinds = (await rig.run(rig.sqlite, { incremental: true })).map(({ manifest }) => manifest.kind);
    expect(kinds).toEqual(["full", "delta", "full"]);
  });
});

describe("makeBackup() of the schedule, of files,", () => {
  const changes: readonly (readonly [string, (folder: string) => void])[] = [
    ["a byte of a file", (folder) => writeFileSync(join(folder, "bot.yaml"), "size: 2\n")],
    ["a mode", (folder) => chmodSync(join(folder, "bot.yaml"), 0o600)],
    ["a name", (folder) => renameSync(join(folder, "bot.yaml"), join(folder, "other.yaml"))],
    ["a file more", (folder) => writeFileSync(join(folder, "more"), "")],
    [
      "where a link points to",
      (folder) => {
        unlinkSync(join(folder, "link"));
        symlinkSync("elsewhere", join(folder, "link"));
      },
    ],
  ];

  test.each(changes)("copies nothing until %s changes", async (_, change) => {
    using rig = new Place();
    const target = rig.files();
    await rig.run(target);
    expect(await rig.run(target)).toHaveLength(1);
    change(target.paths[0] ?? "");
    expect(await rig.run(target)).toHaveLength(2);
  });

  test("keeps the mark of secrets free of what is in them", async () => {
    using rig = new Place();
    const { generateIdentity, identityToRecipient } = await import("age-encryption");
    const identity = await generateIdentity();
    const keys = { recipients: [await identityToRecipient(identity)], identity };
    const target = rig.files(true);
    const file = join(target.paths[0] ?? "", "bot.yaml");
    await rig.run(target, keys);
    expect(await rig.run(target, keys)).toHaveLength(1);
    writeFileSync(file, "size: 2\n");
    expect(await rig.run(target, keys)).toHaveLength(2);
  });
});

test.each([...UNCHANGED_STEPS, ...BACKUP_STEPS.filter((step) => ["locked", "pruned"].includes(step))])(
  "makeBackup() of an unchanged source killed after %s leaves the one backup whole, and the next run finds it again",
  async (step) => {
    using rig = new Place();
    rig.fill(300).close();
    const [made] = await rig.run();
    const retention = { hourly: 1, daily: 1, weekly: 1, monthly: 1, minKeep: 1 };
    const job = rig.job(rig.sqlite, { trigger: "schedule", verify: "L2", retention });
    const died = Bun.spawnSync([process.execPath, FIXTURE, JSON.stringify(job), step, "60000"], { stdout: "ignore" });
    expect(died.signalCode).toBe("SIGKILL");
    expect(rig.repository().list()).toMatchObject({ backups: [{ id: made?.id }], damaged: [] });
    expect(idsOf(await rig.run(rig.sqlite, { verify: "L2" }))).toEqual([made?.id]);
    expect(rig.lines.at(-1)).toMatchObject({ kind: "unchanged", level: "L2" });
  },
);
