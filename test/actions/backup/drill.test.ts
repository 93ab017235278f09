/** Drills: the newest copies restored into scratch, measured, and written down; whatever fails is said and nothing is left behind. */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { drill } from "../../../src/actions/backup/drill.ts";
import { readDrillRecord } from "../../../src/actions/backup/drill-record.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import {
  DRILL_STEPS,
  drillJobSchema,
  type DrillJob,
  type DrillReport,
  type DrillTarget,
} from "../../../src/core/drill.ts";
import { drillText } from "../../../src/report/drill-text.ts";
import { hasty, RemoteRig } from "./remote-rig.ts";

/** A machine that is ten times slower is no fault. */
vi.setConfig({ testTimeout: 120_000 });

const DIE = join(import.meta.dirname, "..", "..", "fixtures", "drill-and-die.ts");

function jobOf(rig: RemoteRig, more: Partial<DrillTarget> = {}, rest: Partial<DrillJob> = {}): DrillJob {
  const remote = rig.s3.settings();
  return drillJobSchema.parse({
    version: 1,
    trigger: "manual",
    by: { user: "ops", host: "h", tool: "supervisor test", config: "/etc/x.yaml" },
    objectives: { rtoSeconds: 3_600, rpoSeconds: 3_600 },
    scratch: join(rig.folder, "scratch"),
    records: join(rig.folder, "records"),
    targets: [
      {
        target: "state",
        kind: "sqlite",
        store: "offsite",
        from: { kind: "bucket", remote, known: [] },
        checks: [{ kind: "rows", table: "orders", atLeast: 100 }],
        rpoSeconds: 3_600,
        ...more,
      },
    ],
    ...rest,
  });
}

async function run(job: DrillJob): Promise<{ readonly code: number; readonly report: DrillReport | undefined }> {
  const lines: BackupLine[] = [];
  const code = await drill(job, { clock: hasty, write: (line) => void lines.push(line) });
  const last = lines.at(-1);
  return { code, report: last?.kind === "drilled" ? last.report : undefined };
}

const scratchIn = (rig: RemoteRig): readonly string[] => readdirSync(join(rig.folder, "scratch"));

test("a drill restores the newest copy, with the full backup that it needs, and writes down how", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.fill(5).close();
  await rig.backUp(rig.job(rig.sqlite, { incremental: true }));
  await rig.remotely(rig.remoteJob("copy"));
  const [full, delta] = rig.repository().list().backups;
  const { code, report } = await run(jobOf(rig));
  expect(code).toBe(0);
  expect(report).toMatchObject({
    ok: true,
    rtoMet: true,
    rpoMet: true,
    by: { user: "ops" },
    targets: [
      {
        ok: true,
        snapshotAt: delta?.manifest.snapshotAt,
        steps: DRILL_STEPS.map((name) => ({ name, ok: true })),
      },
    ],
  });
  const stored = (id: string | undefined): string =>
    createHash("sha256")
      .update(rig.s3.objects.get(`bot 1/backups/state/${id}/manifest.json`) ?? "")
      .digest("hex");
  expect(report?.targets[0]?.backups).toMatchObject([
    { id: full?.id, manifestSha256: stored(full?.id) },
    { id: delta?.id, manifestSha256: stored(delta?.id), parts: delta?.manifest.parts.map(({ sha256 }) => sha256) },
  ]);
  expect(report?.targets[0]?.checks).toContainEqual({ name: "rows of orders", ok: true, text: "305" });
  expect(scratchIn(rig)).toEqual([]);
  expect(readDrillRecord(join(rig.folder, "records"))).toMatchObject({ last: { ok: true }, failuresInRow: 0 });
  expect(report && drillText(report)).toMatch(
    /PASSED[\s\S]*recovery point \(RPO\).*met[\s\S]*ok {4}rows of orders: 305/,
  );
});

test("each record holds the checksum of the one before, also after a line that was torn", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  const job = jobOf(rig, { from: { kind: "folder", folder: rig.store } });
  await run(job);
  const log = join(rig.folder, "records", "drills.jsonl");
  const [first = ""] = readFileSync(log, "utf8").split("\n");
  appendFileSync(log, '{"version":1,"torn');
  const { report } = await run(job);
  expect(report?.previousSha256).toBe(createHash("sha256").update(first).digest("hex"));
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  expect(JSON.parse(lines[2] ?? "")).toMatchObject({ id: report?.id });
});

