/** Reply objects of OKX's spot wallet; the key sets are those of the contracts' shapes, recorded from OKX, with the values of a cash account. */
import type { Order } from "../account.ts";
import type { SymbolSpec } from "../market.ts";
import { specOf, type Books } from "../matching.ts";
import { ItemError } from "../okx/errors.ts";
import type { Params } from "../okx/params.ts";
import { balanceShape, orderShape } from "../okx/shapes.ts";
import { locked, lockedQuote } from "../spot/orders.ts";

type Json = Record<string, unknown>;

const QUOTE = "USDT";

function nameOf({ baseAsset }: SymbolSpec): string {
  return `${baseAsset}-${QUOTE}`;
}

/** The book's name of the instrument that a request names. Throws 51001. */
export function bookName({ market }: Books, params: Params): string {
  const spec = [...market.specs.values()].find((each) => nameOf(each) === params.get("instId"));
  if (spec === undefined) throw new ItemError("51001", "Instrument ID doesn't exist.");
  return spec.symbol;
}

/** All of them for the type SPOT, and none for any other. */
export function instrumentsOf({ market }: Books, params: Params): SymbolSpec[] {
  return params.get("instType") === "SPOT" ? [...market.specs.values()] : [];
}

export function instrumentShape(spec: SymbolSpec): Json {
  return {
    alias: "",
    baseCcy: spec.baseAsset,
    category: "1",
    ctMult: "",
    ctType: "",
    ctVal: "",
    ctValCcy: "",
    expTime: "",
    instFamily: "",
    instId: nameOf(spec),
    instType: "SPOT",
    lever: "",
    listTime: "1611916828000",
    lotSz: spec.stepSize,
    maxIcebergSz: spec.maxQty,
    maxLmtAmt: "20000000",
    maxLmtSz: spec.maxQty,
    maxMktAmt: "1000000",
    maxMktSz: spec.marketMaxQty,
    maxStopSz: spec.marketMaxQty,
    maxTriggerSz: spec.maxQty,
    maxTwapSz: spec.maxQty,
    minSz: spec.minQty,
    optType: "",
    quoteCcy: QUOTE,
    ruleType: "normal",
    settleCcy: "",
    state: "live",
    stk: "",
    tickSz: spec.tickSize,
    uly: "",
  };
}

export function tickerShape({ market }: Books, spec: SymbolSpec, now: number): Json {
  const price = String(market.price(spec.symbol));
  const open = String(spec.startPrice);
  return {
    instType: "SPOT",
    instId: nameOf(spec),
    last: price,
    lastSz: "1",
    askPx: price,
    askSz: "1",
    bidPx: price,
    bidSz: "1",
    open24h: open,
    high24h: price,
    low24h: price,
    volCcy24h: "1",
    vol24h: "1",
    ts: String(now),
    sodUtc0: open,
    sodUtc8: open,
  };
}

export function spotOrderRow(books: Books, order: Order): Json {
  const spec = specOf(books.market, order.symbol);
  return {
    ...orderShape(books, order),
    instId: nameOf(spec),
    instType: "SPOT",
    lever: "",
    ordType: order.type === "MARKET" ? "market" : order.timeInForce === "IOC" ? "ioc" : "limit",
    posSide: "net",
    reduceOnly: "false",
    tdMode: "cash",
    tgtCcy: order.type === "MARKET" ? "base_ccy" : "",
  };
}

/** GET /account/balance: one entry for each asset that there is something of. */
export function walletShape(books: Books, now: number): Json {
  const shape = balanceShape(books, now);
  const [detail] = Array.isArray(shape["details"]) ? shape["details"] : [];
  const { account, market } = books;
  const row = (ccy: string, total: number, held: number): Json => ({
    ...Object(detail),
    ccy,
    availBal: String(Number((total - held).toFixed(8))),
    availEq: "",
    cashBal: String(total),
    eq: String(total),
    frozenBal: String(held),
    ordFrozen: String(held),
    imr: "0",
    mmr: "0",
    upl: "0",
  });
  const assets = [...account.positions.values()].map(({ symbol, amount }) =>
    row(specOf(market, symbol).baseAsset, amount, locked(account, symbol)),
  );
  return { ...shape, details: [row(QUOTE, account.wallet, lockedQuote(account)), ...assets] };
}
