/** A thousand orders at ten a second, a tenth of which fails, in virtual time: `bun run bench sdk` does the same in real time. */
import { expect, test } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { Budget } from "../../src/bot/budget.ts";
import { ResilienceError } from "../../src/bot/errors.ts";
import { createExecutor } from "../../src/bot/execute.ts";
import { gateAt, proposeLevel, restoreLevel, settleLevel } from "../../src/core/degradation.ts";
import type { Level } from "../../src/core/gate.ts";
import { isUnfinished, type KnownIntent } from "../../src/core/order-intent.ts";
import { memoryLog, ModelVenue, World, type Faults } from "./order-sim.ts";

const ORDERS = 1_000;
const EVERY_MS = 100;

/** Sends the orders; answers what became of them, and of breaker, budget and level. */
async function load(seed: number, given: Partial<Faults>) {
  const world = new World(seed);
  const none = { loseRequest: 0, loseReply: 0, double: 0, refuse: 0, throttle: 0, readFails: 0.1, holdMs: 0 };
  const venue = new ModelVenue(world, { ...none, delayMs: 80, ids: "open", windowMs: 10_000, ...given });
  const machine = world.machine();
  const disk = new Map<string, KnownIntent>();
  let level = restoreLevel(undefined, "normal", 0, 0);
  let worst: Level = "normal";
  const look = (): void => {
    level = settleLevel(level, world.ms, 0);
    if (level.level !== "normal") worst = level.level;
  };
  const breaker = new Breaker("order", {}, machine);
  const executor = createExecutor({
    machine,
    budget: new Budget({}, machine),
    intents: memoryLog(disk, () => Promise.resolve()),
    reader: venue.reader(),
    scope: "load",
    gate: (action) => gateAt(level, action),
    propose: (proposal) => {
      level = proposeLevel(level, proposal, world.ms);
      look();
    },
  });
  const ends = await (async () => {
    const sent: Promise<string>[] = [];
    for (let n = 0; n < ORDERS; n += 1) {
      const order = {
        key: `order-${n}`,
        action: "open",
        symbol: "BTC/USDT",
        side: "buy",
        type: "market",
        quantity: 1,
      } as const;
      const call = executor.execute(
        ({ clientOrderId }) => venue.place(clientOrderId, () => Promise.resolve()),
        "place_order",
        { kind: "order", order, breaker },
      );
      sent.push(
        call.then(
          () => "filled",
          (error: unknown) => (error instanceof ResilienceError ? error.reason : String(error)),
        ),
      );
      const pause = world.wait(EVERY_MS);
      await world.play(pause);
      look();
    }
    const all = Promise.all(sent);
    await world.play(all);
    return all;
  })();
  look();
  const fills = [...venue.fills.values()];
  const reasons = Object.fromEntries([...new Set(ends)].map((end) => [end, ends.filter((one) => one === end).length]));
  return {
    reasons,
    fills: fills.reduce((sum, one) => sum + one, 0),
    twice: fills.filter((one) => one > 1).length,
    unfinished: [...disk.values()].filter(({ outcome }) => isUnfinished(outcome)).length,
    known: disk.size,
    breaker: breaker.state,
    level: level.level,
    worst,
    requests: venue.requests,
  };
}

test("1 000 orders at 10/s of which a tenth fails: each is filled once, the breaker is closed, the level normal", async () => {
  const end = await load(7, { loseRequest: 0.05, loseReply: 0.05 });
  expect(end).toMatchObject({ reasons: { filled: ORDERS }, fills: ORDERS, twice: 0, unfinished: 0, known: ORDERS });
  expect(end).toMatchObject({ breaker: "closed", level: "normal", worst: "normal" });
  expect(end.requests).toBeGreaterThan(ORDERS + 30);
});

test("1 000 orders at 10/s of which a tenth gets lost: more than the hour's retries, so some are given up, and none is sent twice", async () => {
  const end = await load(7, { loseRequest: 0.1 });
  const { filled = 0, budget = 0, gate = 0, open = 0 } = end.reasons;
  expect(filled + budget + gate + open).toBe(ORDERS);
  expect(end).toMatchObject({ fills: filled, twice: 0, unfinished: 0, worst: "minimal" });
  expect(budget).toBeGreaterThan(0);
});
