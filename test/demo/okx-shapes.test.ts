/** Replies of the OKX paper exchange have the key sets that were recorded from the real venue (ccxt's static fixtures for okx). */
import { expect, test } from "vitest";
import { startOkxPaper } from "./okx-paper.ts";

const words = (text: string): string[] => text.split(" ").toSorted();

const RECORDED = {
  placed: words("clOrdId ordId sCode sMsg tag ts"),
  algoPlaced: words("algoClOrdId algoId clOrdId sCode sMsg tag"),
  order: words(
    "accFillSz algoClOrdId algoId attachAlgoClOrdId attachAlgoOrds avgPx cTime cancelSource cancelSourceReason category ccy " +
      "clOrdId fee feeCcy fillPx fillSz fillTime instId instType lever ordId ordType pnl posSide px pxType pxUsd pxVol " +
      "quickMgnType rebate rebateCcy reduceOnly side slOrdPx slTriggerPx slTriggerPxType source state stpId stpMode sz tag " +
      "tdMode tgtCcy tpOrdPx tpTriggerPx tpTriggerPxType tradeId uTime",
  ),
  algo: words(
    "activePx actualPx actualSide actualSz algoClOrdId algoId amendPxOnTriggerType attachAlgoOrds cTime callbackRatio " +
      "callbackSpread ccy chaseType chaseVal clOrdId closeFraction failCode instId instType isTradeBorrowMode last lever " +
      "linkedOrd maxChaseType maxChaseVal moveTriggerPx ordId ordIdList ordPx ordType posSide pxLimit pxSpread pxVar " +
      "quickMgnType reduceOnly side slOrdPx slTriggerPx slTriggerPxType state sz szLimit tag tdMode tgtCcy timeInterval " +
      "tpOrdPx tpTriggerPx tpTriggerPxType triggerPx triggerPxType triggerTime uTime",
  ),
  position: words(
    "adl availPos avgPx baseBal baseBorrowed baseInterest bePx bizRefId bizRefType cTime ccy closeOrderAlgo deltaBS deltaPA " +
      "fee fundingFee gammaBS gammaPA idxPx imr instId instType interest last lever liab liabCcy liqPenalty liqPx margin " +
      "markPx mgnMode mgnRatio mmr notionalUsd optVal pendingCloseOrdLiabVal pnl pos posCcy posId posSide quoteBal " +
      "quoteBorrowed quoteInterest realizedPnl spotInUseAmt spotInUseCcy thetaBS thetaPA tradeId uTime upl uplLastPx " +
      "uplRatio uplRatioLastPx usdPx vegaBS vegaPA",
  ),
  fill: words(
    "side fillSz fillPx fillPxVol fillFwdPx fee fillPnl ordId feeRate instType fillPxUsd instId clOrdId posSide billId " +
      "fillMarkVol tag fillTime execType fillIdxPx tradeId fillMarkPx feeCcy ts",
  ),
  config: words(
    "acctLv autoLoan ctIsoMode greeksType ip kycLv label level levelTmp liquidationGear mainUid mgnIsoMode opAuth perm " +
      "posMode roleType spotOffsetType spotRoleType spotTraderInsts traderInsts uid",
  ),
  balance: words(
    "adjEq availEq borrowFroz details imr isoEq mgnRatio mmr notionalUsd notionalUsdForBorrow notionalUsdForFutures " +
      "notionalUsdForOption notionalUsdForSwap ordFroz totalEq uTime upl",
  ),
  detail: words(
    "accAvgPx availBal availEq borrowFroz cashBal ccy clSpotInUseAmt colBorrAutoConversion collateralEnabled " +
      "collateralRestrict crossLiab disEq eq eqUsd fixedBal frozenBal imr interest isoEq isoLiab isoUpl liab maxLoan " +
      "maxSpotInUse mgnRatio mmr notionalLever openAvgPx ordFrozen rewardBal smtSyncEq spotBal spotCopyTradingEq " +
      "spotInUseAmt spotIsoBal spotUpl spotUplRatio stgyEq totalPnl totalPnlRatio twap uTime upl uplLiab",
  ),
  instrument: words(
    "alias baseCcy category ctMult ctType ctVal ctValCcy expTime instFamily instId instType lever listTime lotSz " +
      "maxIcebergSz maxLmtAmt maxLmtSz maxMktAmt maxMktSz maxStopSz maxTriggerSz maxTwapSz minSz optType quoteCcy ruleType " +
      "settleCcy state stk tickSz uly",
  ),
  time: words("ts"),
  book: words("asks bids ts"),
};

/** Sorted keys of the first entry of a reply's data, or of the first entry of the list it has under `inside`. */
function keysOf(json: unknown, inside?: string): string[] {
  const first: unknown = Object(Object(json).data)[0];
  const value: unknown = inside === undefined ? first : Object(Object(first)[inside])[0];
  return Object.keys(Object(value)).toSorted();
}

test("routes of OKX reply with the recorded key sets", async () => {
  const { call } = startOkxPaper();
  const instId = "BTC-USDT-SWAP";
  const order = { instId, tdMode: "cross", side: "buy", ordType: "limit", sz: "1", px: "66000" };
  const placed = await call("POST", "/api/v5/trade/batch-orders", { params: [order] });
  await call("POST", "/api/v5/trade/batch-orders", { params: [{ ...order, ordType: "market" }] });
  const stop = {
    ...order,
    side: "sell",
    ordType: "conditional",
    slTriggerPx: "60000",
    slOrdPx: "-1",
    reduceOnly: true,
  };
  const algoPlaced = await call("POST", "/api/v5/trade/order-algo", { params: [stop] });
  const get = async (path: string, params: Record<string, string> = {}): Promise<unknown> =>
    (await call("GET", `/api/v5/${path}`, { params })).json;
  const balance = await get("account/balance");
  const seen = {
    placed: keysOf(placed.json),
    algoPlaced: keysOf(algoPlaced.json),
    order: keysOf(await get("trade/orders-pending")),
    algo: keysOf(await get("trade/orders-algo-pending", { ordType: "conditional" })),
    position: keysOf(await get("account/positions")),
    fill: keysOf(await get("trade/fills-history")),
    config: keysOf(await get("account/config")),
    balance: keysOf(balance),
    detail: keysOf(balance, "details"),
    instrument: keysOf(await get("public/instruments", { instType: "SWAP" })),
    time: keysOf(await get("public/time")),
    book: keysOf(await get("market/books", { instId })),
  };
  expect(seen).toEqual(RECORDED);
  expect(Object.keys(Object(placed.json))).toEqual(expect.arrayContaining(["code", "data", "msg"]));
});
