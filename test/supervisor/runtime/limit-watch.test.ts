/** What a reading of the account does to the limits, whatever becomes of the account. */
import { expect, test } from "vitest";
import type { DayStart } from "../../../src/core/exposure.ts";
import type { WatchAnswer } from "../../../src/core/watch-job.ts";
import type { GuardDeps } from "../../../src/supervisor/runtime/guard/guard.ts";
import { LimitWatch } from "../../../src/supervisor/runtime/guard/limit-watch.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const NOON_MS = Date.parse("2026-03-01T12:00:00Z");
const DAY_MS = 86_400_000;

function answer(exposure: number | null, equity: number | null): WatchAnswer {
  return { version: 1, venueMs: NOON_MS, exposure, equity, transfers: 0, trouble: null, deadman: null };
}

/** A watch of both limits, with what it kept and ordered. */
function rig() {
  const kept: { dayStart: DayStart | null; lossDay: number | null } = { dayStart: null, lossDay: null };
  const orders: string[] = [];
  const limits = { maxExposure: 100, onExposure: "reduce", maxDailyLoss: 50, period: 30_000, cooldown: 60_000 };
  const deps = {
    plan: { config: { emergency: { limits } } },
    clock: new FakeClock(),
    suspended: () => false,
    booting: () => false,
    fact: () => undefined,
    order: ({ trigger }: { readonly trigger: string }) => orders.push(trigger),
  };
  // Safe: the watch reads nothing else of what it is given.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const watch = new LimitWatch(deps as unknown as GuardDeps, {
    dayStart: () => kept.dayStart,
    lossDay: () => kept.lossDay,
    keep: (fields) => Object.assign(kept, fields),
  });
  return { watch, kept, orders };
}

test("LimitWatch begins the day with a reading whose exposure is over its limit", () => {
  const { watch, kept } = rig();
  watch.take(answer(1_000, 900));
  expect(kept.dayStart).toMatchObject({ day: Math.floor(NOON_MS / DAY_MS), equity: 900 });
});

test("LimitWatch counts a loss from the reading whose exposure was over its limit, and cuts the exposure first", () => {
  const { watch, orders } = rig();
  watch.take(answer(1_000, 900));
  watch.take(answer(1_000, 800));
  watch.take(answer(90, 800));
  watch.take(answer(90, 800));
  expect(orders).toEqual(["exposure", "dailyLoss"]);
});

test("LimitWatch begins no day with a reading that does not tell the equity", () => {
  const { watch, kept } = rig();
  watch.take(answer(1_000, null));
  expect(kept.dayStart).toBeNull();
});
