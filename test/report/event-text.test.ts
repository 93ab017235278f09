import { expect, test } from "vitest";
import { eventLine } from "../../src/report/event-text.ts";

const entry = { v: 1, seq: 1, at: "2026-01-02T03:04:05.678Z", kind: "fact", bot: "bot", level: "alert" } as const;

test("eventLine() puts time, mark, bot and text on one line", () => {
  expect(eventLine({ ...entry, text: "it ended" })).toBe("03:04:05.678 ‼ bot  it ended");
});

test("eventLine() gives the date of what is not of today", () => {
  const ended = { ...entry, text: "it ended" };
  expect(eventLine(ended, { today: "2026-01-02" })).toBe("03:04:05.678 ‼ bot  it ended");
  expect(eventLine(ended, { today: "2026-01-03" })).toBe("2026-01-02 03:04:05.678 ‼ bot  it ended");
});

test("eventLine() lets no text begin a line of its own or command the terminal", () => {
  const line = eventLine({ ...entry, text: "hi\n03:04:05.679 ‼ bot  forged\u001B[1A\u009B2K" });
  expect(line).toBe("03:04:05.678 ‼ bot  hi 03:04:05.679 ‼ bot  forged [1A 2K");
});
