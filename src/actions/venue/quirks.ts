/** What a venue wants otherwise than ccxt's unified interface says; OKX's numbers are those of its v5 reference. */

/** One listing of conditional orders. */
export interface TriggerListing {
  /** ccxt's parameters that ask for it. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Where the venue does not know the type, a refusal of the listing means that there are none. */
  readonly optional: boolean;
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
  /** Paths of new orders that take a deadline in a header; `undefined`: ccxt's recvWindow sets it. */
  readonly deadline: { readonly header: string; readonly paths: readonly string[] } | undefined;
}

const USUAL: VenueQuirks = {
  orderPage: undefined,
  triggerListings: [{ params: { trigger: true }, optional: false }],
  // The smallest limit among the venues with a bulk cancel.
  cancelBatch: 20,
  triggerCancelBatch: 20,
  namesMarginMode: false,
  deadline: undefined,
};

/** Each listing shows one type, except for the pair of one-way and two-way stops; ccxt asks for `trigger` alone unless told otherwise. */
const OKX_TRIGGERS = ["conditional,oco", "trigger", "move_order_stop"];
/** Types that not every OKX (regional sites, account modes) has. */
const OKX_OPTIONAL_TRIGGERS = ["chase", "iceberg", "twap"];

const OKX: VenueQuirks = {
  orderPage: 100,
  triggerListings: [
    ...OKX_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, optional: false })),
    ...OKX_OPTIONAL_TRIGGERS.map((ordType) => ({ params: { trigger: true, ordType }, optional: true })),
  ],
  cancelBatch: 20,
  triggerCancelBatch: 10,
  namesMarginMode: true,
  // A signed request is good for 30 s; this header is what makes an order whose reply was lost die sooner.
  deadline: { header: "expTime", paths: ["/api/v5/trade/order", "/api/v5/trade/batch-orders"] },
};

export function quirksOf(exchange: string): VenueQuirks {
  if (exchange === "okx" || exchange === "okxus" || exchange === "myokx") return OKX;
  return exchange === "bitget" ? { ...USUAL, namesMarginMode: true } : USUAL;
}
