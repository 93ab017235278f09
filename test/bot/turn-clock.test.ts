/** The clock that is read once per turn. */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { turnMs } from "../../src/bot/turn-clock.ts";

test("turnMs() is exact at the beginning of a turn, and never ahead", async () => {
  turnMs();
  await setImmediate();
  const before = performance.now();
  expect(turnMs()).toBeGreaterThanOrEqual(before);
  expect(turnMs()).toBeLessThanOrEqual(performance.now());
});

test("turnMs() sees time pass in a loop that never lets the event loop turn", () => {
  const first = turnMs();
  let reads = 0;
  while (turnMs() === first) reads += 1;
  expect(reads).toBeLessThan(20);
});
