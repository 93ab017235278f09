/** The screen of `supervisor top`: as many lines as it has, none wider, and on them what matters most. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/core/journal-entry.ts";
import { afterKey, chosenIn, keysIn, topLines, type TopScreen, type TopView } from "../../src/report/top-view.ts";
import { bot as hostile } from "../harness/status-sample.ts";
import { botStatusOf, statusOf } from "../harness/status.ts";

const screen: TopScreen = {
  rows: 24,
  columns: 120,
  colour: false,
  now: new Date("2026-01-01T00:01:00.000Z"),
  propose: (line) => line,
};

function eventOf(seq: number, bot: string, level: JournalEntry["level"] = "info"): JournalEntry {
  const at = `2026-01-01T00:00:00.${String(seq).padStart(3, "0")}Z`;
  return { v: 1, seq, at, kind: "fact", bot, level, text: `event ${seq}` };
}

const quiet = { lastExit: null, heartbeat: { at: null, ageSeconds: null, status: null } };
const bots = (count: number): ReturnType<typeof botStatusOf>[] =>
  Array.from({ length: count }, (_, index) => botStatusOf({ name: `bot-${index}`, ...quiet }));

function viewOf(more: Partial<TopView> = {}): TopView {
  const events = [eventOf(1, "bot-0"), eventOf(2, "bot-1", "warn")];
  return { status: statusOf(bots(2)), trouble: undefined, events, chosen: undefined, detail: false, ...more };
}

test("topLines() shows the supervisor, the bots with the chosen one marked, the last events and the keys", () => {
  const lines = topLines(viewOf({ chosen: "bot-1" }), { ...screen, rows: 9 });
  expect(lines).toEqual([
    expect.stringMatching(/^supervisor 1\.0\.0 {2}pid 42 /),
    expect.stringMatching(/^ {2}BOT +STATE /),
    expect.stringMatching(/^ {2}bot-0 +running /),
    expect.stringMatching(/^> bot-1 +running /),
    "EVENTS",
    "00:00:00.001   bot-0  event 1",
    "00:00:00.002 ! bot-1  event 2",
    "",
    expect.stringMatching(/^q quit /),
  ]);
});

test("topLines() fills the height that is left with the newest events", () => {
  const events = Array.from({ length: 100 }, (_, index) => eventOf(index, "bot-0"));
  const lines = topLines(viewOf({ events }), { ...screen, rows: 20 });
  expect(lines[4]).toBe("EVENTS");
  expect(lines[5]).toContain("event 86");
  expect(lines[18]).toContain("event 99");
});

test("topLines() of more bots than lines shows the chosen one, how many are hidden, and still events", () => {
  const lines = topLines(viewOf({ status: statusOf(bots(100)), chosen: "bot-70" }), screen);
  expect(lines.filter((line) => line.startsWith("> "))).toEqual([expect.stringContaining("bot-70 ")]);
  expect(lines.find((line) => line.includes("more above or below"))).toBe("  (86 more above or below)");
  expect(lines).toContain("00:00:00.002 ! bot-1  event 2");
});

test("topLines() with detail shows the probes of the chosen bot and its own events", () => {
  const lines = topLines(viewOf({ detail: true, chosen: "bot-1" }), screen);
  expect(lines).toContain("probes of bot-1:");
  expect(lines.join("\n")).not.toContain("bot-0");
});

test("topLines() says first why it is not the state of now, and shows the last one", () => {
  const [first, second] = topLines(viewOf({ trouble: "it does not answer" }), screen);
  expect(first).toBe("it does not answer");
  expect(second).toMatch(/^supervisor 1\.0\.0 /);
  expect(topLines(viewOf({ status: undefined, trouble: "it is not there" }), screen)[0]).toBe("it is not there");
});

test("topLines() marks the chosen bot also without colours, and with them as reverse video", () => {
  expect(topLines(viewOf(), { ...screen, colour: true }).filter((line) => line.startsWith("\u001B[7m> "))).toHaveLength(
    1,
  );
});

test("topLines() has exactly the lines of the screen and none wider, whatever there is to show", () => {
  const statuses = fc.constantFrom(
    undefined,
    statusOf([]),
    statusOf(bots(3)),
    statusOf(bots(60)),
    statusOf([hostile, botStatusOf()]),
  );
  const worlds = fc.record({
    rows: fc.integer({ min: 1, max: 60 }),
    columns: fc.integer({ min: 1, max: 200 }),
    colour: fc.boolean(),
    detail: fc.boolean(),
    status: statuses,
    trouble: fc.constantFrom(undefined, "it is not running".repeat(9)),
    count: fc.integer({ min: 0, max: 80 }),
  });
  fc.assert(
    fc.property(worlds, ({ rows, columns, colour, detail, status, trouble, count }) => {
      const events = Array.from({ length: count }, (_, index) => ({
        ...eventOf(index, "bot-0"),
        text: "名前 \u001B[2J ".repeat(20),
      }));
      const lines = topLines(viewOf({ status, trouble, detail, events }), { ...screen, rows, columns, colour });
      expect(lines).toHaveLength(rows);
      for (const line of lines) {
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
        // Safe: of control characters only those of a style may be there.
        // oxlint-disable-next-line no-control-regex
        expect(line.replace(/\u001B\[[\d;]*m/g, "")).not.toMatch(/[\u0000-\u001F\u007F-\u009F]/);
      }
    }),
  );
});

test.each([
  ["q", ["quit"]],
  ["\u0003", ["quit"]],
  ["jk\u001B[A\u001B[B\u001BOA\u001BOB", ["down", "up", "up", "down", "up", "down"]],
  ["\r\u001B", ["enter", "back"]],
  ["x\u001B[C\u001B[1;5A\u001B[200~é", []],
])("keysIn(%j) is %j", (text, keys) => {
  expect(keysIn(text)).toEqual(keys);
});

test("afterKey() leads through the bots and stops at both ends", () => {
  const start = viewOf();
  const down = afterKey(start, "down");
  expect([chosenIn(start), chosenIn(down), chosenIn(afterKey(down, "down"))]).toEqual(["bot-0", "bot-1", "bot-1"]);
  expect(chosenIn(afterKey(afterKey(down, "up"), "up"))).toBe("bot-0");
  expect(afterKey(viewOf({ status: statusOf([]) }), "down")).toMatchObject({ detail: false });
});

test("afterKey() opens and closes the view of one bot, and none where there is no bot", () => {
  const open = afterKey(viewOf(), "enter");
  expect(open).toMatchObject({ chosen: "bot-0", detail: true });
  expect([afterKey(open, "enter").detail, afterKey(open, "back").detail]).toEqual([false, false]);
  expect(afterKey(viewOf({ status: undefined }), "enter").detail).toBe(false);
});

test("chosenIn() is the first bot when the chosen one is gone", () => {
  expect(chosenIn(viewOf({ chosen: "gone" }))).toBe("bot-0");
});
