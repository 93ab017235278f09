/** The symbols that the Binance paper exchange lists, with the filters that Binance publishes for them. */
import { syntheticAssets, type SymbolSpec } from "../market.ts";

const BTC: SymbolSpec = {
  symbol: "BTCUSDT",
  baseAsset: "BTC",
  subType: "PoW",
  pricePrecision: 2,
  quantityPrecision: 3,
  tickSize: "0.10",
  minPrice: "556.80",
  maxPrice: "4529764",
  stepSize: "0.001",
  minQty: "0.001",
  maxQty: "1000",
  marketMaxQty: "120",
  minNotional: "50",
  startPrice: 67_500,
  contractSize: 1,
};

const ETH: SymbolSpec = {
  symbol: "ETHUSDT",
  baseAsset: "ETH",
  subType: "Layer-1",
  pricePrecision: 2,
  quantityPrecision: 3,
  tickSize: "0.01",
  minPrice: "39.86",
  maxPrice: "306177",
  stepSize: "0.001",
  minQty: "0.001",
  maxQty: "10000",
  marketMaxQty: "2000",
  minNotional: "20",
  startPrice: 3_300,
  contractSize: 1,
};

const SOL: SymbolSpec = {
  symbol: "SOLUSDT",
  baseAsset: "SOL",
  subType: "Layer-1",
  pricePrecision: 4,
  quantityPrecision: 2,
  tickSize: "0.0100",
  minPrice: "0.4200",
  maxPrice: "6857",
  stepSize: "0.01",
  minQty: "0.01",
  maxQty: "1000000",
  marketMaxQty: "5000",
  minNotional: "5",
  startPrice: 150,
  contractSize: 1,
};

/** BTC, ETH, SOL and `synthetic` further symbols S00USDT, S01USDT, …, all of them with SOL's filters. */
export function binanceListing(synthetic: number): SymbolSpec[] {
  const further = syntheticAssets(synthetic).map((asset) => ({ ...SOL, ...asset, symbol: `${asset.baseAsset}USDT` }));
  return [BTC, ETH, SOL, ...further];
}
