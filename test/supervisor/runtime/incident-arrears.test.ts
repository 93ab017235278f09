/** What a close has left for the disk: kept, written in its order once the disk takes it, and never over what is newer. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { leaveInSpare } from "../../../src/actions/incident-spare.ts";
import { IncidentArrears } from "../../../src/supervisor/runtime/incident-arrears.ts";
import { reportOf } from "../../harness/report-sample.ts";

function rig() {
  const root = mkdtempSync(join(tmpdir(), "arrears-"));
  const folder = join(root, "incidents");
  const said: string[] = [];
  const found: string[] = [];
  const run = join(root, "run");
  mkdirSync(run);
  let foreign = false;
  const start = () =>
    new IncidentArrears({
      folder,
      spare: join(run, "bot.incidents.json"),
      foreign: () => foreign,
      fact: (level, text) => said.push(`${level} ${text.replaceAll(root, "DIR")}`),
      found: (each) => found.push(each.reason),
    });
  const arrears = start();
  return {
    arrears,
    said,
    /** Reasons of the reports that an earlier one has left. */
    found,
    /** The next supervisor. */
    start,
    folder,
    run,
    /** Who may write everywhere is kept out only by a file in the folder's place. */
    fill: () => {
      rmSync(folder, { recursive: true, force: true });
      writeFileSync(folder, "");
    },
    free: () => {
      rmSync(folder);
      mkdirSync(folder);
    },
    setForeign: (to: boolean) => {
      foreign = to;
    },
    settle: (of = arrears) => Array.from({ length: 5 }).forEach(() => of.settle()),
    read: (name: string) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined),
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

const report = (reason: string) => reportOf({ incident: "abc123", reason, endedAt: "2026-01-01T00:00:02.000Z" });

test("IncidentArrears.take() has nothing to do where the disk has taken all", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("done"), { lines: [], report: false });
  expect(made.arrears.owed).toBeUndefined();
  expect(made.said).toEqual([]);
});

test("IncidentArrears keeps lines and report for a disk that takes nothing, says so once, and writes them in their order", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one", "two"], report: true });
  made.arrears.take(report("second"), { lines: ["three"], report: true });
  made.settle();
  expect(made.arrears.owed).toContain("3 lines of the journal and the report of incident abc123 yet, kept in ");
  expect(made.said).toEqual([expect.stringMatching(/^alert the disk has not taken .*tried again every 5 s/)]);
  made.free();
  made.settle();
  expect(made.arrears.owed).toBeUndefined();
  expect(made.read("abc123.ndjson")).toBe("one\ntwo\nthree\n");
  expect(JSON.parse(made.read("abc123.json") ?? "")).toMatchObject({ reason: "second" });
  expect(made.said.slice(1)).toEqual([
    "info what the disk did not take of journals and reports of closes is on it now",
  ]);
});

test("IncidentArrears writes no report over that of a later run, which is on the disk", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  made.arrears.take(report("second"), { lines: [], report: false });
  made.free();
  made.settle();
  expect(made.read("abc123.ndjson")).toBe("one\n");
  expect(made.read("abc123.json")).toBeUndefined();
});

test("IncidentArrears writes nothing into a folder that is another supervisor's", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  made.free();
  made.setForeign(true);
  made.settle();
  expect(made.read("abc123.ndjson")).toBeUndefined();
  made.setForeign(false);
  made.settle();
  expect(made.read("abc123.ndjson")).toBe("one\n");
});

test("IncidentArrears.end() tries once more, and says what is lost where it is in memory alone", () => {
  using made = rig();
  made.fill();
  rmSync(made.run, { recursive: true });
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  expect(made.said).toEqual([
    expect.stringMatching(/ yet, kept in memory alone: .*, and lost if the supervisor ends before/),
  ]);
  made.arrears.end();
  expect(made.said.at(-1)).toMatch(/^alert .*; the supervisor lets go of the bot, and it is lost$/);
  made.free();
  made.arrears.end();
  expect(made.read("abc123.ndjson")).toBe("one\n");
});

