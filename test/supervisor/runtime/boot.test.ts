/** How long a machine counts as booting. */
import { expect, test } from "vitest";
import { firstMinute } from "../../../src/supervisor/runtime/boot.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

test("firstMinute() ends a minute after the boot, and tells once", () => {
  const clock = new FakeClock();
  let ends = 0;
  const leftMs = firstMinute(clock, 20_000, () => {
    ends += 1;
  });
  expect(leftMs()).toBe(40_000);
  clock.advance(39_000);
  expect([leftMs(), ends]).toEqual([1_000, 0]);
  clock.advance(60_000);
  expect([leftMs(), ends]).toEqual([0, 1]);
});

test("firstMinute() is over where the machine runs for long, or nobody can tell", () => {
  for (const uptimeMs of [3_600_000, undefined]) {
    const clock = new FakeClock();
    const leftMs = firstMinute(clock, uptimeMs, () => undefined);
    expect([leftMs(), clock.pending]).toEqual([0, 0]);
  }
});
