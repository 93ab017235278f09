/** The control path `/__paper/…`: what a test or a demo may set, place and read beside the venue's own API. */
import * as z from "zod";
import type { AlgoOrder, Fill, Flip, Order, PositionSide, Side } from "./account.ts";
import { digitsOf, round } from "./decimal.ts";
import { faultSchema, type Fault } from "./faults.ts";
import type { SymbolSpec } from "./market.ts";
import { seedMarginOrder, type MarginBooks } from "./margin/orders.ts";
import { CROSS, type MarginWallets } from "./margin/wallets.ts";
import { closesLeg, type Books } from "./matching.ts";

/** Share of the mark price that a seeded order without a price is away from it, so that it rests. */
const SEED_DISTANCE_RATIO = 0.03;
const MAX_SEEDS = 1_000;
/** Two days: a test may move both clocks to the next one. */
const MAX_SKEW_MS = 172_800_000;

const symbol = z.string().min(1).describe("Any spelling: BTCUSDT, BTC/USDT:USDT or BTC-USDT-SWAP.");
const positive = z.number().positive();

const setSchema = z.strictObject({
  latencyMs: z.int().min(0).max(60_000).optional().describe("Delay of every venue request."),
  skewMs: z.int().min(-MAX_SKEW_MS).max(MAX_SKEW_MS).optional().describe("How far the venue's clock is ahead."),
  hedge: z.boolean().optional().describe("Hedge mode; needs a flat account."),
  canTrade: z.boolean().optional().describe("Whether the key may trade; it always reads."),
  impact: z
    .number()
    .min(0)
    .max(0.5)
    .optional()
    .describe("How much worse than the mark price market orders are filled, as ratio."),
  restingFill: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("Share of a resting order that is executed each time its price is reached; 0: none. Default: all."),
  canWithdraw: z.boolean().optional().describe("Whether the key may withdraw."),
  transfer: z.number().optional().describe("Money moved into the account, or out of it when negative, USDT."),
  hourMs: z.int().min(1).optional().describe("Length of what counts as an hour of interest on margin loans, ms."),
  prices: z.record(z.string(), positive).optional().describe("Mark prices; orders they reach are filled at once."),
});
export type Settings = z.output<typeof setSchema>;

const seedSchema = z.strictObject({
  positions: z
    .array(
      z.strictObject({
        symbol,
        side: z.enum(["long", "short"]),
        amount: positive.describe("In the venue's unit: base currency on Binance, contracts on OKX."),
        entryPrice: positive.optional(),
        marginMode: z.enum(["cross", "isolated"]).default("cross"),
      }),
    )
    .max(MAX_SEEDS)
    .default([]),
  orders: z
    .array(
      z.strictObject({
        symbol,
        side: z.enum(["buy", "sell"]),
        amount: positive.optional().describe("Left out only with closePosition."),
        price: positive.optional(),
        triggerPrice: positive.optional().describe("Makes it a conditional (algo) order."),
        orderType: z.string().optional().describe("Of a conditional order, as the venue names it; default: a stop."),
        closePosition: z.boolean().default(false),
        reduceOnly: z.boolean().default(false),
        positionSide: z.enum(["LONG", "SHORT"]).optional(),
        clientOrderId: z.string().max(36).optional(),
        wallet: z.string().optional().describe("Of a margin account: cross, or the symbol of an isolated pair."),
      }),
    )
    .max(MAX_SEEDS)
    .default([]),
  margin: z
    .array(
      z.strictObject({
        pair: z.string().optional().describe("Symbol of the isolated pair; left out: cross margin."),
        asset: z.string(),
        free: z.number().min(0).default(0),
        borrowed: z.number().min(0).default(0),
        interest: z.number().min(0).default(0),
      }),
    )
    .max(MAX_SEEDS)
    .default([])
    .describe("What margin wallets hold and owe."),
});
type Seed = z.output<typeof seedSchema>;

