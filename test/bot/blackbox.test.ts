import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createBlackbox } from "../../src/bot/index.ts";
import { missingEvents, type BlackboxEvent } from "../../src/core/blackbox.ts";
import { readStart, recordedStarts, type StartReading } from "../../src/platform/blackbox-files.ts";
import { FIXTURES, until } from "../platform/until.ts";

/** A scratch folder that the recorder's environment names. */
class Box implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "bb-"));
  readonly blackbox = join(this.folder, "box");
  readonly env = {
    SUPERVISOR_BLACKBOX_DIR: this.blackbox,
    SUPERVISOR_GENERATION: "7",
    INVOCATION_ID: "0123456789abcdef",
    PATH: process.env["PATH"] ?? "",
  };

  read(): StartReading {
    const [start] = recordedStarts({ blackbox: this.blackbox, sealed: join(this.folder, "sealed") });
    if (start === undefined) throw new Error("nothing is recorded");
    return readStart(start);
  }

  events(): readonly BlackboxEvent[] {
    return this.read().events;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test.concurrent.each(["tick", "order.sent"])(
  "record() has %s on file when it returns: no SIGKILL loses one",
  async (type) => {
    using box = new Box();
    for (let round = 0; round < 5; round += 1) {
      rmSync(box.blackbox, { recursive: true, force: true });
      const child = Bun.spawn([process.execPath, join(FIXTURES, "record-and-ack.ts"), type, "20000"], {
        env: box.env,
        stdout: "pipe",
      });
      let said = "";
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
        said += chunk;
        // Elsewhere in each round; the rest of the pipe is read after the kill.
        if (said.length > 200 * (round + 1)) child.kill("SIGKILL");
      }
      await child.exited;
      const acknowledged = Number(said.slice(0, said.lastIndexOf("\n")).split("\n").at(-1));
      const { events, damaged, page } = box.read();
      expect(acknowledged).toBeGreaterThan(10);
      expect(events.at(-1)?.seq).toBeGreaterThanOrEqual(acknowledged);
      expect({ damaged, missing: missingEvents(events) }).toEqual({ damaged: 0, missing: 0 });
      expect(events.at(-1)?.data).toMatchObject({ text: "ä\n\u2028" });
      expect(page).toMatchObject({ level: "degraded", ops: [{ name: "place_order", detail: "sv-1" }] });
    }
  },
);

test("record() keeps what is protected when the chatty recorder gives up its oldest", () => {
  using box = new Box();
  const blackbox = createBlackbox(box.env, { segmentBytes: 2_000, segments: 3 });
  blackbox.record("order.sent", { id: "first" });
  for (let n = 0; n < 500; n += 1) blackbox.record("tick", { n });
  blackbox.record("tick", { last: true }, { sev: "error", comp: "feed", msg: "no price" });
  blackbox.close();
  const segments = readdirSync(box.blackbox).filter((name) => name.includes("-events-"));
  expect(segments).toHaveLength(3);
  for (const name of segments) expect(statSync(join(box.blackbox, name)).size).toBeLessThan(2_300);
  const events = box.events();
  expect(events[0]).toMatchObject({ seq: 1, type: "order.sent", data: { id: "first" }, boot: "000007-01234567" });
  expect(events.at(-1)).toMatchObject({ seq: 502, sev: "error", comp: "feed", msg: "no price" });
  expect(missingEvents(events)).toBeGreaterThan(400);
});

test("record() makes room for a new start among the segments of earlier ones", () => {
  using box = new Box();
  for (let generation = 1; generation <= 5; generation += 1) {
    const blackbox = createBlackbox({ ...box.env, SUPERVISOR_GENERATION: String(generation) }, { segments: 3 });
    blackbox.record("tick");
    blackbox.close();
  }
  const names = readdirSync(box.blackbox).filter((name) => name.includes("-events-"));
  expect(names.toSorted().map((name) => Number.parseInt(name, 10))).toEqual([3, 4, 5]);
});

test.concurrent("record() never throws, counts what the disk does not take, and says it when it does again", async () => {
  using box = new Box();
  writeFileSync(box.blackbox, "a file is in the way");
  const blackbox = createBlackbox(box.env);
  blackbox.record("tick");
  blackbox.record("order.sent");
  expect(blackbox.dropped).toBe(2);
  rmSync(box.blackbox);
  mkdirSync(box.blackbox);
  await until("an event is taken", () => {
    blackbox.record("order.sent");
    return readdirSync(box.blackbox).some((name) => name.includes("-kept-"));
  });
  const { dropped } = blackbox;
  expect(dropped).toBeGreaterThanOrEqual(2);
  blackbox.close();
  const said = box.events().find(({ type }) => type === "blackbox.dropped");
  // The one of the other recorder is still unsaid.
  expect(said?.data).toEqual({ n: dropped - 1 });
});

test("record() puts in the place of data that is too long, or that JSON cannot hold, what it was", () => {
  using box = new Box();
  const blackbox = createBlackbox(box.env);
  const circle: { self?: unknown } = {};
  circle.self = circle;
  blackbox.record("a", circle);
  blackbox.record("a", 1n);
  blackbox.record("a", () => undefined);
  blackbox.record("a", "x".repeat(100_000));
  blackbox.close();
  blackbox.record("a");
  expect(box.events().map(({ data }) => data)).toEqual([
    { unserializable: expect.any(String) },
    { unserializable: expect.any(String) },
    null,
    { omittedCharacters: 100_010 },
  ]);
});

test("begin() shows the operations in progress in whatever order they end", () => {
  using box = new Box();
  const blackbox = createBlackbox(box.env);
  const first = blackbox.begin("reconcile");
  const second = blackbox.begin("fetch_positions", "binanceusdm");
  first();
  first();
  expect(box.read().page?.ops).toEqual([{ name: "fetch_positions", since: expect.any(Number), detail: "binanceusdm" }]);
  second();
  expect(box.read().page?.ops).toEqual([]);
  blackbox.close();
});

test("createBlackbox() without a supervisor does nothing", () => {
  const blackbox = createBlackbox({});
  blackbox.record("order.sent");
  blackbox.begin("x")();
  blackbox.close();
  expect(blackbox).toMatchObject({ active: false, dropped: 0 });
  expect(existsSync("undefined")).toBe(false);
});
