/** A paper exchange for one chaos test: it lives in the test's process, so it outlives every daemon, bot and worker that is killed. */
import { startPaperExchange, type PaperExchange } from "../../src/demo/exchange/server.ts";
import type { PaperState } from "../../src/demo/exchange/control.ts";
import { CREDENTIALS } from "./harness.ts";

export interface Paper extends AsyncDisposable {
  readonly url: string;
  readonly state: () => PaperState;
  /** `POST /__paper/PATH`: seed, fault, set. */
  readonly control: (path: "seed" | "fault" | "set" | "reset", body: object) => Promise<void>;
}

/** Two positions, a resting order and a protective stop: an account that needs closing. */
export const HOLDINGS = {
  positions: [
    { symbol: "BTCUSDT", side: "long", amount: 0.25 },
    { symbol: "ETHUSDT", side: "short", amount: 4 },
  ],
  orders: [
    { symbol: "BTCUSDT", side: "buy", amount: 0.01 },
    { symbol: "ETHUSDT", side: "buy", triggerPrice: 100_000, closePosition: true },
  ],
};

/** Requests that order or cancel something: what must not happen where nothing may change. */
export function changes({ requests }: PaperState): number {
  return Object.entries(requests)
    .filter(([label]) => !label.startsWith("GET "))
    .reduce((sum, [, count]) => sum + count, 0);
}

/** Orders sent to the venue so far. */
export function ordersSent({ requests }: PaperState): number {
  return requests["POST /fapi/v1/order"] ?? 0;
}

export const PASSPHRASE = "passphrase-of-the-paper-account";

/** The same account on OKX, which counts contracts of 0.01 BTC and 0.1 ETH. */
const CONTRACTS = {
  positions: [
    { symbol: "BTCUSDT", side: "long", amount: 25 },
    { symbol: "ETHUSDT", side: "short", amount: 40 },
  ],
  orders: [
    { symbol: "BTCUSDT", side: "buy", amount: 1 },
    { symbol: "ETHUSDT", side: "buy", triggerPrice: 100_000, closePosition: true },
  ],
};

/** Balances of a spot wallet, one of them partly held back by a resting sale. */
const BALANCES = {
  positions: [
    { symbol: "BTCUSDT", side: "long", amount: 0.25 },
    { symbol: "ETHUSDT", side: "long", amount: 4 },
  ],
  orders: [{ symbol: "ETHUSDT", side: "sell", amount: 1 }],
};

/** Wallets of cross margin and of an isolated pair each: Bitcoin bought with borrowed USDT, and Ether that is owed. */
const MARGIN_WALLETS = {
  margin: [
    { asset: "BTC", free: 0.25 },
    { asset: "USDT", free: 5_000, borrowed: 10_000, interest: 0.5 },
    { asset: "ETH", free: 0.1, borrowed: 1 },
    { pair: "BTCUSDT", asset: "BTC", free: 0.25 },
    { pair: "BTCUSDT", asset: "USDT", borrowed: 10_000, interest: 0.5 },
    { pair: "ETHUSDT", asset: "ETH", free: 0.1, borrowed: 1 },
    { pair: "ETHUSDT", asset: "USDT", free: 5_000 },
  ],
  orders: [
    { symbol: "BTCUSDT", side: "sell", amount: 0.1, wallet: "cross" },
    { symbol: "BTCUSDT", side: "sell", amount: 0.1, triggerPrice: 50_000, wallet: "BTCUSDT" },
  ],
};

interface PaperSettings {
  readonly empty?: boolean;
  /** Default binance. */
  readonly venue?: "binance" | "binance-margin" | "binance-spot" | "okx";
  /** Default: those of the rig. */
  readonly credentials?: typeof CREDENTIALS;
  /** How many times sooner the venue forgets what it has counted; default 1. */
  readonly speed?: number;
}

/** Starts the exchange; with `empty` the account holds nothing. Prices stand still. */
export async function startPaper(settings: PaperSettings = {}): Promise<Paper> {
  const { empty = false, venue = "binance", credentials = CREDENTIALS, speed = 1 } = settings;
  const passphrase = venue === "okx" ? { apiPassphrase: PASSPHRASE } : {};
  const exchange: PaperExchange = startPaperExchange({
    ...credentials,
    ...passphrase,
    exchange: venue,
    tickMs: 0,
    speed,
  });
  const control: Paper["control"] = async (path, body) => {
    const response = await fetch(`${exchange.url}/__paper/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`cannot set up the paper exchange: ${await response.text()}`);
  };
  const holdings = {
    binance: HOLDINGS,
    "binance-margin": MARGIN_WALLETS,
    "binance-spot": BALANCES,
    okx: CONTRACTS,
  }[venue];
  if (!empty) await control("seed", holdings);
  return {
    url: exchange.url,
    state: () => exchange.state(),
    control,
    [Symbol.asyncDispose]: () => exchange.stop(),
  };
}