test.each<[string, (rig: RemoteRig) => DrillJob | Promise<DrillJob>, RegExp]>([
  ["nothing is there", (rig) => jobOf(rig), /find: nothing to restore in offsite/],
  [
    "a stored bit has flipped",
    async (rig) => {
      await rig.remotely(rig.remoteJob("copy"));
      rig.s3.damage(rig.s3.keys(/data\.000/)[0] ?? "");
      return jobOf(rig);
    },
    /fetch: data\.000 has another checksum/,
  ],
  [
    "a check fails",
    async (rig) => {
      await rig.remotely(rig.remoteJob("copy"));
      return jobOf(rig, { checks: [{ kind: "rows", table: "orders", atLeast: 1_000 }] });
    },
    /restore: rows of orders: 300, fewer than 1000/,
  ],
  [
    "the data is older than promised",
    async (rig) => {
      await rig.remotely(rig.remoteJob("copy"));
      return jobOf(rig, { rpoSeconds: 0 });
    },
    /state: the newest backup was \d+ s old, and 0 s are promised/,
  ],
  [
    "it takes longer than promised",
    async (rig) => {
      await rig.remotely(rig.remoteJob("copy"));
      return jobOf(rig, {}, { objectives: { rtoSeconds: 0, rpoSeconds: 3_600 } });
    },
    /it took \d+ s, and 0 s are promised/,
  ],
])("a drill ends with 1, says why, is recorded and leaves nothing when %s", async (_, prepare, why) => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  const { code, report } = await run(await prepare(rig));
  expect(code).toBe(1);
  expect(report?.ok).toBe(false);
  expect(readDrillRecord(join(rig.folder, "records"))?.last).toMatchObject({
    ok: false,
    error: expect.stringMatching(why),
  });
  const restored = report?.targets.every(({ rtoSeconds }) => rtoSeconds !== null);
  expect(report && drillText(report)).toMatch(restored === true ? /\(RTO\) {3}\d/ : /\(RTO\) {3}unknown: .* MISSED/);
  expect(scratchIn(rig)).toEqual([]);
});

test("a store that is down fails the step, and is tried again sooner than an objective that was missed", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.s3.fail(503, "GET", /^$/, 6);
  expect((await run(jobOf(rig))).code).toBe(1);
  expect(readDrillRecord(join(rig.folder, "records"))).toMatchObject({ last: { done: false }, failuresInRow: 1 });
  await run(jobOf(rig, { from: { kind: "folder", folder: rig.store }, rpoSeconds: 0 }));
  expect(readDrillRecord(join(rig.folder, "records"))).toMatchObject({
    last: { done: true, ok: false },
    failuresInRow: 0,
  });
});

test.concurrent.each(["find", "fetch", "restore"] as const)(
  "what a drill killed after %s has left is removed by the next one, and nothing else",
  async (step) => {
    await using rig = await RemoteRig.open();
    await rig.backUpOrders();
    await rig.remotely(rig.remoteJob("copy"));
    const child = Bun.spawn([process.execPath, DIE, step], {
      stdin: Buffer.from(JSON.stringify(jobOf(rig))),
      stdout: "ignore",
    });
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
    expect(scratchIn(rig)).toHaveLength(2);
    writeFileSync(join(rig.folder, "scratch", "notes"), "mine");
    expect((await run(jobOf(rig))).code).toBe(0);
    expect(scratchIn(rig)).toEqual(["notes"]);
    expect(existsSync(join(rig.folder, "records", "drills.jsonl"))).toBe(true);
  },
);

test("a drill counts what is lost from when the source was last seen unchanged", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  const { id, state, manifest } = rig.stored();
  const unchangedAt = new Date(Date.parse(manifest.snapshotAt) + 1).toISOString();
  rig.repository().writeState(id, { ...state, unchangedAt });
  const { report } = await run(jobOf(rig, { from: { kind: "folder", folder: rig.store } }));
  const lostMs = Date.parse(report?.startedAt ?? "") - Date.parse(unchangedAt);
  const { snapshotAt } = manifest;
  expect(report).toMatchObject({ targets: [{ snapshotAt, unchangedAt, rpoSeconds: lostMs / 1_000 }] });
  expect(report && drillText(report)).toContain(`data of ${snapshotAt}, which the source still held at ${unchangedAt}`);
});