test("IncidentArrears of the next supervisor goes on with what the runtime folder has", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one", "two"], report: true });
  expect(made.said).toEqual([expect.stringMatching(/ yet, kept in DIR\/run\/bot\.incidents\.json, which a reboot/)]);
  made.arrears.end();
  expect(made.said).toHaveLength(1);
  const next = made.start();
  expect(made.found).toEqual([]);
  next.settle();
  expect(made.found).toEqual(["first"]);
  expect(next.owed).toContain("2 lines of the journal and the report of incident abc123 yet");
  made.free();
  made.settle(next);
  expect(next.owed).toBeUndefined();
  expect(made.said.slice(1)).toEqual([
    "info what the disk did not take of journals and reports of closes is on it now",
  ]);
  expect(made.read("abc123.ndjson")).toBe("one\ntwo\n");
  expect(JSON.parse(made.read("abc123.json") ?? "")).toMatchObject({ reason: "first" });
  expect(readdirSync(made.run)).toEqual([]);
});

test("IncidentArrears takes in what a worker has left in the runtime folder, which it hands over as well, once", () => {
  using made = rig();
  made.fill();
  const unwritten = { lines: ["one", "two"], report: true };
  leaveInSpare(join(made.run, "bot.incidents.json"), made.folder, report("first"), unwritten);
  made.arrears.take(report("first"), unwritten);
  expect(made.said).toEqual([
    expect.stringMatching(/^alert the disk has not taken 2 lines of the journal and the report/),
  ]);
  made.free();
  made.settle();
  expect(made.read("abc123.ndjson")).toBe("one\ntwo\n");
  expect(readdirSync(made.run)).toEqual([]);
});

test("IncidentArrears writes what a worker has left whose supervisor died, after what was there of earlier runs", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  const second = reportOf({ incident: "abc123", reason: "second", endedAt: "2026-01-01T00:01:00.000Z" });
  leaveInSpare(join(made.run, "bot.incidents.json"), made.folder, second, { lines: ["two"], report: true });
  made.free();
  made.settle(made.start());
  expect(made.read("abc123.ndjson")).toBe("one\ntwo\n");
  expect(JSON.parse(made.read("abc123.json") ?? "")).toMatchObject({ reason: "second" });
});

test("IncidentArrears writes nothing twice when a supervisor is killed before the copy is gone, and nothing over what is newer", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one", "two"], report: true });
  made.free();
  writeFileSync(join(made.folder, "abc123.ndjson"), "one\n");
  const newer = reportOf({ incident: "abc123", reason: "second", endedAt: "2026-01-01T00:01:00.000Z" });
  writeFileSync(join(made.folder, "abc123.json"), JSON.stringify(newer, undefined, 2));
  const next = made.start();
  made.settle(next);
  expect(next.owed).toBeUndefined();
  expect(made.read("abc123.ndjson")).toBe("one\ntwo\n");
  expect(JSON.parse(made.read("abc123.json") ?? "")).toMatchObject({ reason: "second" });
});

test("IncidentArrears sets a copy aside that cannot be read", () => {
  using made = rig();
  writeFileSync(join(made.run, "bot.incidents.json"), "{");
  made.settle();
  expect(made.said).toEqual([expect.stringMatching(/^alert .*could not be read/)]);
  expect(readdirSync(made.run)).toContainEqual(expect.stringContaining(".damaged-"));
});

test("IncidentArrears is bounded: the oldest lines stay, and those that are missing are counted", () => {
  using made = rig();
  made.fill();
  const line = "x".repeat(999_999);
  for (let n = 0; n < 6; n += 1) made.arrears.take(report("on and on"), { lines: [`${n}${line}`], report: true });
  made.free();
  made.settle();
  expect(made.read("abc123.ndjson")?.length).toBe(2 * 1_000_001);
  expect(made.said.at(-1)).toMatch(/, but for 4 lines that were too many to be kept$/);
});

