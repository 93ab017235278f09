/** When the dead-man switch of an account is refreshed and when it is disarmed, on a clock of the test's own. */
import { describe, expect, test } from "vitest";
import type { WatchAnswer } from "../../../src/core/watch-job.ts";
import { DeadmanWatch } from "../../../src/supervisor/runtime/guard/deadman-watch.ts";
import type { GuardDeps } from "../../../src/supervisor/runtime/guard/guard.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const REFRESH_MS = 15_000;

function answerOf(armed: readonly string[], done = true): WatchAnswer {
  const nothing = { exposure: null, equity: null, transfers: null, trouble: null };
  return { version: 1, venueMs: 0, ...nothing, deadman: { done, armed: [...armed], reason: done ? null : "busy" } };
}

function rig() {
  const clock = new FakeClock();
  const bot = { healthy: true, resting: false };
  let armed: readonly string[] = [];
  const facts: string[] = [];
  const deps = {
    clock,
    plan: { config: { emergency: { deadman: { timeout: 60_000, refresh: REFRESH_MS } } } },
    healthy: () => bot.healthy,
    restsByWish: () => bot.resting,
    suspended: () => false,
    fact: (level: string, text: string) => facts.push(`${level}: ${text}`),
  };
  // Safe: the switch reads nothing else of what a guard has.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const watch = new DeadmanWatch(deps as unknown as GuardDeps, {
    armed: () => armed,
    keep: (now) => {
      armed = now;
    },
  });
  return { clock, bot, watch, facts };
}

describe("DeadmanWatch", () => {
  test("DeadmanWatch refreshes once in each period", () => {
    const { clock, watch } = rig();
    expect(watch.job()).toMatchObject({ duty: "refresh" });
    watch.take("refresh", answerOf(["*"]));
    expect(watch.job()).toBeNull();
    clock.advance(REFRESH_MS);
    expect(watch.job()).toMatchObject({ duty: "refresh", armed: ["*"] });
  });

  test("DeadmanWatch disarms at once when the bot is stopped, however short ago the last refresh was", () => {
    const { bot, watch } = rig();
    watch.take("refresh", answerOf(["*"]));
    bot.resting = true;
    expect(watch.job()).toMatchObject({ duty: "disarm", armed: ["*"] });
  });

  test("DeadmanWatch tries a disarm that failed again after 2 s, and says so", () => {
    const { clock, bot, watch, facts } = rig();
    watch.take("refresh", answerOf(["*"]));
    bot.resting = true;
    watch.take("disarm", answerOf(["*"], false));
    expect(facts).toEqual(["warn: cannot disarm the dead-man switch: busy; the venue may cancel open orders"]);
    expect(watch.job()).toBeNull();
    clock.advance(2_000);
    expect(watch.job()).toMatchObject({ duty: "disarm" });
  });

  test("DeadmanWatch disarms once more when a refresh that nobody confirmed cannot arrive any more", () => {
    const { clock, bot, watch } = rig();
    watch.take("refresh", answerOf(["*"], false));
    bot.resting = true;
    expect(watch.job()).toMatchObject({ duty: "disarm" });
    watch.take("disarm", answerOf([]));
    expect(watch.status).toMatchObject({ state: "armed" });
    clock.advance(5_999);
    expect(watch.job()).toBeNull();
    clock.advance(1);
    expect(watch.job()).toMatchObject({ duty: "disarm", armed: ["*"] });
    watch.take("disarm", answerOf([]));
    expect(watch.status).toMatchObject({ state: "disarmed" });
    expect(watch.job()).toBeNull();
  });

  test("DeadmanWatch disarms once when a refresh that failed has sent nothing", () => {
    const { bot, watch } = rig();
    watch.take("refresh", answerOf(["*"]));
    watch.take("refresh", { failed: "it was ended" });
    bot.resting = true;
    expect(watch.job()).toMatchObject({ duty: "disarm" });
    watch.take("disarm", answerOf([]));
    expect(watch.status).toMatchObject({ state: "disarmed" });
  });

  test("DeadmanWatch arms at once when a bot that rested is healthy again", () => {
    const { bot, watch } = rig();
    watch.take("refresh", answerOf(["*"]));
    bot.resting = true;
    watch.take("disarm", answerOf([]));
    bot.resting = false;
    expect(watch.job()).toMatchObject({ duty: "refresh", armed: [] });
  });

  test("DeadmanWatch lets a countdown run for a bot that is not healthy", () => {
    const { bot, watch } = rig();
    watch.take("refresh", answerOf(["*"]));
    bot.healthy = false;
    expect(watch.job()).toBeNull();
  });
});
