/** Each order is executed exactly once or reported as unknown, whatever the network loses and whenever the bot dies. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Budget } from "../../src/bot/budget.ts";
import { ResilienceError } from "../../src/bot/errors.ts";
import { createExecutor, type ExecutedOrder } from "../../src/bot/execute.ts";
import type { OrderOp } from "../../src/bot/order.ts";
import type { KnownIntent } from "../../src/core/order-intent.ts";
import { memoryLog, ModelVenue, World, type Faults } from "./order-sim.ts";

const WINDOW_MS = 10_000;
const share = fc.constantFrom(0, 0.1, 0.4, 0.8);
const faults = (ids: Faults["ids"], delayMs: number): fc.Arbitrary<Faults> =>
  fc.record({
    loseRequest: share,
    loseReply: share,
    double: share,
    refuse: fc.constantFrom(0, 0.1),
    throttle: fc.constantFrom(0, 0.2),
    readFails: share,
    holdMs: fc.constantFrom(0, 0, 40_000),
    delayMs: fc.constantFrom(10, 1_000, delayMs),
    ids: fc.constant(ids),
    windowMs: fc.constant(WINDOW_MS),
  });

/** Never moves on once its bot is dead. */
const never = new Promise<never>(() => undefined);

const ENTRY = { action: "open", symbol: "BTC/USDT", side: "buy", type: "market", quantity: 1 } as const;

/** One life of a bot after another on the same disk, each killed after so many ms, until one comes to an end. */
async function live(
  seed: number,
  given: Faults,
  deaths: readonly number[],
  withFallback: (life: number) => boolean = () => false,
  /** A life that has come to an end is followed by the next one, which asks for the same order once more. */
  asksAgain = false,
) {
  const world = new World(seed);
  const venue = new ModelVenue(world, given);
  const disk = new Map<string, KnownIntent>();
  for (const [life, lifeMs] of [...deaths, Number.POSITIVE_INFINITY].entries()) {
    const diesMs = world.ms + lifeMs;
    const alive = async (): Promise<void> => {
      if (world.ms >= diesMs) await never;
    };
    const reader = venue.reader();
    const machine = world.machine();
    const executor = createExecutor({
      budget: new Budget({}, { now: machine.now, wallNow: machine.wallNow }),
      intents: memoryLog(disk, alive),
      reader: { find: async (intent, signal) => alive().then(() => reader.find(intent, signal)) },
      orderWindowMs: WINDOW_MS,
      scope: "test",
      machine: { ...machine, after: (ms, fn) => machine.after(ms, () => (world.ms < diesMs ? fn() : undefined)) },
    });
    const place: OrderOp = async ({ clientOrderId }) => {
      await alive();
      const order = await venue.place(clientOrderId, alive);
      await alive();
      return order;
    };
    const fallback = withFallback(life) ? { fallback: { order: ENTRY, op: place } } : {};
    const result = executor.execute(place, "place_order", {
      kind: "order",
      order: { key: "entry", ...ENTRY },
      ...fallback,
    });
    const end = result.then(
      (sent) => ({ sent, error: undefined }),
      (error: unknown) => ({ sent: undefined, error }),
    );
    await world.play(Promise.race([end, lifeMs === Number.POSITIVE_INFINITY ? never : world.wait(lifeMs)]));
    const ended: { sent: ExecutedOrder | undefined; error: unknown } | undefined = await Promise.race([
      end,
      Promise.resolve(undefined),
    ]);
    if ((world.ms < diesMs && !asksAgain) || lifeMs === Number.POSITIVE_INFINITY) {
      // What is still on its way arrives.
      await world.play(world.wait(120_000));
      const fills = [...venue.fills.values()].reduce((sum, one) => sum + one, 0);
      return { fills, ended, outcome: [...disk.values()][0]?.outcome?.status, requests: venue.requests };
    }
    await world.play(world.wait(1_000));
  }
  throw new Error("no life came to an end");
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const deaths = fc.array(fc.integer({ min: 0, max: 25_000 }), { maxLength: 4 });

/** What was told and kept beside what happened. */
function toldAndTrue({ ended, fills, outcome }: Awaited<ReturnType<typeof live>>) {
  const { sent, error } = ended ?? { sent: undefined, error: undefined };
  const ambiguous = error instanceof ResilienceError && error.reason === "ambiguous";
  if (sent !== undefined) return { told: "filled", kept: outcome, fills };
  if (ambiguous) return { told: "unknown", kept: outcome, fills: Math.max(1, fills) };
  return { told: "nothing", kept: outcome === "rejected" ? "absent" : outcome, fills };
}
const HONEST = [
  { told: "filled", kept: "filled", fills: 1 },
  { told: "unknown", kept: "unknown", fills: 1 },
  { told: "nothing", kept: "absent", fills: 0 },
];

test("execute() of an order fills it once or says unknown at a venue that takes an id again and refuses what is old", async () => {
  await fc.assert(
    fc.asyncProperty(seeds, faults("open", 30_000), deaths, async (seed, given, dies) => {
      expect(HONEST).toContainEqual(toldAndTrue(await live(seed, given, dies)));
    }),
    { numRuns: 400 },
  );
});

test("execute() of an order fills it once or says unknown at a venue that takes an id once and gets requests twice", async () => {
  await fc.assert(
    fc.asyncProperty(seeds, faults("ever", WINDOW_MS - 1), deaths, async (seed, given, dies) => {
      expect(HONEST).toContainEqual(toldAndTrue(await live(seed, given, dies)));
    }),
    { numRuns: 400 },
  );
});

test("execute() sends an order again that got lost, under the same id, and only when nothing is on its way any more", async () => {
  const lost: Faults = {
    loseRequest: 0.6,
    loseReply: 0,
    double: 0,
    refuse: 0,
    throttle: 0,
    readFails: 0,
    holdMs: 0,
    delayMs: 10,
    ids: "open",
    windowMs: WINDOW_MS,
  };
  const lives = await Promise.all(Array.from({ length: 40 }, (_, seed) => live(seed, lost, [])));
  expect(Math.max(...lives.map(({ requests }) => requests))).toBe(4);
  expect(lives.filter(({ fills }) => fills === 1).length).toBeGreaterThan(25);
});

test("execute() of an order fills it or its fallback once or says unknown, whichever calls of its key have a fallback", async () => {
  const lives = fc.array(fc.boolean(), { minLength: 6, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(seeds, faults("open", 30_000), deaths, lives, async (seed, given, dies, has) => {
      const { ended, fills } = await live(seed, given, [...dies, 400_000], (life) => has[life] === true, true);
      const unknown = ended?.error instanceof ResilienceError && ended.error.reason === "ambiguous";
      const possible = unknown ? [0, 1] : [ended?.sent === undefined ? 0 : 1];
      expect(possible).toContain(fills);
    }),
    { numRuns: 400 },
  );
});
