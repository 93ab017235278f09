/** The symbols a paper exchange lists and their prices: a seeded random walk. */
import { digitsOf, round } from "./decimal.ts";

export interface SymbolSpec {
  /** Venue id, for example BTCUSDT or BTC-USDT-SWAP. */
  symbol: string;
  baseAsset: string;
  subType: string;
  /** Display digits as exchangeInfo tells them; the filters decide. */
  pricePrecision: number;
  quantityPrecision: number;
  tickSize: string;
  minPrice: string;
  maxPrice: string;
  stepSize: string;
  minQty: string;
  /** Largest limit order. */
  maxQty: string;
  /** Largest market order; smaller than `maxQty`. */
  marketMaxQty: string;
  /** Smallest notional of an order that is not reduce-only, USDT; "0": none. */
  minNotional: string;
  startPrice: number;
  /** Base units in one unit of quantity: 1, or what a contract stands for. */
  contractSize: number;
}

/** Most synthetic symbols: their ids carry two digits. */
export const MAX_SYNTHETIC_SYMBOLS = 100;

/** Base assets of the synthetic symbols, S00, S01, …: as many as a fault test wants, each with a price of its own. */
export function syntheticAssets(count: number): { baseAsset: string; startPrice: number }[] {
  return Array.from({ length: count }, (_, index) => ({
    baseAsset: `S${String(index).padStart(2, "0")}`,
    startPrice: 20 + index,
  }));
}

/** Typical move of one step, as a share of the price: about 1 % in a minute of four steps a second. */
const STEP_RATIO = 0.000_6;
/** Share of the distance to the start price that each step takes back, so that a demo of hours stays in its range. */
const PULL_RATIO = 0.002;

export class Market {
  readonly specs: ReadonlyMap<string, SymbolSpec>;
  /** How much worse than the mark price market orders are filled, as ratio: a thin book. */
  impact = 0;
  /** Share of a resting order that is executed each time its price is reached; what is left goes on resting. */
  restingFill = 1;
  readonly #seed: number;
  readonly #prices = new Map<string, number>();
  readonly #rolls = new Map<string, () => number>();

  /** The same seed gives the same walk. */
  constructor(seed: number, listed: readonly SymbolSpec[]) {
    this.specs = new Map(listed.map((spec) => [spec.symbol, spec]));
    this.#seed = seed;
    this.reset();
  }

  /** Back to the start prices and the start of the walk. */
  reset(): void {
    this.impact = 0;
    this.restingFill = 1;
    let index = 0;
    for (const spec of this.specs.values()) {
      this.#prices.set(spec.symbol, spec.startPrice);
      this.#rolls.set(spec.symbol, seededRoll(this.#seed + index * 7_919));
      index += 1;
    }
  }

  /** Mark price; the symbol must be listed. */
  price(symbol: string): number {
    const price = this.#prices.get(symbol);
    if (price === undefined) throw new Error(`internal error: no price of ${symbol}`);
    return price;
  }

  /** What a market order gets. */
  takerPrice(symbol: string, side: "BUY" | "SELL"): number {
    const price = this.price(symbol) * (side === "BUY" ? 1 + this.impact : 1 - this.impact);
    return this.impact === 0 ? this.price(symbol) : round(price, digitsOf(this.specs.get(symbol)?.tickSize ?? "1"));
  }

  /** Moves one price; rounded to the tick. */
  setPrice(symbol: string, price: number): void {
    const spec = this.specs.get(symbol);
    if (spec === undefined) throw new Error(`cannot set a price: ${symbol} is not listed`);
    const tick = Number(spec.tickSize);
    this.#prices.set(symbol, round(Math.max(1, Math.round(price / tick)) * tick, digitsOf(spec.tickSize)));
  }

  /** One step of every walk. */
  step(): void {
    for (const spec of this.specs.values()) {
      const roll = this.#rolls.get(spec.symbol) ?? (() => 0.5);
      const price = this.price(spec.symbol);
      // The sum of three uniform rolls is close enough to a normal one.
      const noise = (roll() + roll() + roll() - 1.5) * 2 * STEP_RATIO * price;
      this.setPrice(spec.symbol, price + noise + (spec.startPrice - price) * PULL_RATIO);
    }
  }
}

/** Numbers in [0, 1) from a seed (mulberry32). */
function seededRoll(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
