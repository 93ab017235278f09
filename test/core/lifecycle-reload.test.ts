/** What a reload's policy does to the clocks of a bot that is alive or down. */
import { describe, expect, test } from "vitest";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { Life, MIN, S } from "./lifecycle-life.ts";

const emergency = { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] } as const;
const same = { startTimeout: 30 * S, resetAfter: 10 * MIN };

/** `life`, as it goes on under a policy that differs by `fields`. */
function under(life: Life, fields: Partial<Policy>): Life {
  const next = new Life({ ...life.policy, ...fields });
  next.state = life.state;
  next.atMs = life.atMs;
  return next;
}

const before = (life: Life): Pick<Policy, "startTimeout" | "resetAfter"> => ({ ...same, ...life.policy });

describe("step() with a new policy", () => {
  test("goes on counting closeAfter with the time it has counted", () => {
    const life = under(new Life({ emergency }).run().die(), { emergency: { ...emergency, closeAfter: 2 * MIN } });
    expect(life.on("newPolicy", { before: before(life), countedMs: MIN }).delay("closeAfter")).toBe(MIN);
  });

  test("is at the end of a closeAfter that is shorter than what was counted", () => {
    const life = under(new Life({ emergency }).run().die(), { emergency: { ...emergency, closeAfter: 30 * S } });
    expect(life.on("newPolicy", { before: before(life), countedMs: MIN }).delay("closeAfter")).toBe(0);
  });

  test("stops counting when the emergency section is gone", () => {
    const life = under(new Life({ emergency }).run().die(), { emergency: undefined });
    life.on("newPolicy", { before: before(life), countedMs: MIN });
    expect(life.state).toMatchObject({ kind: "backoff", closeClock: "off" });
    expect(life.effects).toContainEqual({ kind: "clearTimer", timer: "closeAfter" });
  });

  test("begins to count for a bot that is down when there is an emergency section", () => {
    const life = under(new Life({ emergency: undefined }).run().die(), { emergency });
    life.on("newPolicy", { before: before(life), countedMs: undefined });
    expect(life.state.closeClock).toBe("counting");
    expect(life.delay("closeAfter")).toBe(5 * MIN);
  });

  test("does not begin to count for a healthy bot, nor for one that somebody stopped", () => {
    for (const life of [new Life({ emergency: undefined }).healthy(), new Life({ emergency: undefined })]) {
      const next = under(life, { emergency });
      next.on("newPolicy", { before: before(next), countedMs: undefined });
      expect(next.state.closeClock).toBe("off");
    }
  });

  test("leaves an emergency that is under way alone", () => {
    const life = under(new Life({ emergency }).run().on("emergency"), { emergency: undefined });
    life.on("newPolicy", { before: before(life), countedMs: MIN });
    expect(life.effects).toEqual([]);
    expect(life.state).toMatchObject({ kind: "stopping", after: { kind: "recover" } });
  });

  test("counts a start that is under way from its begin", () => {
    const life = under(
      new Life({ ready: "notify" })
        .on("start")
        .on("spawned")
        .after(20 * S),
      { startTimeout: 60 * S },
    );
    life.on("newPolicy", { before: { ...same, startTimeout: 30 * S }, countedMs: undefined });
    expect(life.delay("start")).toBe(40 * S);
  });

  test("leaves a start alone whose time is the same", () => {
    const life = new Life({ ready: "notify" })
      .on("start")
      .on("spawned")
      .after(20 * S);
    expect(life.on("newPolicy", { before: life.policy, countedMs: undefined }).delay("start")).toBeUndefined();
  });

  test("counts resetAfter anew for a healthy bot", () => {
    const life = under(new Life().healthy(), { resetAfter: 3 * MIN });
    expect(
      life.on("newPolicy", { before: { ...same, resetAfter: 10 * MIN }, countedMs: undefined }).delay("stable"),
    ).toBe(3 * MIN);
  });
});

test.each([
  [undefined, "stopped by the operator"],
  ["stopped for a restore of db", "stopped for a restore of db"],
])("step() says who stopped a bot (%s)", (why, detail) => {
  const life = new Life().run().on("stop", why === undefined ? {} : { why });
  expect(life.state.lastExit).toMatchObject({ cause: "stopped", detail });
});
