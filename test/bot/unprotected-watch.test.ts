/** A level minimal that lasts while a position has no stop. */
import { expect, test } from "vitest";
import {
  createLevels,
  watchUnprotected,
  type Levels,
  type LevelProposal,
  type UnprotectedOptions,
  type VenuePosition,
} from "../../src/bot/index.ts";

const HELD: VenuePosition = {
  symbol: "BTC/USDT:USDT",
  side: "short",
  amount: 2,
  entryPrice: 100,
  markPrice: 100,
  notional: 200,
  rules: { minAmount: 1, stepAmount: 1 },
};

interface Account {
  readonly positions: readonly VenuePosition[];
  readonly down: boolean;
}

/** The watch with an account that changes with each reading, the last of them for ever; ends once `enough` readings were made. */
async function watched(accounts: readonly Account[], enough: number, of: Partial<UnprotectedOptions> = {}) {
  const proposals: LevelProposal[] = [];
  const seen = Promise.withResolvers<void>();
  let readings = 0;
  const end = watchUnprotected({
    levels: { level: "minimal", heldMs: 400_000, propose: (proposal) => proposals.push(proposal) },
    readEveryMs: 20,
    venue: {
      positions: async () => accounts[Math.min(readings, accounts.length) - 1]?.positions ?? [],
      openOrders: () => {
        readings += 1;
        if (readings >= enough) setTimeout(seen.resolve, 1_500);
        if (accounts[Math.min(readings, accounts.length) - 1]?.down === true) throw new Error("it is down");
        return Promise.resolve([]);
      },
    },
    ...of,
  });
  await seen.promise;
  end();
  return proposals;
}

const UP = { positions: [HELD], down: false };
const DOWN = { positions: [], down: true };
const FLAT = { positions: [], down: false };

test.concurrent("watchUnprotected() proposes an emergency, also of a venue that is down by then", async () => {
  const [first] = await watched([UP, UP, DOWN], 3);
  expect(first).toMatchObject({ level: "emergency", source: "unprotected" });
  expect(first?.reason).toContain("short BTC/USDT:USDT");
});

test.concurrent("watchUnprotected() takes no single reading for the truth", async () => {
  expect(await watched([UP, FLAT], 4)).toEqual([]);
});

test.concurrent("watchUnprotected() proposes nothing at another level than minimal", async () => {
  const proposals: LevelProposal[] = [];
  const propose = (proposal: LevelProposal): void => void proposals.push(proposal);
  await watched([UP], 4, { levels: { level: "degraded", heldMs: 400_000, propose } });
  expect(proposals).toEqual([]);
});

test("heldMs counts while something demands the level, and not while it is on its way down", async () => {
  const levels: Levels = createLevels({});
  const before = levels.heldMs;
  levels.propose({ source: "a", level: "minimal", reason: "down", ttlMs: 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 30));
  const held = levels.heldMs;
  levels.propose({ source: "a", level: "normal", reason: "", ttlMs: 0 });
  const leaving = levels.heldMs;
  levels.close();
  expect([before >= 0, held >= 25, leaving, levels.level]).toEqual([true, true, 0, "minimal"]);
});
