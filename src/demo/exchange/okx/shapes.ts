/** The venue's reply objects: everything as text, and a blank where nothing is to say. Key sets are those of replies recorded from OKX (ccxt's static response fixtures). */
import type { AlgoOrder, AlgoStatus, Fill, Order, OrderStatus, Position, PositionSide, Transfer } from "../account.ts";
import { specOf, type Books } from "../matching.ts";
import { totalsOf, valueOf } from "../valuation.ts";
import { okxType } from "./algo.ts";
import { kindOf } from "./listing.ts";

type Json = Record<string, unknown>;

const ORDER_BLANKS =
  "algoClOrdId algoId attachAlgoClOrdId cancelSource cancelSourceReason ccy pxType pxUsd pxVol quickMgnType slOrdPx " +
  "slTriggerPx slTriggerPxType source stpId stpMode tag tgtCcy tpOrdPx tpTriggerPx tpTriggerPxType tradeId";
const ALGO_BLANKS =
  "activePx actualPx actualSide callbackRatio callbackSpread ccy chaseType chaseVal isTradeBorrowMode maxChaseType " +
  "maxChaseVal moveTriggerPx ordId ordPx pxLimit pxSpread pxVar quickMgnType slOrdPx slTriggerPx slTriggerPxType szLimit " +
  "tag tgtCcy timeInterval tpOrdPx tpTriggerPx tpTriggerPxType triggerPx triggerPxType triggerTime";
const POSITION_BLANKS =
  "baseBal baseBorrowed baseInterest bizRefId bizRefType deltaBS deltaPA gammaBS gammaPA interest liab liabCcy liqPx margin " +
  "optVal pendingCloseOrdLiabVal posCcy quoteBal quoteBorrowed quoteInterest spotInUseAmt spotInUseCcy thetaBS thetaPA " +
  "tradeId usdPx vegaBS vegaPA";
const FILL_BLANKS = "fillPxVol fillFwdPx fillPxUsd fillMarkVol tag fillIdxPx";
const DETAIL_BLANKS =
  "accAvgPx clSpotInUseAmt maxSpotInUse notionalLever openAvgPx rewardBal spotBal spotInUseAmt spotUpl spotUplRatio totalPnl " +
  "totalPnlRatio mgnRatio";
const DETAIL_ZEROES =
  "borrowFroz colBorrAutoConversion crossLiab fixedBal interest isoEq isoLiab isoUpl liab maxLoan ordFrozen smtSyncEq " +
  "spotCopyTradingEq spotIsoBal stgyEq twap uplLiab";

const ORDER_STATE: Readonly<Record<OrderStatus, string>> = {
  NEW: "live",
  PARTIALLY_FILLED: "partially_filled",
  FILLED: "filled",
  CANCELED: "canceled",
  EXPIRED: "canceled",
};
const ALGO_STATE: Readonly<Record<AlgoStatus, string>> = {
  NEW: "live",
  CANCELED: "canceled",
  FINISHED: "effective",
  REJECTED: "order_failed",
};

function filled(names: string, value: string): Json {
  return Object.fromEntries(names.split(" ").map((name) => [name, value]));
}

function posSide(side: PositionSide): string {
  return side === "BOTH" ? "net" : side.toLowerCase();
}

/** A price that may be absent. */
function optional(price: number): string {
  return price === 0 ? "" : String(price);
}

export function orderShape({ account }: Books, order: Order): Json {
  return {
    ...filled(ORDER_BLANKS, ""),
    accFillSz: String(order.executed),
    attachAlgoOrds: [],
    avgPx: order.executed === 0 ? "" : String(order.quote / order.executed),
    cTime: String(order.time),
    category: "normal",
    clOrdId: order.clientOrderId,
    fee: "0",
    feeCcy: "USDT",
    fillPx: "",
    fillSz: String(order.executed),
    fillTime: order.executed === 0 ? "" : String(order.updateTime),
    instId: order.symbol,
    instType: kindOf(order.symbol).instType,
    lever: String(account.leverageOf(order.symbol)),
    ordId: String(order.orderId),
    ordType: order.type.toLowerCase(),
    pnl: "0",
    posSide: posSide(order.positionSide),
    px: optional(order.price),
    rebate: "0",
    rebateCcy: "USDT",
    // In hedge mode OKX does not tell it: side and leg do.
    reduceOnly: String(order.reduceOnly && !account.hedge),
    side: order.side.toLowerCase(),
    state: ORDER_STATE[order.status],
    sz: String(order.quantity),
    tdMode: order.marginMode,
    uTime: String(order.updateTime),
  };
}

