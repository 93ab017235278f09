/** A level minimal that lasts while a position has no stop. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  createLevels,
  watchUnprotected,
  type Levels,
  type LevelProposal,
  type UnprotectedOptions,
  type VenuePosition,
} from "../../src/bot/index.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Between two readings, ms, and time in which a watch that has something to say says it: each second it looks. */
const READ_EVERY_MS = 20;
const LOOKED_MS = 1_500;

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

/** The watch with an account that changes with each reading, the last of them for ever; ends a look after `enough` readings. */
async function watched(accounts: readonly Account[], enough: number, of: Partial<UnprotectedOptions> = {}) {
  const proposals: LevelProposal[] = [];
  let readings = 0;
  const end = watchUnprotected({
    levels: { level: "minimal", heldMs: 400_000, propose: (proposal) => proposals.push(proposal) },
    readEveryMs: READ_EVERY_MS,
    venue: {
      positions: async () => accounts[Math.min(readings, accounts.length) - 1]?.positions ?? [],
      openOrders: () => {
        readings += 1;
        if (accounts[Math.min(readings, accounts.length) - 1]?.down === true) throw new Error("it is down");
        return Promise.resolve([]);
      },
    },
    ...of,
  });
  // The first reading is made at once.
  await vi.advanceTimersByTimeAsync((enough - 1) * READ_EVERY_MS);
  expect(readings).toBe(enough);
  await vi.advanceTimersByTimeAsync(LOOKED_MS);
  end();
  return proposals;
}

const UP = { positions: [HELD], down: false };
const DOWN = { positions: [], down: true };
const FLAT = { positions: [], down: false };

test("watchUnprotected() proposes an emergency, also of a venue that is down by then", async () => {
  const [first] = await watched([UP, UP, DOWN], 3);
  expect(first).toMatchObject({ level: "emergency", source: "unprotected" });
  expect(first?.reason).toContain("short BTC/USDT:USDT");
});

test("watchUnprotected() takes no single reading for the truth", async () => {
  expect(await watched([UP, FLAT], 4)).toEqual([]);
});

test("watchUnprotected() proposes nothing at another level than minimal", async () => {
  const proposals: LevelProposal[] = [];
  const propose = (proposal: LevelProposal): void => void proposals.push(proposal);
  await watched([UP], 4, { levels: { level: "degraded", heldMs: 400_000, propose } });
  expect(proposals).toEqual([]);
});

test("heldMs counts while something demands the level, and not while it is on its way down", () => {
  const levels: Levels = createLevels({});
  const before = levels.heldMs;
  levels.propose({ source: "a", level: "minimal", reason: "down", ttlMs: 60_000 });
  vi.advanceTimersByTime(30);
  const held = levels.heldMs;
  levels.propose({ source: "a", level: "normal", reason: "", ttlMs: 0 });
  const leaving = levels.heldMs;
  levels.close();
  expect([before, held, leaving, levels.level]).toEqual([0, 30, 0, "minimal"]);
});
