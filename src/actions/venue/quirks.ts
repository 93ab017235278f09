/** What a venue wants otherwise than ccxt's unified interface says; OKX's numbers are those of its v5 reference. */

/** One listing of conditional orders. */
export interface TriggerListing {
  /** ccxt's parameters that ask for it. */
  readonly params: Readonly<Record<string, unknown>>;
  /** A refusal in these words means that the venue does not know the type, hence has none; `undefined`: every venue of the kind has it. */
  readonly unknownType: RegExp | undefined;
}

export interface VenueQuirks {
  /** Rows of a page of open orders, older pages asked for by `after`; `undefined`: one answer has them all. */
  readonly orderPage: number | undefined;
  /** All listings that together show every conditional order. */
  readonly triggerListings: readonly TriggerListing[];
  /** Ids in one bulk cancel of regular and of conditional orders. */
  readonly cancelBatch: number;
  readonly triggerCancelBatch: number;
  /** Whether an order must name the margin mode of its position. */
  readonly namesMarginMode: boolean;
  /** Which part of an answer must be a list: without it ccxt would read that there is nothing; `undefined`: not known. */
  readonly listOf: (method: string, path: string) => "answer" | "data" | undefined;
  /** Paths of new orders that take a deadline in a header; `undefined`: ccxt's recvWindow sets it. */
  readonly deadline: { readonly header: string; readonly paths: readonly string[] } | undefined;
}

const USUAL: VenueQuirks = {
  orderPage: undefined,
  triggerListings: [{ params: { trigger: true }, unknownType: undefined }],
  // The smallest limit among the venues with a bulk cancel.
  cancelBatch: 20,
  triggerCancelBatch: 20,
  namesMarginMode: false,
  listOf: () => undefined,
  deadline: undefined,
};

/** Answers of Binance that are bare lists, on each of its futures interfaces. */
const BINANCE_LISTS = /\/(positionRisk|openOrders|openAlgoOrders)$/;
const BINANCE: VenueQuirks = {
  ...USUAL,
  listOf: (method, path) => (method === "GET" && BINANCE_LISTS.test(path) ? "answer" : undefined),
};

/** Each listing shows one type, except for the pair of one-way and two-way stops; ccxt asks for `trigger` alone unless told otherwise. */
const OKX_TRIGGERS = ["conditional,oco", "trigger", "move_order_stop"];
/** Types that not every OKX (regional sites, account modes) has. */
const OKX_OPTIONAL_TRIGGERS = ["chase", "iceberg", "twap"];
/** Codes of parameters and account modes; any other refusal (busy, frozen, restricted) leaves the question open, for such orders open positions. */
const OKX_UNKNOWN_TYPE = /"code":"(51\d{3}|50014|50016)"/;

const OKX: VenueQuirks = {
  orderPage: 100,
  triggerListings: [
    ...OKX_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, unknownType: undefined })),
    ...OKX_OPTIONAL_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, unknownType: OKX_UNKNOWN_TYPE })),
  ],
  cancelBatch: 20,
  triggerCancelBatch: 10,
  namesMarginMode: true,
  // Every answer of the interface, also to an order and a cancel.
  listOf: () => "data",
  // A signed request is good for 30 s; this header is what makes an order whose reply was lost die sooner.
  deadline: { header: "expTime", paths: ["/api/v5/trade/order", "/api/v5/trade/batch-orders"] },
};

export function quirksOf(exchange: string): VenueQuirks {
  if (exchange === "okx" || exchange === "okxus" || exchange === "myokx") return OKX;
  if (exchange.startsWith("binance")) return BINANCE;
  return exchange === "bitget" ? { ...USUAL, namesMarginMode: true } : USUAL;
}
