/** The daemon's part of a bot's output: when a worker is started, what each start leaves behind. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseOutputMarks, parseRunMarks } from "../../../src/core/output-marks.ts";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";
import { isLive } from "../../../src/platform/proc.ts";
import { viewOutput } from "../../../src/platform/output-view.ts";
import { filesOf, foldersOf, type BotFiles } from "../../../src/supervisor/runtime/bot-plan.ts";
import { Output } from "../../../src/supervisor/runtime/output.ts";
import { freezerMount, makeFreezer } from "../../chaos/freezer.ts";
import { FakeClock } from "../../harness/fake-clock.ts";
import { until } from "../../platform/until.ts";

const MAX_SIZE = 100_000;
const PROGRAM = [process.execPath, join(import.meta.dirname, "..", "..", "..", "src", "supervisor", "main.ts")];
let folder = "";
let files: BotFiles;
let facts: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "output-"));
  const dirs = { stateDir: folder, runtimeDir: join(folder, "run"), logDir: join(folder, "log") };
  files = filesOf("bot", "bot", dirs);
  for (const { path } of foldersOf(files)) mkdirSync(path, { recursive: true });
  facts = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(keep = 3, clock: Clock = systemClock, program = PROGRAM): Output {
  const output = { to: "file" as const, maxSize: MAX_SIZE, keep, compress: "zstd" as const };
  return new Output({
    plan: { files, config: { output } },
    clock,
    program,
    fact: (level, text) => void facts.push(`${level}: ${text}`),
  });
}

const segments = (): string[] => readdirSync(dirname(files.log)).filter((name) => name.startsWith("bot.log."));

test("look() starts a worker when the file has grown to maxSize, and only then", async () => {
  const output = open();
  output.look();
  appendFileSync(files.log, "a line\n".repeat(10_000));
  output.look();
  expect(segments()).toEqual([]);
  appendFileSync(files.log, "a line\n".repeat(10_000));
  output.look();
  output.look();
  await until("the fact", () => facts.length > 0);
  expect(facts).toEqual([expect.stringMatching(/^info: output rotated: .* KiB are now in bot\.log\./)]);
  expect(segments()).toHaveLength(1);
  expect(statSync(files.log).size).toBeLessThan(MAX_SIZE);
});

test("shutDown() ends a rotation that runs, and nothing is lost by it", async () => {
  const output = open();
  appendFileSync(files.log, "a line\n".repeat(20_000));
  output.look();
  await output.shutDown();
  output.look();
  expect(facts.filter((fact) => !fact.startsWith("info"))).toEqual([]);
  expect(viewOutput({ log: files.log, index: files.outputIndex }).end).toBe(140_000);
});

test.runIf(freezerMount !== undefined)(
  "shutDown() waits no longer for a worker that a dead disk keeps from dying, and look() starts none beside it",
  async () => {
    using freezer = makeFreezer();
    const starts = join(folder, "starts");
    const output = open(3, systemClock, ["sh", "-c", `echo $$ >> '${starts}'; exec sleep 600`]);
    const pids = (): number[] =>
      (existsSync(starts) ? (readFileSync(starts, "utf8").match(/\d+/g) ?? []) : []).map(Number);
    appendFileSync(files.log, "x".repeat(MAX_SIZE));
    output.look();
    const pid = await until("it runs", () => pids()[0]);
    freezer.freeze(pid);
    await output.shutDown();
    expect(isLive(pid)).toBe(true);
    const again = open(3, systemClock, ["sh", "-c", `echo $$ >> '${starts}'`]);
    again.look();
    freezer.thaw();
    await until("another one is started once it is gone", () => {
      again.look();
      return pids().length === 2;
    });
    expect(isLive(pid)).toBe(false);
    await again.shutDown();
  },
);

test("look() says once that the file cannot be rotated, and once more when it is huge", async () => {
  const output = open();
  mkdirSync(files.outputLock);
  appendFileSync(files.log, "x".repeat(MAX_SIZE));
  output.look();
  await until("the alert", () => facts.length > 0);
  output.look();
  appendFileSync(files.log, "x".repeat(4 * MAX_SIZE));
  output.look();
  output.look();
  expect(facts).toEqual([
    expect.stringContaining("alert: cannot rotate the output: cannot open lock file"),
    expect.stringContaining("alert: the output has grown to 488.3 KiB, more than 4 times maxSize"),
  ]);
  expect(statSync(files.log).size).toBe(5 * MAX_SIZE);
});

test("look() says that the file is huge when a worker does not come to an end, and ends one that is silent for too long", async () => {
  const clock = new FakeClock();
  const output = open(3, clock, ["sh", "-c", "exec sleep 600"]);
  appendFileSync(files.log, "x".repeat(5 * MAX_SIZE));
  for (let seconds = 0; seconds <= 30; seconds += 1) {
    output.look();
    clock.advance(1_000);
  }
  const huge = expect.stringMatching(/^alert: the output has grown to .* maxSize, and its rotation does not keep up/);
  expect(facts).toEqual([
    huge,
    "alert: cannot rotate the output: the worker made no progress for 31 s and was ended; nothing is deleted, and it is tried again every 15 s",
  ]);
  await output.shutDown();
});

test("look() gives a worker that was ended for its silence no other time when a late word of it comes", async () => {
  const waits: number[] = [];
  class NotedClock extends FakeClock {
    override after(delayMs: number, callback: () => void): () => void {
      waits.push(delayMs);
      return super.after(delayMs, callback);
    }
  }
  const clock = new NotedClock();
  const told = join(folder, "told");
  const words = `echo '{"kind":"note","text":"late"}' >&3; : > '${told}'; exec sleep 600`;
  const output = open(3, clock, ["sh", "-c", words]);
  appendFileSync(files.log, "x".repeat(MAX_SIZE));
  output.look();
  // Its word waits in the pipe: nothing is read before the time is over.
  for (let look = 0; look < 10_000 && !existsSync(told); look += 1) Bun.sleepSync(1);
  clock.advance(30_100);
  expect(facts).toEqual([expect.stringContaining("alert: cannot rotate the output: the worker made no progress")]);
  await until("its late word", () => facts.includes("warn: late"));
  expect(waits.filter((delayMs) => delayMs === 30_100)).toHaveLength(1);
  await output.shutDown();
});

test("look() lets a worker that goes on take its time", async () => {
  const clock = new FakeClock();
  const output = open(3, clock, ["sh", "-c", `while :; do echo '{"kind":"note","text":"on"}' >&3; sleep 0.01; done`]);
  appendFileSync(files.log, "x".repeat(MAX_SIZE));
  output.look();
  for (let seconds = 0; seconds < 100; seconds += 1) {
    const heard = facts.length;
    await until("a word of the worker", () => facts.length > heard);
    clock.advance(1_000);
  }
  expect(new Set(facts)).toEqual(new Set(["warn: on"]));
  await output.shutDown();
});

test("noteOfStart() notes where each start began, in a file that stays small", () => {
  const output = open();
  for (let generation = 1; generation <= 2_000; generation += 1) {
    output.begin(generation);
    appendFileSync(files.log, "0123456789");
    output.noteOfStart(generation)();
  }
  expect(statSync(files.runs).size).toBeLessThan(70_000);
  const marks = parseRunMarks(readFileSync(files.runs, "utf8"));
  expect(marks.length).toBeGreaterThan(300);
  expect(marks.at(-1)).toMatchObject({ generation: 2_000, offset: 19_990 });
});

test("end() keeps the last 64 KiB of each start, of as many as segments are kept", async () => {
  const output = open();
  const kept = (generation: number): string => join(files.exits, `${generation}.log`);
  for (let generation = 1; generation <= 5; generation += 1) {
    output.begin(generation);
    appendFileSync(files.log, `${generation}`.repeat(generation === 5 ? 70_000 : 10));
    output.end(generation);
    // Safe: rotations follow each other.
    // oxlint-disable-next-line no-await-in-loop
    await until("the last words", () => existsSync(kept(generation)));
  }
  expect(readdirSync(files.exits).toSorted()).toEqual(["3.log", "4.log", "5.log"]);
  expect(readFileSync(kept(3), "utf8")).toBe("3333333333");
  expect(readFileSync(kept(5), "utf8")).toBe("5".repeat(65_536));
});

test("end() keeps no more starts than segments, also after ends that nobody saw and where fewer are to be kept than before", async () => {
  for (const generation of [1, 2, 5, 7, 8]) appendFileSync(join(files.exits, `${generation}.log`), "x");
  appendFileSync(join(files.exits, "mine.log"), "x");
  const output = open();
  output.begin(9);
  appendFileSync(files.log, "nine");
  output.end(9);
  await until("the last words", () => existsSync(join(files.exits, "9.log")));
  expect(readdirSync(files.exits).toSorted()).toEqual(["7.log", "8.log", "9.log", "mine.log"]);
});

test("end() keeps nothing that the next start wrote", async () => {
  const output = open();
  output.begin(1);
  appendFileSync(files.log, "one");
  output.end(1);
  output.begin(2);
  appendFileSync(files.log, "two");
  const path = join(files.exits, "1.log");
  await until("the last words", () => existsSync(path));
  expect(readFileSync(path, "utf8")).toBe("one");
});

test("end() keeps the last words of a start whose file somebody has emptied meanwhile", async () => {
  appendFileSync(files.log, "from before");
  const output = open();
  output.begin(1);
  appendFileSync(files.log, "gone");
  truncateSync(files.log);
  appendFileSync(files.log, "one");
  output.end(1);
  const path = join(files.exits, "1.log");
  await until("the last words", () => existsSync(path));
  expect(readFileSync(path, "utf8")).toBe("one");
});

test("end() of a start of an earlier daemon keeps what that start wrote", async () => {
  appendFileSync(files.log, "zero");
  const earlier = open();
  earlier.begin(1);
  appendFileSync(files.log, "one");
  earlier.noteOfStart(1)();
  open().end(1);
  const path = join(files.exits, "1.log");
  await until("the last words", () => existsSync(path));
  expect(readFileSync(path, "utf8")).toBe("one");
});

test("look() has a damaged index made anew", async () => {
  const output = open();
  appendFileSync(files.log, "a line\n");
  output.look();
  appendFileSync(files.outputIndex, "{");
  output.begin(1);
  output.look();
  await until("the note", () => facts.length === 2);
  expect(facts).toEqual([
    expect.stringMatching(/^warn: cannot see where the output of a start begins: cannot read .*output\.json: /),
    expect.stringMatching(/^warn: .*output\.json was damaged and is now .*\.damaged-/),
  ]);
  output.begin(2);
  expect(facts).toHaveLength(2);
});

test("noteOfStart() on a disk that refuses says so once and never throws", () => {
  const output = open();
  mkdirSync(files.runs);
  for (const generation of [1, 2]) {
    output.begin(generation);
    output.noteOfStart(generation)();
  }
  expect(facts).toEqual([expect.stringContaining("warn: cannot note the start in the run marks")]);
});

test.each([
  ["removed", () => rmSync(files.log), /^alert: .*bot\.log was removed: the bot goes on writing/],
  [
    "renamed and made anew",
    () => {
      renameSync(files.log, `${files.log}.1`);
      appendFileSync(files.log, "of somebody else\n");
    },
    /^alert: .*bot\.log is another file now/,
  ],
] as const)("look() says once for each start that the file the bot has open was %s", (_, deed, said) => {
  const output = open();
  output.look();
  for (const generation of [1, 2]) {
    output.begin(generation);
    appendFileSync(files.log, "a line\n");
    output.opened();
    output.look();
    expect(facts).toHaveLength(generation - 1);
    deed();
    output.look();
    output.look();
    expect(facts).toHaveLength(generation);
    output.end(generation);
  }
  expect(facts).toEqual([expect.stringMatching(said), expect.stringMatching(said)]);
});

test("look() is silent about a file that goes while no start has it open", () => {
  const output = open();
  output.begin(1);
  appendFileSync(files.log, "a line\n");
  output.opened();
  output.end(1);
  rmSync(files.log);
  output.look();
  expect(facts).toEqual([]);
});

test("look() says of an adopted bot that its file is gone", () => {
  const output = open();
  output.opened();
  output.look();
  expect(facts).toEqual([expect.stringContaining("bot.log was removed")]);
});

test("look() notes where the output stands once a minute in which the bot has written", () => {
  const clock = new FakeClock();
  const output = open(3, clock);
  const noted = (): number[] => parseOutputMarks(readFileSync(files.runs, "utf8")).map(({ offset }) => offset);
  const lookFor = (seconds: number): void => {
    for (let n = 0; n < seconds; n += 1) {
      clock.advance(1_000);
      output.look();
    }
  };
  output.begin(1);
  output.noteOfStart(1)();
  appendFileSync(files.log, "0123456789");
  lookFor(1);
  appendFileSync(files.log, "0123456789");
  lookFor(59);
  expect(noted()).toEqual([0, 10]);
  lookFor(1);
  expect(noted()).toEqual([0, 10, 20]);
  lookFor(600);
  expect(noted()).toEqual([0, 10, 20]);
  output.begin(2);
  appendFileSync(files.log, "0123456789");
  lookFor(1);
  output.noteOfStart(2)();
  lookFor(1);
  expect(noted()).toEqual([0, 10, 20, 20, 30]);
  expect(output.lastGeneration).toBe(2);
});

test("look() keeps the starts of a bot that has written for weeks, in a file that stays small", () => {
  const clock = new FakeClock();
  const output = open(3, clock);
  output.begin(1);
  output.noteOfStart(1)();
  for (let n = 0; n < 3_000; n += 1) {
    appendFileSync(files.log, "0");
    utimesSync(files.log, n, n);
    clock.advance(60_000);
    output.look();
  }
  expect(statSync(files.runs).size).toBeLessThan(70_000);
  expect(parseRunMarks(readFileSync(files.runs, "utf8"))).toMatchObject([{ generation: 1, offset: 0 }]);
});
