/** How long a machine counts as booting. */
import { expect, test } from "vitest";
import { endOfBoot } from "../../../src/supervisor/runtime/boot.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

test("endOfBoot() is a minute after the boot of the machine, on the clock", () => {
  const clock = new FakeClock();
  clock.advance(1_000);
  expect(endOfBoot(clock, 20_000)).toBe(clock.monotonicMs() + 40_000);
});

test("endOfBoot() is undefined where the machine runs for long, or nobody can tell", () => {
  expect([endOfBoot(new FakeClock(), 60_000), endOfBoot(new FakeClock(), undefined)]).toEqual([undefined, undefined]);
});
