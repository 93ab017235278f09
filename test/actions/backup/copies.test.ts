/** Copies of backups in a bucket: whole or not there, whatever is killed, damaged, slow or late. */
import { randomBytes } from "node:crypto";
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { readRecord } from "../../../src/supervisor/runtime/backup-run.ts";
import { RemoteRig, RETENTION } from "./remote-rig.ts";

/** A machine that is ten times slower is no fault. */
vi.setConfig({ testTimeout: 120_000 });

test("copying sends the parts first and the manifest last, and the second run sends nothing", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  const { id } = rig.stored();
  expect(await rig.remotely(rig.remoteJob("copy"))).toMatchObject({ code: 0, lines: [{}, { kind: "copied", id }] });
  const sent = rig.s3.sent("PUT").map((key) => key.split("/").at(-1));
  expect(sent).toEqual(["data.000", "state.json", "manifest.sha256", "manifest.json"]);
  expect(rig.s3.keys()[0]).toBe(`bot 1/backups/state/${id}/data.000`);
  const before = rig.s3.requests.length;
  expect((await rig.remotely(rig.remoteJob("copy"))).lines).toEqual([]);
  expect(rig.s3.requests.slice(before).filter(({ method }) => method === "PUT")).toEqual([]);
});

test("a copy needs nothing of this machine: it is found, proven and fetched when the folder is gone", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.fill(5).close();
  await rig.backUp(rig.job(rig.sqlite, { incremental: true }));
  const [full, delta] = rig.repository().list().backups;
  await rig.remotely(rig.remoteJob("copy"));
  rmSync(rig.store, { recursive: true });
  expect(await rig.copies()).toEqual([full?.id, delta?.id]);
  expect(await rig.remotely(rig.remoteJob("verify"))).toMatchObject({
    code: 0,
    lines: [{ kind: "verified", id: delta?.id, level: "L2", ok: true }],
  });
  expect((await rig.remotely(rig.remoteJob("fetch", { id: delta?.id }))).code).toBe(0);
  const bytes = readFileSync(join(rig.folder, "fetched", "state", delta?.id ?? "", "data.000"));
  expect(rig.s3.objects.get(`bot 1/backups/state/${delta?.id}/data.000`)?.equals(bytes)).toBe(true);
});

test.concurrent.each(["part", "state", "sum", "manifest"] as const)(
  "an upload killed after %s leaves no half backup, and the next run completes it without sending again what is there",
  async (step) => {
    await using rig = await RemoteRig.open();
    await rig.backUpOrders();
    expect(await rig.remotelyAndDie(rig.remoteJob("copy"), step)).toBe("SIGKILL");
    expect(await rig.copies()).toHaveLength(step === "manifest" ? 1 : 0);
    expect((await rig.remotely(rig.remoteJob("copy"))).code).toBe(0);
    expect(await rig.copies()).toEqual([rig.stored().id]);
    expect(rig.s3.sent("PUT", /data\.000$/)).toHaveLength(1);
  },
);

test("an upload of several files that is killed after the first goes on with the second", async () => {
  await using rig = await RemoteRig.open();
  // Bytes that do not pack, of one file of 64 MiB and a bit.
  writeFileSync(join(rig.folder, "noise"), randomBytes(65 * 1_024 ** 2));
  await rig.backUp(rig.job({ kind: "files", name: "state", paths: [join(rig.folder, "noise")] }, { compress: "none" }));
  expect(rig.stored().manifest.parts.map(({ bytes }) => bytes > 0)).toEqual([true, true]);
  expect(await rig.remotelyAndDie(rig.remoteJob("copy"), "part")).toBe("SIGKILL");
  expect(await rig.copies()).toEqual([]);
  expect((await rig.remotely(rig.remoteJob("copy"))).code).toBe(0);
  expect(rig.s3.sent("PUT", /data/).map((key) => key.slice(-8))).toEqual(["data.000", "data.001"]);
  expect(Math.max(...rig.s3.requests.map(({ bytes }) => bytes))).toBe(64 * 1_024 ** 2);
  expect((await rig.remotely(rig.remoteJob("verify"))).code).toBe(0);
});

