/** Who waits for whom at the start, until when, and which lists are no order. */
import { expect, test } from "vitest";
import { endsWait, judgeWait, orderMistakes, type Awaited } from "../../src/core/start-order.ts";

const coming: Awaited = { state: "starting", ready: false, waits: false, sinceMs: 1_000, startTimeoutMs: 30_000 };

test("judgeWait() waits for a bot that comes up, and no longer than its startTimeout", () => {
  expect(judgeWait(coming, 30_999)).toEqual({ kind: "wait" });
  expect(judgeWait(coming, 31_000)).toEqual({ kind: "over", reason: "is not ready within its startTimeout" });
  expect(judgeWait({ ...coming, state: "running" }, 2_000)).toEqual({ kind: "wait" });
  expect(judgeWait({ ...coming, state: "running" }, 31_000).kind).toBe("over");
  expect(judgeWait({ ...coming, state: "stopping" }, 2_000)).toEqual({ kind: "wait" });
});

test("judgeWait() is done when the bot is ready, however late", () => {
  expect(judgeWait({ ...coming, state: "running", ready: true }, 99_000)).toEqual({ kind: "ready" });
});

test("judgeWait() counts the time of a bot that waits itself from the end of its own wait", () => {
  expect(judgeWait({ ...coming, state: "stopped", waits: true }, 99_000)).toEqual({ kind: "wait" });
});

test.each(["stopped", "backoff", "recovering", "halted", "locked", "stuck"] as const)(
  "judgeWait() does not wait for a bot that is %s",
  (state) => {
    expect(judgeWait({ ...coming, state }, 1_000)).toEqual({ kind: "over", reason: `is ${state}` });
  },
);

test("endsWait() is true for what a person, a lockout or an adoption says, and not for leftovers", () => {
  expect((["start", "stop", "restart", "emergency", "arm", "lockFound", "adopted"] as const).every(endsWait)).toBe(
    true,
  );
  expect(endsWait("leftovers")).toBe(false);
  expect(endsWait("gone")).toBe(false);
});

function mistakes(lists: Readonly<Record<string, readonly string[]>>): string[] {
  return orderMistakes(new Map(Object.entries(lists))).map(({ bot, index, message }) => `${bot}.${index} ${message}`);
}

test("orderMistakes() accepts every order that is one, also a diamond", () => {
  expect(mistakes({ a: [], b: ["a"], c: ["a"], d: ["b", "c"] })).toEqual([]);
});

test("orderMistakes() names unknown bots, the bot itself, and names that stand twice", () => {
  expect(mistakes({ a: ["x", "a", "b", "b"], b: [] })).toEqual([
    'a.0 "x" is not a bot of this config; correct the name or remove it (the other bots are b)',
    'a.1 "a" is this bot itself; remove it',
    'a.3 "b" stands twice; keep one',
  ]);
});

test("orderMistakes() tells each circle once, whole", () => {
  expect(mistakes({ a: ["b"], b: ["c"], c: ["a"], d: ["e"], e: ["d"], f: ["a"] })).toEqual([
    "c.0 closes a circle, a after b after c after a: none could start first; remove one of these",
    "e.0 closes a circle, d after e after d: none could start first; remove one of these",
  ]);
});
