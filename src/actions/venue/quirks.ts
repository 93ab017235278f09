/** What a venue wants otherwise than ccxt's unified interface says; OKX's numbers are those of its v5 reference. */

/** One listing of conditional orders. */
export interface TriggerListing {
  /** ccxt's parameters that ask for it. */
  readonly params: Readonly<Record<string, unknown>>;
  /** A refusal in these words means that the venue does not know the type, hence has none; `undefined`: every venue of the kind has it. */
  readonly unknownType: RegExp | undefined;
}

/** Where in an answer a list is: names that lead to it, none for the answer itself. `orNull`: the venue says null where it is empty. */
export interface ListPart {
  readonly at: readonly string[];
  readonly orNull?: true;
}

type Parameters = Readonly<Record<string, unknown>>;

export interface VenueQuirks {
  /** ccxt's parameters of the readings that together show every position: some venues show one settlement currency at a time. */
  readonly positionListings: readonly Parameters[];
  /** The same for regular orders. */
  readonly orderListings: readonly Parameters[];
  /** A refusal in these words means that the account does not exist, hence holds nothing. */
  readonly noAccount: RegExp | undefined;
  /** Conditional orders stand in the listing of the regular ones, and a cancel by symbol takes both: told apart by their trigger price, cancelled by id. */
  readonly oneListing: boolean;
  /** A market order needs a price, from which ccxt makes its limit. */
  readonly pricedMarketOrders: boolean;
  /** Whether our client order ids are of the venue's alphabet and length. */
  readonly clientIds: boolean;
  /** Rows of a page of open orders, older pages asked for by `after`; `undefined`: one answer has them all. */
  readonly orderPage: number | undefined;
  /** All listings that together show every conditional order. */
  readonly triggerListings: readonly TriggerListing[];
  /** Ids in one bulk cancel of regular and of conditional orders. */
  readonly cancelBatch: number;
  readonly triggerCancelBatch: number;
  /** ccxt's cancel of a symbol's conditional orders would take the regular ones, by its options: they are cancelled one by one. */
  readonly cancelsTriggersSingly: (options: Readonly<Record<string, unknown>>) => boolean;
  /** Options that ccxt finds out by a request of its own, whose failure it takes for a no: forgotten after a reading that failed. */
  readonly guessedOptions: readonly string[];
  /** Whether an order must name the margin mode of its position. */
  readonly namesMarginMode: boolean;
  /** Open orders of derivatives and spot stand in the same lists. */
  readonly listsBothMarkets: boolean;
  /** What ccxt's way of closing a whole position takes besides the symbol. */
  readonly closesBy: readonly ("clientOrderId" | "marginMode" | "side")[];
  /** Which part of an answer must be a list: without it ccxt would read that there is nothing; `undefined`: not known. */
  readonly listOf: (method: string, path: string, body: string) => ListPart | undefined;
  /** Paths of new orders that take a deadline in a header; `undefined`: ccxt's recvWindow sets it. */
  readonly deadline: { readonly header: string; readonly paths: readonly string[] } | undefined;
}

const USUAL: VenueQuirks = {
  positionListings: [{}],
  orderListings: [{}],
  noAccount: undefined,
  oneListing: false,
  pricedMarketOrders: false,
  clientIds: true,
  orderPage: undefined,
  triggerListings: [{ params: { trigger: true }, unknownType: undefined }],
  // The smallest limit among the venues with a bulk cancel.
  cancelBatch: 20,
  triggerCancelBatch: 20,
  cancelsTriggersSingly: () => false,
  guessedOptions: [],
  namesMarginMode: false,
  listsBothMarkets: false,
  closesBy: [],
  listOf: () => undefined,
  deadline: undefined,
};

/** Reads the lists at the ends of these paths. */
function listsAt(parts: Readonly<Record<string, ListPart>>): VenueQuirks["listOf"] {
  const ends = Object.keys(parts);
  return (method, path) => {
    const end = method === "GET" ? ends.find((each) => path.endsWith(each)) : undefined;
    return end === undefined ? undefined : parts[end];
  };
}

/** Answers of Binance that are bare lists, on each of its futures interfaces. */
const BINANCE_LISTS = /\/(positionRisk|openOrders|openAlgoOrders)$/;
const BINANCE_SPOT_ACCOUNT = /^\/api\/v3\/account$/;
const BINANCE: VenueQuirks = {
  ...USUAL,
  listOf: (method, path) => {
    if (method === "GET" && BINANCE_SPOT_ACCOUNT.test(path)) return { at: ["balances"] };
    return method === "GET" && BINANCE_LISTS.test(path) ? { at: [] } : undefined;
  },
};
/** Stops of the spot market are in the list of all open orders. */
const BINANCE_SPOT: VenueQuirks = { ...BINANCE, triggerListings: [] };

/** Each listing shows one type, except for the pair of one-way and two-way stops; ccxt asks for `trigger` alone unless told otherwise. */
const OKX_TRIGGERS = ["conditional,oco", "trigger", "move_order_stop"];
/** Types that not every OKX (regional sites, account modes) has. */
const OKX_OPTIONAL_TRIGGERS = ["chase", "iceberg", "twap"];
/** Codes of parameters and account modes; any other refusal (busy, frozen, restricted) leaves the question open, for such orders open positions. */
const OKX_UNKNOWN_TYPE = /"code":"(51\d{3}|50014|50016)"/;

