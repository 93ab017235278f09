/** States for tests: a folder with one that holds something, and rows to put into it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OrderIntent } from "../../../src/core/order-intent.ts";
import { openStore, type SavedPosition, type SavedTrade, type StateStore } from "../../../src/bot/index.ts";

export const TRADES = 600;
export const POSITIONS = 150;
export const VALUES = 60;

export function makeFolder(): { readonly folder: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "state-"));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export function position(n: number): SavedPosition {
  return {
    id: `p${n}`,
    account: "main",
    symbol: `S${n}/USDT:USDT`,
    side: n % 2 === 0 ? "long" : "short",
    quantity: "0.10000001",
    entryPrice: "60000.5",
    currentPrice: null,
    stopLoss: "59000",
    takeProfit: null,
    entryTime: 1_700_000_000_000 + n,
    status: "open",
    source: n === 17 ? "canary-17" : "bot",
    extra: JSON.stringify({ note: "x".repeat(60) }),
    updatedAt: 1_700_000_000_000 + n,
  };
}

export function trade(n: number): SavedTrade {
  const ids = { id: `t${n}`, clientOrderId: `c${n}` };
  return {
    ...ids,
    symbol: "BTC/USDT:USDT",
    side: "buy",
    quantity: "1.5",
    price: "60000",
    pnl: "-1.25",
    commission: "0.02",
    at: n,
  };
}

export function intent(id: string): OrderIntent {
  return {
    clientOrderId: id,
    name: "place_order",
    action: "open",
    symbol: "BTC/USDT:USDT",
    side: "buy",
    type: "limit",
    reduceOnly: false,
    quantity: "0.3",
    price: "60000.1",
    positionId: null,
    createdAt: Date.now(),
  };
}

/** A closed state with `TRADES` trades, `POSITIONS` positions, `VALUES` values and a backup from before the last ten trades. */
export async function filledState(folder: string): Promise<void> {
  const store = await openStore({ folder });
  await fill(store, TRADES - 10);
  await store.backup();
  await Promise.all(Array.from({ length: 10 }, (_, n) => store.addTrade(trade(TRADES - 10 + n))));
  await store.close();
}

async function fill(store: StateStore, trades: number): Promise<void> {
  await Promise.all([
    ...Array.from({ length: trades }, (_, n) => store.addTrade(trade(n))),
    ...Array.from({ length: POSITIONS }, (_, n) => store.putPosition(position(n))),
    ...Array.from({ length: VALUES }, (_, n) =>
      store.put(`key${n}`, `value ${n} ${"y".repeat(n === 7 ? 20_000 : 80)}`),
    ),
  ]);
}

export async function counted(store: StateStore): Promise<{ trades: number; positions: number; values: number }> {
  const values = await Promise.all(Array.from({ length: VALUES }, (_, n) => store.get(`key${n}`)));
  return {
    trades: (await store.trades(0)).length,
    positions: (await store.positions()).length,
    values: values.filter((value) => value !== undefined).length,
  };
}
