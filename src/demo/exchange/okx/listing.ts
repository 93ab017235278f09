/** The swaps that the OKX paper exchange lists, and one dated future: quantities are contracts, each worth `contractSize` of the base asset, as OKX's instruments page has it. */
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

/** 2030-12-27 08:00 UTC: it does not expire while anybody plays. */
const EXPIRY = { suffix: "301227", atMs: 1_924_588_800_000 };

/** BTC, ETH, SOL and `synthetic` further swaps S00-USDT-SWAP, S01-USDT-SWAP, …, and the future BTC-USDT-301227. */
export function okxListing(synthetic: number): SymbolSpec[] {
  const further = syntheticAssets(synthetic).map((asset) => ({
    ...SOL,
    ...asset,
    contractSize: SYNTHETIC_CONTRACT_SIZE,
  }));
  const future = { ...contract(BTC), symbol: `BTC-USDT-${EXPIRY.suffix}` };
  return [...[BTC, ETH, SOL, ...further].map(contract), future];
}

/** The type as OKX names it, and the time at which it expires as text; empty for a swap. */
export function kindOf(symbol: string): { instType: "SWAP" | "FUTURES"; expTime: string } {
  return symbol.endsWith("-SWAP")
    ? { instType: "SWAP", expTime: "" }
    : { instType: "FUTURES", expTime: String(EXPIRY.atMs) };
}

function contract({ baseAsset, startPrice, tickSize, lot, marketMaxQty, maxQty, contractSize }: Contract): SymbolSpec {
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
