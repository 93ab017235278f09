/** What was seen of a locked account outlives the daemon, and never touches the lockout. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { LastLook } from "../../../src/supervisor/runtime/last-look.ts";
import { reportOf } from "../../harness/report-sample.ts";

const root = mkdtempSync(join(tmpdir(), "look-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const file = join(root, "look.json");
beforeEach(() => rmSync(file, { force: true }));

const lockout = { incident: "abc", endedAt: "2026-01-01T00:00:10.000Z" };
const report = reportOf({
  outcome: "planNotEmpty",
  startedAt: "2026-01-01T00:01:00.000Z",
  endedAt: "2026-01-01T00:01:02.000Z",
  after: { positions: [], orders: 2 },
});

test("LastLook tells the next supervisor what was seen, until another close has ended", () => {
  new LastLook(root, undefined).note(report, lockout);
  const next = new LastLook(root, undefined);
  expect(next.since(lockout)).toMatchObject({ at: report.endedAt, positions: 0, orders: 2 });
  expect(next.since({ ...lockout, endedAt: "2026-01-01T00:03:00.000Z" })).toBeUndefined();
});

test("LastLook keeps in mind what it cannot write, and writes nothing into a folder that another supervisor has", () => {
  const here = new LastLook(root, () => true);
  here.note(report, lockout);
  expect(here.since(lockout)).toMatchObject({ orders: 2 });
  expect(readdirSync(root)).toEqual([]);
  const gone = new LastLook(join(root, "nowhere"), undefined);
  gone.note(report, lockout);
  expect(gone.since(lockout)).toMatchObject({ orders: 2 });
});

test.each(["", "{", "[]", '{"version":1,"incident":"abc","at":5}', '{"version":2}', "null"])(
  "LastLook takes %j for nothing",
  (text) => {
    writeFileSync(file, text);
    expect(new LastLook(root, undefined).since(lockout)).toBeUndefined();
  },
);