/** A position as tests and demos read it. */
interface PaperPosition {
  symbol: string;
  side: "long" | "short";
  positionSide: PositionSide;
  /** Always positive. */
  amount: number;
  entryPrice: number;
  markPrice: number;
  notional: number;
}

/** What the venue holds and what was asked of it. */
export interface PaperState {
  positions: PaperPosition[];
  orders: Order[];
  algoOrders: AlgoOrder[];
  fills: Fill[];
  /** Neither a position nor an order of either class. */
  flat: boolean;
  wallet: number;
  hedge: boolean;
  /** Requests by "METHOD /path". */
  requests: Record<string, number>;
  /** Breaches a well-behaved client does not commit, oldest first: wrong signatures, passed limits, reused client ids. */
  violations: string[];
  /** Fills that turned a position from long to short or back. */
  flips: Flip[];
  faults: readonly Fault[];
  /** Running countdowns of the dead-man switch, ms as they were set: by symbol on Binance, "*" on OKX. */
  countdowns: Record<string, number>;
  /** Margin wallets with their open orders, and every loan taken or repaid. */
  margin: ReturnType<MarginWallets["state"]>;
}

export interface ControlHost {
  books: Books;
  wallets: MarginWallets;
  now: () => number;
  addFault: (fault: Fault) => void;
  apply: (settings: Settings) => void;
  reset: () => void;
  state: () => PaperState;
}

/** An answer for control input that is wrong; its message goes to the caller with status 400. */
export class ControlError extends Error {}

/** Answers a request to `/__paper/…`. `body` is its text. */
export function handleControl(host: ControlHost, method: string, path: string, body: string): Response {
  try {
    return Response.json(answer(host, `${method} ${path}`, body));
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return Response.json({ error: error.message }, { status: 400 });
  }
}

function answer(host: ControlHost, request: string, body: string): unknown {
  switch (request) {
    case "GET /__paper/state":
      return host.state();
    case "POST /__paper/fault":
      host.addFault(parse(faultSchema, body, "fault"));
      return { ok: true };
    case "POST /__paper/set":
      host.apply(parse(setSchema, body, "settings"));
      return { ok: true };
    case "POST /__paper/seed":
      seed(host, parse(seedSchema, body, "seed"), host.now());
      return { ok: true };
    case "POST /__paper/reset":
      host.reset();
      return { ok: true };
    default:
      throw new ControlError(`cannot serve ${request}: paths are /__paper/{state,fault,set,seed,reset}`);
  }
}

function parse<T>(schema: z.ZodType<T>, body: string, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new ControlError(`cannot read the ${what}: the body is not JSON`);
  }
  const result = schema.safeParse(value);
  if (!result.success) throw new ControlError(`cannot read the ${what}: ${z.prettifyError(result.error)}`);
  return result.data;
}

/** Finds a listed symbol by any spelling: all of them are base and quote once the signs are gone. */
export function findSpec(books: Books, name: string): SymbolSpec {
  const spec = [...books.market.specs.values()].find((each) => plainName(each.symbol) === plainName(name));
  if (spec === undefined) throw new ControlError(`cannot find ${name}: it is not listed`);
  return spec;
}

function plainName(name: string): string {
  return name.replace(/:.*$|-SWAP$/, "").replace(/[/-]/, "");
}

/** Puts positions and orders there as they are, past every rule of the venue. */
function seed({ books, wallets }: ControlHost, plan: Seed, now: number): void {
  const { account, market } = books;
  for (const entry of plan.positions) {
    const spec = findSpec(books, entry.symbol);
    const signed = entry.side === "long" ? entry.amount : -entry.amount;
    const positionSide: PositionSide = account.hedge ? (entry.side === "long" ? "LONG" : "SHORT") : "BOTH";
    const { entryPrice = market.price(spec.symbol), marginMode } = entry;
    account.place({ symbol: spec.symbol, positionSide, amount: signed, entryPrice, marginMode }, now);
  }
  for (const entry of plan.margin) wallets.seed(entry);
  for (const entry of plan.orders) {
    if (entry.wallet === undefined) seedOrder(books, entry, now);
    else seedInWallet({ books, wallets }, { ...entry, wallet: entry.wallet }, now);
  }
}