test.concurrent.each(["marked", "unmanifested", "emptied", "removed"] as const)(
  "a deletion killed after %s is no backup any more, and the next run completes it",
  async (step) => {
    await using rig = await RemoteRig.open();
    await rig.backUpOrders();
    await rig.backUp(rig.job(rig.sqlite));
    await rig.remotely(rig.remoteJob("copy"));
    const [first, second] = await rig.copies();
    rmSync(join(rig.repository().folder, first ?? ""), { recursive: true });
    const strict = { retention: { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 }, force: true };
    expect(await rig.remotelyAndDie(rig.remoteJob("prune", strict), step)).toBe("SIGKILL");
    expect(await rig.copies()).toEqual([second]);
    expect((await rig.remotely(rig.remoteJob("copy"))).code).toBe(0);
    expect(rig.s3.keys(new RegExp(first ?? ""))).toEqual([]);
    expect(await rig.copies()).toEqual([second]);
  },
);

test("a listing that lags behind hides no copy and shows none that is deleted", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.s3.freezeListing();
  await rig.remotely(rig.remoteJob("copy"));
  const { id } = rig.stored();
  // The bucket still looks empty; who has the backup here asks for it by its name.
  const known = await rig.remotely(rig.remoteJob("look", { known: [id] }));
  expect(known.lines).toMatchObject([{ kind: "found", id, damage: null }]);
  await rig.remotely(rig.remoteJob("copy"));
  expect(rig.s3.sent("PUT", /data/)).toHaveLength(1);
  rig.s3.thawListing();
  rig.s3.freezeListing();
  for (const key of rig.s3.keys()) rig.s3.objects.delete(key);
  expect(await rig.copies()).toEqual([]);
});

test.each([
  ["data.000", /another checksum/],
  ["manifest.json", /is not the one that was written/],
  ["manifest.sha256", /is not the one that was written/],
] as const)(
  "a bit that has flipped in %s is found by verify at L0, and the next run replaces the copy",
  async (name, why) => {
    await using rig = await RemoteRig.open();
    await rig.backUpOrders();
    const { id } = rig.stored();
    await rig.remotely(rig.remoteJob("copy"));
    rig.s3.damage(`bot 1/backups/state/${id}/${name}`);
    const found = await rig.remotely(rig.remoteJob("verify", { level: "L0" }));
    expect(found).toMatchObject({
      code: 4,
      lines: [{ kind: "verified", id, ok: false, detail: expect.stringMatching(why) }, {}],
    });
    const record = readFileSync(join(rig.folder, "records", "state@offsite.json"), "utf8");
    expect(JSON.parse(record)).toMatchObject({ proofs: { L0: { id, ok: false } } });
    expect((await rig.remotely(rig.remoteJob("fetch", { id }))).code).toBe(4);
    expect((await rig.remotely(rig.remoteJob("copy"))).code).toBe(0);
    expect((await rig.remotely(rig.remoteJob("verify"))).code).toBe(0);
  },
);

test("a part that is missing or has another size is named, and nobody takes the copy for a backup", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  await rig.remotely(rig.remoteJob("copy"));
  const [part = ""] = rig.s3.keys(/data\.000/);
  rig.s3.objects.set(part, Buffer.from("short"));
  expect((await rig.remotely(rig.remoteJob("look"))).lines).toMatchObject([
    { damage: expect.stringMatching(/^data.000 has 5 bytes instead of \d+$/), backup: null },
  ]);
  rig.s3.objects.delete(part);
  expect((await rig.remotely(rig.remoteJob("look"))).lines).toMatchObject([{ damage: "data.000 is missing" }]);
});

test("a store that is down fails the copy with 6, is said in the record, and says nothing against what is there", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.s3.fail(503, "PUT", /data/, 6);
  const { code, lines } = await rig.remotely(rig.remoteJob("copy"));
  expect(code).toBe(6);
  expect(lines.at(-1)).toMatchObject({ kind: "failed", stage: "remote" });
  const place = { target: "state", store: "offsite" };
  expect(readRecord(rig.folder, place)).toBeUndefined();
  const record: unknown = JSON.parse(readFileSync(join(rig.folder, "records", "state@offsite.json"), "utf8"));
  expect(record).toMatchObject({
    lastError: { stage: "remote" },
    failuresInRow: 1,
    copies: { pendingBytes: expect.any(Number), backups: 0 },
  });
  expect(JSON.stringify(record)).not.toContain(rig.s3.settings().secretAccessKey);
  await rig.remotely(rig.remoteJob("copy"));
  rig.s3.fail(503, "GET", /data/, 6);
  expect((await rig.remotely(rig.remoteJob("verify"))).code).toBe(6);
  expect((await rig.remotely(rig.remoteJob("look"))).lines).toMatchObject([{ backup: { proven: "L1" } }]);
});

