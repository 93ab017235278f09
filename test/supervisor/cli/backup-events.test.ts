/** What a person's own deed on backups leaves in the daemon's journal. */
import { expect, test } from "vitest";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { eventsOf, tellDaemon } from "../../../src/supervisor/cli/backup-events.ts";
import { resolveDirs } from "../../../src/supervisor/runtime/config/paths.ts";
import { VerbRig } from "./verb-rig.ts";

const ID = "state-full-20260101T000000Z-abcdef";
const place = { target: "state", store: "local" };
const verified = (ok: boolean) =>
  ({ kind: "verified", id: ID, level: "L2", ok, detail: ok ? null : "a part is missing" }) as const;

test("eventsOf() tells what was made, proven and deleted, and what failed as an alert", () => {
  const stored = { kind: "stored", id: ID, rawBytes: 1, storedBytes: 1, durationMs: 1, level: "L1" } as const;
  const lines: BackupLine[] = [
    stored,
    verified(true),
    verified(false),
    { kind: "pruned", ids: [ID] },
    { kind: "pruned", ids: [] },
  ];
  expect(eventsOf({ ...place, lines, failure: "space: no room" })).toEqual([
    { level: "info", text: `backup ${ID} is stored in local and stands L1` },
    { level: "info", text: `backup ${ID} in local stands L2` },
    { level: "alert", text: `backup ${ID} in local does not stand L2: a part is missing` },
    { level: "info", text: "deleted 1 backup of state in local" },
    { level: "alert", text: "cannot finish state in local: space: no room" },
  ]);
});

test("eventsOf() tells no more than twenty, the failure among them", () => {
  const events = eventsOf({ ...place, lines: Array.from({ length: 100 }, () => verified(true)), failure: "gone" });
  expect(events).toHaveLength(20);
  expect(events.at(-1)?.text).toContain("gone");
});

test("tellDaemon() says who did it, cuts what is too long, and does without a daemon", async () => {
  await using rig = new VerbRig();
  const heard: unknown[] = [];
  const file = `${rig.dir}/supervisor.yaml`;
  const folders = { file, dirs: resolveDirs({}, file, {}) };
  const events = [{ level: "info", text: "x".repeat(1_000) }] as const;
  await tellDaemon(folders, "supervisor backup run by ada", events);
  rig.serve(async (path, request) => {
    if (request.method === "POST") heard.push([path, await request.json()]);
    return Response.json({});
  });
  await tellDaemon(folders, "supervisor backup run by ada", events);
  expect(heard).toEqual([["/v1/events", { level: "info", text: `supervisor backup run by ada: ${"x".repeat(470)}` }]]);
});
