/** The swaps that the OKX paper exchange lists: quantities are contracts, each worth `contractSize` of the base asset, as OKX's instruments page has it. */
import { syntheticAssets, type SymbolSpec } from "../market.ts";

interface Contract {
  baseAsset: string;
  startPrice: number;
  tickSize: string;
  /** Step and smallest size, contracts. */
  lot: string;
  /** `maxMktSz` and `maxLmtSz`, contracts. */
  marketMaxQty: string;
  maxQty: string;
  contractSize: number;
}

const BTC: Contract = {
  baseAsset: "BTC",
  startPrice: 67_500,
  tickSize: "0.1",
  lot: "0.1",
  marketMaxQty: "12000",
  maxQty: "100000000",
  contractSize: 0.01,
};
const ETH: Contract = {
  baseAsset: "ETH",
  startPrice: 3_300,
  tickSize: "0.01",
  lot: "0.1",
  marketMaxQty: "10000",
  maxQty: "100000000",
  contractSize: 0.1,
};
const SOL: Contract = {
  baseAsset: "SOL",
  startPrice: 150,
  tickSize: "0.01",
  lot: "0.1",
  marketMaxQty: "3000",
  maxQty: "50000000",
  contractSize: 1,
};
/** Half a base unit: an amount taken for base units would be wrong by two. */
const SYNTHETIC_CONTRACT_SIZE = 0.5;

/** BTC, ETH, SOL and `synthetic` further swaps S00-USDT-SWAP, S01-USDT-SWAP, …. */
export function okxListing(synthetic: number): SymbolSpec[] {
  const further = syntheticAssets(synthetic).map((asset) => ({
    ...SOL,
    ...asset,
    contractSize: SYNTHETIC_CONTRACT_SIZE,
  }));
  return [BTC, ETH, SOL, ...further].map(swap);
}

function swap({ baseAsset, startPrice, tickSize, lot, marketMaxQty, maxQty, contractSize }: Contract): SymbolSpec {
  return {
    symbol: `${baseAsset}-USDT-SWAP`,
    baseAsset,
    subType: "linear",
    pricePrecision: tickSize.split(".")[1]?.length ?? 0,
    quantityPrecision: lot.split(".")[1]?.length ?? 0,
    tickSize,
    minPrice: tickSize,
    maxPrice: "10000000",
    stepSize: lot,
    minQty: lot,
    maxQty,
    marketMaxQty,
    minNotional: "0",
    startPrice,
    contractSize,
  };
}