test("a backup that is damaged here is not copied, and keeps no other back", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  await rig.backUp(rig.job(rig.sqlite));
  const [first, second] = rig.repository().list().backups;
  appendFileSync(join(second?.folder ?? "", "data.000"), "x");
  const { code, lines } = await rig.remotely(rig.remoteJob("copy"));
  expect(code).toBe(4);
  expect(lines.at(-1)).toMatchObject({ kind: "failed", reason: expect.stringMatching(/data.000 is damaged/) });
  expect(await rig.copies()).toEqual([first?.id]);
});

test("copies have a retention of their own, and what is thinned out is not sent again", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  for (let n = 0; n < 3; n += 1) await rig.backUp(rig.job(rig.sqlite));
  const strict = { retention: { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 2 } };
  await rig.remotely(rig.remoteJob("copy"));
  // All four are of this hour and of this day, so the newest and those that minKeep protects were sent.
  expect(await rig.copies()).toHaveLength(3);
  await rig.remotely(rig.remoteJob("prune", { ...strict, force: true }));
  expect(await rig.copies()).toHaveLength(2);
  const before = rig.s3.sent("PUT", /data/).length;
  await rig.remotely(rig.remoteJob("copy", strict));
  expect(rig.s3.sent("PUT", /data/)).toHaveLength(before);
});

test("the record of a bucket says what is there, after a prune too, and when a copy last stood its proof", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  await rig.backUp(rig.job(rig.sqlite));
  const [first, second] = rig
    .repository()
    .list()
    .backups.map(({ manifest }) => manifest.snapshotAt);
  const record = (): unknown => JSON.parse(readFileSync(join(rig.folder, "records", "state@offsite.json"), "utf8"));
  await rig.remotely(rig.remoteJob("copy", { retention: { ...RETENTION, minKeep: 2 } }));
  expect(record()).toMatchObject({ stock: { storedBytes: expect.any(Number), oldestAt: first, newestAt: second } });
  expect(record()).not.toHaveProperty("stock.disk");
  // That it was copied is no proof of it.
  expect(record()).not.toHaveProperty("stood");
  await rig.remotely(rig.remoteJob("verify", { level: "L1" }));
  expect(record()).toMatchObject({ stood: { L1: expect.any(String) } });
  const strict = { retention: { hourly: 0, daily: 0, weekly: 0, monthly: 0, minKeep: 1 }, force: true };
  await rig.remotely(rig.remoteJob("prune", { ...strict, dryRun: true }));
  expect(record()).toMatchObject({ stock: { oldestAt: first } });
  await rig.remotely(rig.remoteJob("prune", strict));
  expect(record()).toMatchObject({ stock: { oldestAt: second, newestAt: second } });
});

test("two deeds on the copies of a target at once are kept apart", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  rig.s3.fail("hang", "GET", /^$/);
  const first = rig.remotely(rig.remoteJob("copy", {}, { timeoutMs: 3_000 }));
  expect((await rig.remotely(rig.remoteJob("copy"))).code).toBe(7);
  expect((await first).code).toBe(0);
});

test("probe() writes, reads and deletes, and says what is wrong", async () => {
  await using rig = await RemoteRig.open();
  expect((await rig.remotely(rig.remoteJob("probe"))).code).toBe(0);
  expect(rig.s3.objects.size).toBe(0);
  const wrong = await rig.remotely(rig.remoteJob("probe", {}, { bucket: "nowhere" }));
  expect(wrong).toMatchObject({ code: 6, lines: [{ reason: expect.stringContaining("there is no bucket nowhere") }] });
});

test("a copy learns that its source was seen unchanged, without being sent again, and says so when this machine is gone", async () => {
  await using rig = await RemoteRig.open();
  await rig.backUpOrders();
  const { id } = rig.stored();
  expect((await rig.remotely(rig.remoteJob("copy", { newest: id }))).code).toBe(0);
  const unchangedAt = "2030-01-01T00:00:00.000Z";
  rig.repository().writeState(id, { ...rig.stored().state, unchangedAt });
  const before = rig.s3.requests.length;
  expect((await rig.remotely(rig.remoteJob("copy", { newest: id, unchangedAt }))).code).toBe(0);
  const sent = rig.s3.requests.slice(before).filter(({ method }) => method === "PUT");
  expect(sent).toHaveLength(1);
  const { lines } = await rig.remotely(rig.remoteJob("look"));
  expect(lines).toMatchObject([{ kind: "found", id, backup: { unchangedAt } }]);
  const record = JSON.parse(readFileSync(join(rig.folder, "records", "state@offsite.json"), "utf8"));
  expect(record).toMatchObject({ copies: { upTo: id, unchangedAt }, lastSuccess: { id, unchangedAt } });
});
