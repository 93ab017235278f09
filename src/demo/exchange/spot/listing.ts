/** The markets of the spot paper exchange, with the filters that Binance publishes for its spot market. */
import { syntheticAssets, type SymbolSpec } from "../market.ts";

const BTC: SymbolSpec = {
  symbol: "BTCUSDT",
  baseAsset: "BTC",
  subType: "",
  pricePrecision: 8,
  quantityPrecision: 8,
  tickSize: "0.01",
  minPrice: "0.01",
  maxPrice: "1000000",
  stepSize: "0.00001",
  minQty: "0.00001",
  maxQty: "9000",
  marketMaxQty: "120",
  minNotional: "5",
  startPrice: 67_500,
  contractSize: 1,
};
const ETH: SymbolSpec = {
  ...BTC,
  symbol: "ETHUSDT",
  baseAsset: "ETH",
  stepSize: "0.0001",
  minQty: "0.0001",
  startPrice: 3_300,
};
const BNB: SymbolSpec = {
  ...BTC,
  symbol: "BNBUSDT",
  baseAsset: "BNB",
  stepSize: "0.001",
  minQty: "0.001",
  startPrice: 600,
};

/** BTC, ETH, BNB and `synthetic` further ones with the filters of BNB, all of them against USDT. */
export function spotListing(synthetic: number): SymbolSpec[] {
  const further = syntheticAssets(synthetic).map((asset) => ({ ...BNB, ...asset, symbol: `${asset.baseAsset}USDT` }));
  return [BTC, ETH, BNB, ...further];
}
