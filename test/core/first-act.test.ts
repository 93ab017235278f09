/** What a daemon does first about a bot: nothing that is locked or ordered to be closed is started. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { firstAct, meaningOf, type Order, type Situation } from "../../src/core/first-act.ts";
import type { Lockout } from "../../src/core/lockout.ts";

const order: Order = { trigger: "file", reason: "the file was there" };
const lockout = { outcome: "flat", trigger: "operator", reason: "asked for" } as const;
const quiet: Situation = {
  lockout: undefined,
  emergency: undefined,
  keptDown: undefined,
  wanted: true,
  leftovers: false,
};

const goals = fc.constantFrom(undefined, { kind: "flat" } as const, { kind: "reduce", exposure: 100 } as const);
const lockouts: fc.Arbitrary<NonNullable<Situation["lockout"]>> = fc.record({
  outcome: fc.constantFrom<Lockout["outcome"]>(null, "flat", "failed", "unsupported"),
  trigger: fc.constant("operator"),
  reason: fc.constant("asked for"),
  goal: goals,
});
const untaken: fc.Arbitrary<Order> = fc.record({
  trigger: fc.constant("file"),
  reason: fc.constant("the file was there"),
  goal: goals,
});
const orders = fc.oneof(
  untaken,
  untaken.map((each): Order => ({ ...each, taken: true })),
);
const situations = fc.record({
  lockout: fc.option(lockouts, { nil: undefined }),
  emergency: fc.option(orders, { nil: undefined }),
  keptDown: fc.option(fc.constant("it was set"), { nil: undefined }),
  wanted: fc.boolean(),
  leftovers: fc.boolean(),
});

describe("firstAct()", () => {
  test("starts only what is wanted, and neither locked nor ordered to be closed nor kept down", () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const { lockout: lock, emergency, keptDown, wanted } = situation;
        const free = lock === undefined && emergency === undefined && keptDown === undefined && wanted;
        expect(firstAct(situation).kind === "start").toBe(free);
      }),
    );
  });

  test("takes up every lockout, whatever else is asked for", () => {
    fc.assert(
      fc.property(situations, lockouts, (situation, lock) => {
        const act = firstAct({ ...situation, lockout: lock });
        expect(act).toMatchObject({ kind: "lock", found: { outcome: lock.outcome ?? undefined } });
      }),
    );
  });

  test("forgets no order to close, but one that was taken and stands in the lockout", () => {
    fc.assert(
      fc.property(situations, untaken, (situation, emergency) => {
        expect(firstAct({ ...situation, emergency })).toMatchObject({ order: emergency });
        const taken = firstAct({ ...situation, emergency: { ...emergency, taken: true } });
        expect(taken.kind).toBe("lock");
      }),
    );
  });

  test("goes on with the close of an order that was taken and whose lockout is not there", () => {
    expect(firstAct({ ...quiet, emergency: { ...order, taken: true } })).toMatchObject({
      kind: "lock",
      found: { outcome: undefined, reason: order.reason, wanted: true },
      order: undefined,
    });
  });

  test("adds an order that was taken to a lockout whose close has ended, and not to one that goes on for the same goal", () => {
    const emergency: Order = { ...order, goal: { kind: "flat" }, taken: true };
    expect(firstAct({ ...quiet, lockout, emergency })).toMatchObject({ kind: "lock", order: emergency });
    const going = { ...lockout, outcome: null, goal: { kind: "flat" } } as const;
    expect(firstAct({ ...quiet, lockout: going, emergency })).toMatchObject({ kind: "lock", order: undefined });
  });

  test("says that a person has acknowledged the lockout", () => {
    const acknowledged = { ...lockout, acknowledgedAt: "2026-01-01T00:00:00.000Z" };
    expect(firstAct({ ...quiet, lockout: acknowledged })).toMatchObject({ found: { acknowledged: true } });
    expect(firstAct({ ...quiet, lockout })).toMatchObject({ found: { acknowledged: false } });
  });

  test("keeps down what would run or has run, and says nothing of what would not", () => {
    const keptDown = "it was set";
    expect(firstAct({ ...quiet, keptDown })).toEqual({ kind: "keepDown", reason: keptDown });
    expect(firstAct({ ...quiet, keptDown, wanted: false, leftovers: true }).kind).toBe("keepDown");
    expect(firstAct({ ...quiet, keptDown, wanted: false }).kind).toBe("rest");
  });
});

describe("meaningOf()", () => {
  test("an order closes a bot that can be closed, and whatever was taken", () => {
    expect(meaningOf(order, true)).toEqual({ emergency: order, keptDown: undefined, vain: undefined });
    const taken: Order = { ...order, taken: true };
    expect(meaningOf(taken, false)).toEqual({ emergency: taken, keptDown: undefined, vain: undefined });
  });

  test("of other bots it is told, and only the environment keeps them down", () => {
    expect(meaningOf(order, false)).toEqual({ emergency: undefined, keptDown: undefined, vain: order });
    const set: Order = { trigger: "environment", reason: "it was set" };
    expect(meaningOf(set, false)).toEqual({ emergency: undefined, keptDown: "it was set", vain: set });
    expect(meaningOf(undefined, false)).toEqual({ emergency: undefined, keptDown: undefined, vain: undefined });
  });
});