/** What POST /trade/close-position answers: no id of an order. */
export function closeAck({ symbol, positionSide, clientOrderId }: Order): Json {
  return { clOrdId: clientOrderId, instId: symbol, posSide: posSide(positionSide), tag: "" };
}

export function algoShape({ account, market }: Books, order: AlgoOrder): Json {
  const type = okxType(order);
  const price = String(order.triggerPrice);
  const limit = order.price === 0 ? "-1" : String(order.price);
  const stop = type === "trigger" ? { triggerPx: price, triggerPxType: "last", ordPx: limit } : {};
  const conditional = type === "conditional" || type === "oco";
  return {
    ...filled(ALGO_BLANKS, ""),
    actualSz: "0",
    algoClOrdId: order.clientAlgoId,
    algoId: String(order.algoId),
    amendPxOnTriggerType: "0",
    attachAlgoOrds: [],
    cTime: String(order.createTime),
    clOrdId: order.clientAlgoId,
    closeFraction: order.closePosition ? "1" : "",
    failCode: "0",
    instId: order.symbol,
    instType: kindOf(order.symbol).instType,
    last: String(market.price(order.symbol)),
    lever: String(account.leverageOf(order.symbol)),
    linkedOrd: { ordId: "" },
    ordIdList: [],
    ordType: type,
    posSide: posSide(order.positionSide),
    reduceOnly: String(order.reduceOnly && !account.hedge),
    side: order.side.toLowerCase(),
    ...(conditional ? { slTriggerPx: price, slTriggerPxType: "last", slOrdPx: limit } : stop),
    state: ALGO_STATE[order.status],
    sz: optional(order.quantity),
    tdMode: order.marginMode,
    uTime: String(order.updateTime),
  };
}

export function positionShape(books: Books, position: Position): Json {
  const { symbol, positionSide, amount, entryPrice, marginMode, updateTime } = position;
  const { mark, notional, unrealized, initialMargin, maintMargin } = valueOf(books, position);
  const upl = String(unrealized);
  return {
    ...filled(POSITION_BLANKS, ""),
    adl: "1",
    availPos: positionSide === "BOTH" ? "" : String(Math.abs(amount)),
    avgPx: String(entryPrice),
    bePx: String(entryPrice),
    cTime: String(updateTime),
    ccy: "USDT",
    closeOrderAlgo: [],
    fee: "0",
    fundingFee: "0",
    idxPx: String(mark),
    imr: marginMode === "cross" ? String(initialMargin) : "",
    instId: symbol,
    instType: kindOf(symbol).instType,
    last: String(mark),
    lever: String(books.account.leverageOf(symbol)),
    liqPenalty: "0",
    ...(marginMode === "isolated" ? { margin: String(initialMargin) } : {}),
    markPx: String(mark),
    mgnMode: marginMode,
    mgnRatio: "100",
    mmr: String(maintMargin),
    notionalUsd: String(Math.abs(notional)),
    pnl: "0",
    // Contracts; signed in net mode only.
    pos: String(positionSide === "BOTH" ? amount : Math.abs(amount)),
    posId: `${symbol} ${positionSide}`,
    posSide: posSide(positionSide),
    realizedPnl: "0",
    uTime: String(updateTime),
    upl,
    uplLastPx: upl,
    uplRatio: String(unrealized / Math.max(1, initialMargin)),
    uplRatioLastPx: String(unrealized / Math.max(1, initialMargin)),
  };
}

export function fillShape(fill: Fill): Json {
  return {
    ...filled(FILL_BLANKS, ""),
    side: fill.side.toLowerCase(),
    fillSz: String(fill.quantity),
    fillPx: String(fill.price),
    fee: String(-fill.commission),
    fillPnl: String(fill.realizedPnl),
    ordId: String(fill.orderId),
    feeRate: fill.maker ? "-0.0002" : "-0.0005",
    instType: kindOf(fill.symbol).instType,
    instId: fill.symbol,
    clOrdId: fill.clientOrderId,
    posSide: posSide(fill.positionSide),
    billId: String(fill.id),
    fillTime: String(fill.time),
    execType: fill.maker ? "M" : "T",
    tradeId: String(fill.id),
    fillMarkPx: String(fill.price),
    feeCcy: "USDT",
    ts: String(fill.time),
  };
}