const OKX: VenueQuirks = {
  ...USUAL,
  orderPage: 100,
  triggerListings: [
    ...OKX_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, unknownType: undefined })),
    ...OKX_OPTIONAL_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, unknownType: OKX_UNKNOWN_TYPE })),
  ],
  cancelBatch: 20,
  triggerCancelBatch: 10,
  namesMarginMode: true,
  listsBothMarkets: true,
  closesBy: ["clientOrderId", "marginMode", "side"],
  // Every answer of the interface, also to an order and a cancel.
  listOf: () => ({ at: ["data"] }),
  // A signed request is good for 30 s; this header is what makes an order whose reply was lost die sooner.
  deadline: { header: "expTime", paths: ["/api/v5/trade/order", "/api/v5/trade/batch-orders"] },
};

/** Where ccxt's default is USDT alone. Orders of inverse contracts can be listed by their settlement currency only. */
const BYBIT: VenueQuirks = {
  ...USUAL,
  positionListings: [{ settleCoin: "USDT" }, { settleCoin: "USDC" }, { subType: "inverse" }],
  orderListings: [
    { settleCoin: "USDT", limit: 50 },
    { settleCoin: "USDC", limit: 50 },
    { subType: "inverse", settleCoin: "BTC", limit: 50 },
    { subType: "inverse", settleCoin: "ETH", limit: 50 },
  ],
  triggerListings: [],
  oneListing: true,
  listOf: listsAt({ "/position/list": { at: ["result", "list"] }, "/order/realtime": { at: ["result", "list"] } }),
};

const GATE_SETTLEMENTS = [{ settle: "usdt" }, { settle: "btc" }];
const GATE: VenueQuirks = {
  ...USUAL,
  positionListings: GATE_SETTLEMENTS,
  orderListings: GATE_SETTLEMENTS,
  triggerListings: GATE_SETTLEMENTS.map((settle) => ({ params: { trigger: true, ...settle }, unknownType: undefined })),
  noAccount: /USER_NOT_FOUND/,
  listOf: listsAt({ "/positions": { at: [] }, "/orders": { at: [] }, "/price_orders": { at: [] } }),
};

/** Coin-margined products want their margin currency named; they are not read. */
const BITGET_PRODUCTS = ["USDT-FUTURES", "USDC-FUTURES"].map((productType) => ({ type: "swap", productType }));
/** Own conditional orders, those of positions, and trailing ones. */
const BITGET_PLANS = ["normal_plan", "profit_loss", "track_plan"];
const BITGET: VenueQuirks = {
  ...USUAL,
  positionListings: BITGET_PRODUCTS,
  orderListings: BITGET_PRODUCTS,
  triggerListings: BITGET_PRODUCTS.flatMap((product) =>
    BITGET_PLANS.map((planType) => ({ params: { trigger: true, planType, ...product }, unknownType: undefined })),
  ),
  namesMarginMode: true,
  closesBy: ["side"],
  // A unified account has another interface.
  cancelsTriggersSingly: ({ uta }) => uta === true,
  guessedOptions: ["uta"],
  listOf: listsAt({
    "/position/current-position": { at: ["data", "list"], orNull: true },
    "/trade/unfilled-orders": { at: ["data", "list"], orNull: true },
    "/trade/unfilled-strategy-orders": { at: ["data"], orNull: true },
    "/position/all-position": { at: ["data"] },
    "/order/orders-pending": { at: ["data", "entrustedList"], orNull: true },
    "/order/orders-plan-pending": { at: ["data", "entrustedList"], orNull: true },
  }),
};

const KUCOIN: VenueQuirks = {
  ...USUAL,
  namesMarginMode: true,
  closesBy: ["clientOrderId"],
  listOf: listsAt({
    "/v1/positions": { at: ["data"] },
    "/v1/orders": { at: ["data", "items"] },
    "/v1/stopOrders": { at: ["data", "items"] },
  }),
};

/** ccxt lists the open orders of their spot market unless it is told otherwise, whatever its default type is. */
const TOLD_SWAP: VenueQuirks = {
  ...USUAL,
  orderListings: [{ type: "swap" }],
  triggerListings: [{ params: { type: "swap", trigger: true }, unknownType: undefined }],
};

const QUIRKS: Readonly<Record<string, VenueQuirks>> = {
  okx: OKX,
  okxus: OKX,
  myokx: OKX,
  bybit: BYBIT,
  bybitid: BYBIT,
  gate: GATE,
  bitget: BITGET,
  kucoin: KUCOIN,
  kucoinfutures: KUCOIN,
  btse: TOLD_SWAP,
  hashkey: TOLD_SWAP,
  coinbase: { ...USUAL, closesBy: ["clientOrderId"] },
  mudrex: { ...USUAL, closesBy: ["side"] },
  krakenfutures: {
    ...USUAL,
    triggerListings: [],
    oneListing: true,
    listOf: listsAt({ "/openpositions": { at: ["openPositions"] }, "/openorders": { at: ["openOrders"] } }),
  },
  hyperliquid: {
    ...USUAL,
    triggerListings: [],
    oneListing: true,
    pricedMarketOrders: true,
    clientIds: false,
    // One path for every question.
    listOf: (_, path, body) => {
      if (!path.endsWith("/info")) return undefined;
      if (body.includes('"clearinghouseState"')) return { at: ["assetPositions"] };
      return body.includes('"frontendOpenOrders"') ? { at: [] } : undefined;
    },
  },
};

/** `spot`: of the spot wallet; what a venue wants otherwise for its derivatives does not count there. */
export function quirksOf(exchange: string, spot = false): VenueQuirks {
  if (exchange.startsWith("binance")) return spot ? BINANCE_SPOT : BINANCE;
  const quirks = (Object.hasOwn(QUIRKS, exchange) ? QUIRKS[exchange] : undefined) ?? USUAL;
  return spot && quirks !== OKX ? USUAL : quirks;
}
