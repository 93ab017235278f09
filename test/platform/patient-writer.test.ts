import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Clock } from "../../src/platform/clock.ts";
import { libc } from "../../src/platform/libc.ts";
import { PatientWriter } from "../../src/platform/patient-writer.ts";
import { quickIo } from "../../src/platform/quick-io.ts";
import { until } from "./until.ts";

const dir = mkdtempSync(join(tmpdir(), "pw-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A clock whose timers run when the test says so. */
function handClock(): Clock & { readonly due: (() => void)[]; turn(): void } {
  const due: (() => void)[] = [];
  return {
    due,
    monotonicMs: () => 0,
    wallTime: () => new Date(0),
    after(_delayMs, callback) {
      due.push(callback);
      return () => {};
    },
    turn() {
      for (const callback of due.splice(0)) callback();
    },
  };
}

/** A pipe whose ends block, as a shell makes them. */
function pipe(): { readonly read: number; readonly write: number } & Disposable {
  const path = join(dir, `fifo-${Math.random()}`);
  Bun.spawnSync(["mkfifo", path]);
  const both = openSync(path, constants.O_RDWR);
  const read = openSync(path, constants.O_RDONLY);
  const write = openSync(path, constants.O_WRONLY);
  closeSync(both);
  return { read, write, [Symbol.dispose]: () => [read, write].forEach((fd) => closeSync(fd)) };
}

function readSome(fd: number, size: number): string {
  const bytes = Buffer.alloc(size);
  return bytes.toString("utf8", 0, readSync(fd, bytes));
}

const LINE = `${"x".repeat(999)}\n`;
const PIPE_BYTES = 65_536;

test("write() to a full pipe returns, keeps the text, and hands it over in order when there is room again", () => {
  const clock = handClock();
  using ends = pipe();
  const writer = PatientWriter.on(ends.write, clock);
  for (let i = 0; i < 100; i += 1) writer?.write(LINE);
  writer?.write("end\n");
  let text = readSome(ends.read, PIPE_BYTES);
  expect(text.length).toBeLessThan(100_000);
  clock.turn();
  text += readSome(ends.read, PIPE_BYTES);
  expect(text).toBe(`${LINE.repeat(100)}end\n`);
  expect(clock.due).toEqual([]);
});

test("write() says how many lines it dropped once a reader reads again", () => {
  const clock = handClock();
  using ends = pipe();
  const writer = PatientWriter.on(ends.write, clock);
  for (let i = 0; i < 2_000; i += 1) writer?.write(LINE);
  let text = "";
  while (clock.due.length > 0) {
    text += readSome(ends.read, PIPE_BYTES);
    clock.turn();
  }
  text += readSome(ends.read, PIPE_BYTES);
  const shown = text.split(LINE).length - 1;
  expect(text.slice(shown * LINE.length)).toBe(
    `${2_000 - shown} lines were not shown: nobody read them; see: supervisor events\n`,
  );
  expect(shown).toBeGreaterThan(1_000);
});

test("on() leaves the descriptor that others share blocking", () => {
  using ends = pipe();
  PatientWriter.on(ends.write, handClock())?.write("x");
  const F_GETFL = 3;
  expect((libc()?.fcntl(ends.write, F_GETFL, 0) ?? 0) & constants.O_NONBLOCK).toBe(0);
});

test("write() outlives its reader", () => {
  const clock = handClock();
  const path = join(dir, "gone");
  Bun.spawnSync(["mkfifo", path]);
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const write = openSync(path, constants.O_WRONLY);
  const writer = PatientWriter.on(write, clock);
  closeSync(read);
  writer?.write("nobody\n");
  const again = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  writer?.write("somebody\n");
  expect([readSome(again, 100), clock.due.length]).toEqual(["somebody\n", 0]);
  for (const fd of [again, write]) closeSync(fd);
});

test("write() goes on where a file ends, whoever writes to it beside us", () => {
  const path = join(dir, "file");
  const fd = openSync(path, "w");
  const writer = PatientWriter.on(fd, handClock());
  writer?.write("one\n");
  Bun.spawnSync(["echo", "two"], { stdout: fd });
  writer?.write("three\n");
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\nthree\n");
});

test("write() to a full socket that blocks returns, and hands over what it kept", async () => {
  const clock = handClock();
  const path = join(dir, "socket");
  let text = "";
  const { promise: accepted, resolve: accept } = Promise.withResolvers<Bun.Socket>();
  const server = Bun.listen({
    unix: path,
    socket: {
      open(socket) {
        socket.pause();
        accept(socket);
      },
      data: (_socket, bytes) => void (text += bytes.toString()),
    },
  });
  const fd = quickIo()?.connect(path) ?? -1;
  const F_SETFL = 4;
  libc()?.fcntl(fd, F_SETFL, 0);
  const reader = await accepted;
  const writer = PatientWriter.on(fd, clock);
  for (let i = 0; i < 1_000; i += 1) writer?.write(LINE);
  expect(clock.due).toHaveLength(1);
  reader.resume();
  await until("all of it came", () => {
    clock.turn();
    return text.length === 1_000 * LINE.length;
  });
  closeSync(fd);
  server.stop(true);
});

test("write() gives /dev/null all at once", () => {
  const clock = handClock();
  const fd = openSync("/dev/null", "w");
  PatientWriter.on(fd, clock)?.write(LINE.repeat(1_000));
  closeSync(fd);
  expect(clock.due).toEqual([]);
});