/** GET /account/balance: one currency. */
export function balanceShape(books: Books, now: number): Json {
  const { unrealized, margin, maint, equity, available } = totalsOf(books);
  const [eq, free] = [String(equity), String(available)];
  const detail = {
    ...filled(DETAIL_BLANKS, ""),
    ...filled(DETAIL_ZEROES, "0"),
    availBal: free,
    availEq: free,
    cashBal: String(books.account.wallet),
    ccy: "USDT",
    collateralEnabled: false,
    collateralRestrict: false,
    disEq: eq,
    eq,
    eqUsd: eq,
    frozenBal: String(margin),
    imr: String(margin),
    mmr: String(maint),
    uTime: String(now),
    upl: String(unrealized),
  };
  const zeroes = "borrowFroz isoEq notionalUsdForBorrow notionalUsdForFutures notionalUsdForOption ordFroz";
  const notional = [...books.account.positions.values()].reduce(
    (sum, position) => sum + Math.abs(valueOf(books, position).notional),
    0,
  );
  return {
    ...filled(zeroes, "0"),
    adjEq: eq,
    availEq: free,
    details: [detail],
    imr: String(margin),
    mgnRatio: "100",
    mmr: String(maint),
    notionalUsd: String(notional),
    notionalUsdForSwap: String(notional),
    totalEq: eq,
    uTime: String(now),
    upl: String(unrealized),
  };
}

/** An entry of GET /account/bills for a transfer: subtype 11 in, 12 out. */
export function billShape({ id, amount, time }: Transfer): Json {
  return {
    ...filled("clOrdId execType fillTime from instId mgnMode notes ordId px tag to tradeId", ""),
    bal: "0",
    balChg: String(amount),
    billId: String(id),
    ccy: "USDT",
    fee: "0",
    instType: "",
    interest: "0",
    pnl: "0",
    posBal: "0",
    posBalChg: "0",
    subType: amount >= 0 ? "11" : "12",
    sz: String(Math.abs(amount)),
    ts: String(time),
    type: "1",
  };
}

/** GET /account/config; `perm` has the rights of the key. */
export function configShape({ account }: Books): Json {
  return {
    ...filled("ip levelTmp spotOffsetType", ""),
    acctLv: "2",
    autoLoan: false,
    ctIsoMode: "automatic",
    greeksType: "PA",
    kycLv: "2",
    label: "paper",
    level: "Lv1",
    liquidationGear: "-1",
    mainUid: "1",
    mgnIsoMode: "automatic",
    opAuth: "0",
    perm: ["read_only", ...(account.canTrade ? ["trade"] : []), ...(account.canWithdraw ? ["withdraw"] : [])].join(","),
    posMode: account.hedge ? "long_short_mode" : "net_mode",
    roleType: "0",
    spotRoleType: "0",
    spotTraderInsts: [],
    traderInsts: [],
    uid: "1",
  };
}

/** An order of a book, for replies that only acknowledge: what became of it is not told. */
export function orderAck(order: Order, now: number): Json {
  return {
    clOrdId: order.clientOrderId,
    ordId: String(order.orderId),
    sCode: "0",
    sMsg: "Order placed",
    tag: "",
    ts: String(now),
  };
}

export function cancelAck(order: Order, now: number): Json {
  return { clOrdId: order.clientOrderId, ordId: String(order.orderId), sCode: "0", sMsg: "", ts: String(now) };
}

export function algoAck({ algoId, clientAlgoId }: AlgoOrder): Json {
  return { algoClOrdId: clientAlgoId, algoId: String(algoId), clOrdId: clientAlgoId, sCode: "0", sMsg: "", tag: "" };
}

/** Digits of an instrument's price, for market data. */
export function priceText(books: Books, symbol: string, ticks = 0): string {
  const spec = specOf(books.market, symbol);
  return (books.market.price(symbol) + ticks * Number(spec.tickSize)).toFixed(spec.pricePrecision);
}
