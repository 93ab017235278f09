/** The journal on disk: read as a stream, begun anew when it is large; and the worker's log, which ends somewhere. */
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readJournal, renewJournal } from "../../src/actions/incident-history.ts";
import { IncidentJournal } from "../../src/actions/incident-journal.ts";
import { openWorkerLog } from "../../src/actions/worker-log.ts";
import { clientOrderId } from "../../src/core/incident.ts";
import type { IncidentLine } from "../../src/core/incident.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { FakeClock } from "../harness/fake-clock.ts";
import { reportOf } from "../harness/report-sample.ts";

const AT = "2026-01-02T03:04:05.000Z";

function scratch(): Disposable & { readonly folder: string; readonly path: string } {
  const folder = mkdtempSync(join(tmpdir(), "journal-"));
  return {
    folder,
    path: join(folder, "abc123.ndjson"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function intent(seq: number): string {
  const id = clientOrderId("abc123", "run001", seq);
  const sent = { id, symbol: "S0", side: "sell", positionSide: "long", amount: 1, sentAt: AT, ackMs: 0 } as const;
  const line: IncidentLine = { kind: "intent", at: AT, round: 1, seq, order: { ...sent, outcome: "unknown" } };
  return `${JSON.stringify(line)}\n`;
}

/** A journal above 64 MiB whose newest order has number `seq`. */
function writeHuge(path: string, seq: number): void {
  const filler = `${"x".repeat(1_000_000)}\n`;
  writeFileSync(path, intent(seq - 1));
  for (let n = 0; n < 66; n += 1) appendFileSync(path, filler);
  appendFileSync(path, intent(seq));
}

/** Lines that a run of 3 000 calls adds to the log. */
function logRun(path: string): string[] {
  const before = statSync(path).size;
  const fd = openSync(path, "a");
  const log = openWorkerLog(fd);
  for (let n = 0; n < 3_000; n += 1) log.call({ method: "GET", path: "/fapi/v3/positionRisk", outcome: 503, ms: 1 });
  log.line("round 7");
  closeSync(fd);
  return readFileSync(path).subarray(before).toString("utf8").trim().split("\n");
}

describe("readJournal()", () => {
  test("readJournal() finds the newest numbers at the end of a journal of any size", () => {
    using at = scratch();
    writeHuge(at.path, 4_711);
    expect(readJournal(at.path).history).toMatchObject({ lastSeq: 4_711, orders: [{ amount: 1 }] });
  });

  test("readJournal() takes a missing journal as empty and throws for one that is no file", () => {
    using at = scratch();
    expect(readJournal(at.path)).toMatchObject({ bytes: 0, history: { lastSeq: 0, orders: [] } });
    expect(() => readJournal(at.folder)).toThrow("it is not a regular file");
  });
});

describe("IncidentJournal", () => {
  test("IncidentJournal begins a large journal anew, keeps what it said and the old file", async () => {
    using at = scratch();
    writeHuge(at.path, 4_711);
    const { size } = statSync(at.path);
    const journal = IncidentJournal.open(at.folder, "abc123", systemClock, true);
    journal.append({ kind: "begin", version: 1, at: AT, bot: "momentum", exchange: "binanceusdm" });
    await journal.sync();
    journal.close();
    expect(journal.failures).toBe(0);
    expect(statSync(at.path).size).toBeLessThan(2_000);
    expect(statSync(`${at.path}.old`).size).toBe(size);
    expect(readJournal(at.path).history).toMatchObject({ lastSeq: 4_711, damaged: 0, orders: [{ amount: 1 }] });
  });

  test("IncidentJournal leaves a large journal to whoever else may write it", () => {
    using at = scratch();
    writeHuge(at.path, 2);
    const { ino } = statSync(at.path);
    IncidentJournal.open(at.folder, "abc123", systemClock, false).close();
    expect(statSync(at.path).ino).toBe(ino);
  });

  test("IncidentJournal counts a journal that cannot be read and does not take it for the first run's", () => {
    using at = scratch();
    writeFileSync(join(at.folder, "file"), "");
    const journal = IncidentJournal.open(join(at.folder, "file"), "abc123", systemClock, true);
    expect(journal.failures).toBeGreaterThan(0);
    journal.close();
  });
});

describe("renewJournal()", () => {
  test("renewJournal() leaves a journal below the bound alone", () => {
    using at = scratch();
    writeFileSync(at.path, intent(1));
    renewJournal(at.path, readJournal(at.path), AT);
    expect(readFileSync(at.path, "utf8")).toBe(intent(1));
  });
});

describe("openWorkerLog()", () => {
  test("openWorkerLog() writes 2 000 lines in a run and then that it writes no more", () => {
    using at = scratch();
    writeFileSync(at.path, "");
    const lines = logRun(at.path);
    expect(lines).toHaveLength(2_001);
    expect(lines.at(-2)).toContain("positionRisk");
    expect(lines.at(-1)).toContain("further calls are not logged");
  });

  test("openWorkerLog() adds one line to a log that has reached its size", () => {
    using at = scratch();
    writeFileSync(at.path, `${"x".repeat(8 * 1_048_576)}\n`);
    expect(logRun(at.path)).toEqual([expect.stringContaining("further calls are not logged")]);
  });
});

test("IncidentJournal sets a FIFO in its place aside, and neither waits for a reader nor loses a line", () => {
  using place = scratch();
  Bun.spawnSync(["mkfifo", place.path]);
  const journal = IncidentJournal.open(place.folder, "abc123", systemClock, true);
  for (let n = 0; n < 2_000; n += 1)
    journal.append({ kind: "begin", version: 1, at: AT, bot: "bot".repeat(20), exchange: "binanceusdm" });
  journal.close();
  expect(journal.failures).toBe(0);
  expect(statSync(place.path).size).toBeGreaterThan(65_536);
});

test("IncidentJournal keeps what a disk does not take, and writes it before the next line once it does", async () => {
  using at = scratch();
  const clock = new FakeClock();
  const folder = join(at.folder, "incidents");
  // Who may write everywhere is kept out only by a file in the folder's place.
  writeFileSync(folder, "");
  const journal = IncidentJournal.open(folder, "abc123", clock, true);
  const step = (text: string): void => journal.append({ kind: "step", at: AT, text });
  for (const text of ["one", "two"]) step(text);
  rmSync(folder);
  step("before the disk is asked again");
  expect(existsSync(folder)).toBe(false);
  expect(journal.unwritten.lines).toHaveLength(3);
  clock.advance(250);
  step("three");
  await journal.finish(reportOf({ incident: "abc123" }), []);
  journal.close();
  const { history } = readJournal(join(folder, "abc123.ndjson"));
  expect(history.steps.map(({ text }) => text)).toEqual([
    "one",
    "two",
    "before the disk is asked again",
    "three",
    expect.stringContaining("flat"),
  ]);
  expect(existsSync(join(folder, "abc123.json"))).toBe(true);
  expect(journal.unwritten).toEqual({ lines: [], report: false });
  expect(journal.failures).toBeGreaterThan(0);
});

test("IncidentJournal leaves lines, end and report to others when the disk takes nothing to the end, within a bound", async () => {
  using at = scratch();
  writeFileSync(join(at.folder, "file"), "");
  const journal = IncidentJournal.open(join(at.folder, "file"), "abc123", systemClock, true);
  for (let n = 0; n < 20; n += 1) journal.append({ kind: "step", at: AT, text: `${n} ${"x".repeat(100_000)}` });
  await journal.finish(reportOf({ incident: "abc123" }), []);
  const { lines, report } = journal.unwritten;
  expect(report).toBe(true);
  expect(lines).toHaveLength(12);
  const [missing, end] = lines.slice(-2).map((line) => JSON.parse(line));
  expect(missing).toMatchObject({
    kind: "step",
    text: expect.stringMatching(/^10 lines of this journal are missing/),
  });
  expect(end).toMatchObject({ kind: "end", outcome: "flat" });
});