test("IncidentArrears is bounded in memory and in the runtime folder, however many workers leave their part there as well", () => {
  using made = rig();
  made.fill();
  const spare = join(made.run, "bot.incidents.json");
  const line = "x".repeat(999_999);
  for (let n = 0; n < 20; n += 1) {
    const unwritten = { lines: [`${n}${line}`], report: true };
    leaveInSpare(spare, made.folder, report("on and on"), unwritten);
    made.arrears.take(report("on and on"), unwritten);
  }
  expect(statSync(spare).size).toBeLessThan(3_000_000);
  expect(readdirSync(made.run)).toEqual(["bot.incidents.json"]);
  expect(made.arrears.owed).toContain("2 lines of the journal");
  made.free();
  made.settle();
  expect(made.read("abc123.ndjson")?.length).toBe(2 * 1_000_001);
  expect(made.said.at(-1)).toMatch(/, but for 18 lines that were too many to be kept$/);
});

test("leaveInSpare() bounds what workers leave whose supervisors died one after the other", () => {
  using made = rig();
  made.fill();
  const spare = join(made.run, "bot.incidents.json");
  for (let n = 0; n < 20; n += 1)
    leaveInSpare(spare, made.folder, report("on and on"), { lines: [`${n}${"x".repeat(999_999)}`], report: true });
  expect(statSync(spare).size).toBeLessThan(3_000_000);
  expect(readdirSync(made.run)).toEqual(["bot.incidents.json"]);
});

test("A copy that could not be read back is not written, and what is kept is said to be in memory alone", () => {
  using made = rig();
  made.fill();
  const large = report("x".repeat(17 * 1_048_576));
  leaveInSpare(join(made.run, "bot.incidents.json"), made.folder, large, { lines: [], report: true });
  made.arrears.take(large, { lines: [], report: true });
  expect(made.arrears.owed).toContain("in memory alone");
  expect(readdirSync(made.run)).toEqual([]);
});

test("One damaged copy is kept, the newest", () => {
  using made = rig();
  const spare = join(made.run, "bot.incidents.json");
  const damage = (text: string) => writeFileSync(spare, text);
  damage("{1");
  made.settle();
  damage("{2");
  made.settle(made.start());
  damage("{3");
  leaveInSpare(spare, made.folder, report("first"), { lines: ["one"], report: true });
  const damaged = readdirSync(made.run).filter((name) => /\.damaged-[^.]*$/.test(name));
  expect(damaged.map((name) => readFileSync(join(made.run, name), "utf8"))).toEqual(["{3"]);
});

test("IncidentArrears.take() before the first look tells of the reports of earlier incidents, and not of the one that has just ended", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  const earlier = reportOf({ incident: "abc122", reason: "earlier", endedAt: "2026-01-01T00:00:01.000Z" });
  made.arrears.take(earlier, { lines: ["zero"], report: true });
  const next = made.start();
  next.take(report("second"), { lines: ["two"], report: true });
  expect(made.found).toEqual(["earlier"]);
  made.settle(next);
  expect(made.found).toEqual(["earlier"]);
});

test("IncidentArrears.flush() writes at once what there is, before a worker adds its lines", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  const next = made.start();
  made.free();
  next.flush();
  expect(made.read("abc123.ndjson")).toBe("one\n");
  expect({ owed: next.owed, found: made.found }).toEqual({ owed: undefined, found: ["first"] });
});

test("IncidentArrears.end() writes nothing between the lines of a worker, and leaves it to the next supervisor", () => {
  using made = rig();
  made.fill();
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  made.free();
  made.arrears.end(true);
  expect(made.read("abc123.ndjson")).toBeUndefined();
  made.settle(made.start());
  expect(made.read("abc123.ndjson")).toBe("one\n");
});

test("IncidentArrears.end() writes also between the lines of a worker what would be lost otherwise", () => {
  using made = rig();
  made.fill();
  rmSync(made.run, { recursive: true });
  made.arrears.take(report("first"), { lines: ["one"], report: true });
  made.free();
  made.arrears.end(true);
  expect(made.read("abc123.ndjson")).toBe("one\n");
});