function seedInWallet(margin: MarginBooks, entry: Seed["orders"][number] & { wallet: string }, now: number): void {
  const { account, market } = margin.books;
  const spec = findSpec(margin.books, entry.symbol);
  const side: Side = entry.side === "buy" ? "BUY" : "SELL";
  const away = side === "BUY" ? 1 - SEED_DISTANCE_RATIO : 1 + SEED_DISTANCE_RATIO;
  const orderId = account.nextId();
  seedMarginOrder(margin, {
    orderId,
    clientOrderId: entry.clientOrderId ?? `seed${orderId}`,
    symbol: spec.symbol,
    side,
    positionSide: "BOTH",
    type: entry.triggerPrice === undefined ? "LIMIT" : "STOP_LOSS_LIMIT",
    timeInForce: "GTC",
    price: entry.price ?? round(market.price(spec.symbol) * away, digitsOf(spec.tickSize)),
    quantity: entry.amount ?? 0,
    executed: 0,
    quote: 0,
    reduceOnly: false,
    closePosition: false,
    marginMode: entry.wallet === CROSS ? "cross" : "isolated",
    status: "NEW",
    time: now,
    updateTime: now,
    wallet: entry.wallet,
    sideEffect: "NO_SIDE_EFFECT",
    stopPrice: entry.triggerPrice ?? 0,
  });
}

function seedOrder(books: Books, entry: Seed["orders"][number], now: number): void {
  const spec = findSpec(books, entry.symbol);
  const { account } = books;
  const side: Side = entry.side === "buy" ? "BUY" : "SELL";
  if (entry.amount === undefined && !entry.closePosition)
    throw new ControlError("cannot seed an order without an amount");
  const id = account.nextId();
  const clientId = entry.clientOrderId ?? `seed${id}`;
  const positionSide = seedLeg(books, entry);
  const common = {
    symbol: spec.symbol,
    side,
    positionSide,
    timeInForce: "GTC" as const,
    quantity: entry.amount ?? 0,
    reduceOnly: entry.reduceOnly || closesLeg(side, positionSide),
    closePosition: entry.closePosition,
    marginMode: account.position(spec.symbol, positionSide)?.marginMode ?? ("cross" as const),
    updateTime: now,
  };
  if (entry.triggerPrice !== undefined) {
    const orderType = entry.orderType ?? (entry.price === undefined ? "STOP_MARKET" : "STOP");
    account.openAlgoOrders.set(id, {
      ...common,
      algoId: id,
      clientAlgoId: clientId,
      orderType,
      triggerPrice: entry.triggerPrice,
      rising: entry.triggerPrice > books.market.price(spec.symbol),
      price: entry.price ?? 0,
      workingType: "CONTRACT_PRICE",
      priceProtect: false,
      status: "NEW",
      createTime: now,
      triggerTime: 0,
    });
    return;
  }
  const away = side === "BUY" ? 1 - SEED_DISTANCE_RATIO : 1 + SEED_DISTANCE_RATIO;
  account.openOrders.set(id, {
    ...common,
    orderId: id,
    clientOrderId: clientId,
    type: "LIMIT",
    price: entry.price ?? round(books.market.price(spec.symbol) * away, digitsOf(spec.tickSize)),
    executed: 0,
    quote: 0,
    status: "NEW",
    time: now,
  });
}

/** The leg of a seeded order: as said, else the one its side opens, or closes when it is reduce-only. */
function seedLeg(books: Books, entry: Seed["orders"][number]): PositionSide {
  if (!books.account.hedge) return "BOTH";
  const closes = entry.reduceOnly || entry.closePosition;
  return entry.positionSide ?? ((entry.side === "buy") === closes ? "SHORT" : "LONG");
}
