/** Reads an account that ccxt knows: positions or holdings, regular and conditional orders, from every listing and page that its venue spreads them over. */
import type { Order, Position } from "ccxt";
import type { CcxtAccess } from "../../core/close-job.ts";
import { isDust } from "../../core/close-orders.ts";
import type { HeldPosition, OpenOrder } from "../../core/close-orders.ts";
import type { Reading } from "../../core/close-plan-types.ts";
import type { VenueExchange } from "./exchange.ts";
import { readHoldings } from "./holdings.ts";
import type { SpotPolicy } from "./holdings.ts";
import { heldPosition, openOrder } from "./normalise.ts";
import type { ListedOrder } from "./normalise.ts";
import { readAllPages } from "./open-orders.ts";
import type { Answer } from "./open-orders.ts";
import type { TriggerListing, VenueQuirks } from "./quirks.ts";
import type { CallKind } from "./rates.ts";

/** Makes one call within the venue's limits; a failure is classified and never thrown. */
type Call = <T>(kind: CallKind, call: () => Promise<T>) => Promise<Answer<T>>;

export class AccountReader {
  readonly #access: CcxtAccess;
  readonly #exchange: VenueExchange;
  readonly #quirks: VenueQuirks;
  readonly #call: Call;
  /** Listings that showed nothing: they are looked at again when nothing else is open any more. */
  readonly #emptyListings = new Set<TriggerListing>();
  /** Newest price of each position, for venues whose market orders need one. */
  readonly #marks = new Map<string, number>();

  constructor(access: CcxtAccess, exchange: VenueExchange, quirks: VenueQuirks, call: Call) {
    this.#access = access;
    this.#exchange = exchange;
    this.#quirks = quirks;
    this.#call = call;
  }

  /** Newest price of a position of the symbol; `undefined`: none was told. */
  markOf(symbol: string): number | undefined {
    return this.#marks.get(symbol);
  }

  /** Positions, orders and conditional orders at once. */
  async read(): Promise<Reading> {
    const { triggerListings, oneListing } = this.#quirks;
    const likely = triggerListings.filter((listing) => !this.#emptyListings.has(listing));
    const unlikely = triggerListings.filter((listing) => this.#emptyListings.has(listing));
    if (this.#listedElsewhere) {
      const held = await this.#readPositions();
      const [positions, failures] = "value" in held ? [held.value, []] : [undefined, [held.failure]];
      return { positions, orders: [], triggers: [], failures };
    }
    const [positions, listed, some] = await Promise.all([
      this.#readPositions(),
      this.#readListings(),
      this.#readTriggers(likely),
    ]);
    // Limits forbid looking everywhere each time, but nothing is called flat before every listing was seen empty.
    const triggers = looksFlat(positions, [listed, ...some])
      ? [...some, ...(await this.#readTriggers(unlikely))]
      : some;
    const all = "value" in listed ? listed.value : undefined;
    const regular = oneListing ? all?.filter(({ conditional }) => !conditional) : all;
    const waiting = oneListing ? all?.filter(({ conditional }) => conditional) : [];
    const known = new Set(regular?.map(({ id }) => id));
    const failures = [positions, listed, ...triggers].flatMap((part) => ("failure" in part ? [part.failure] : []));
    if (failures.length > 0) for (const name of this.#quirks.guessedOptions) this.#exchange.options[name] = undefined;
    const seen = [...triggers.map((part) => ("value" in part ? part.value : undefined)), waiting];
    return {
      positions: "value" in positions ? positions.value : undefined,
      orders: regular,
      // A venue that ignores the parameter answers with the regular orders once more.
      triggers: seen.includes(undefined)
        ? undefined
        : distinct(seen.flatMap((part) => part ?? []).filter(({ id }) => !known.has(id))),
      failures,
    };
  }

  /** The view of the derivatives beside this one shows the wallet's orders, too: asking twice would only cost the venue's limits. */
  get #listedElsewhere(): boolean {
    const { spot, symbols } = this.#access;
    return spot?.derivatives === true && symbols.length === 0 && this.#quirks.listsBothMarkets;
  }

  async #readPositions(): Promise<Answer<HeldPosition[]>> {
    const { spot } = this.#access;
    if (spot !== undefined) return this.#readHoldings(spot);
    const parts = await Promise.all(
      this.#quirks.positionListings.map(async (params) => {
        const answer = await this.#call("positions", async () => {
          const positions: Position[] = await this.#exchange.fetchPositions(undefined, params);
          return positions.flatMap((position) => heldPosition(this.#exchange, position) ?? []).filter(this.#inScope);
        });
        return this.#orNoAccount(answer);
      }),
    );
    const answer = merged(parts);
    for (const { symbol, markPrice } of "value" in answer ? answer.value : [])
      if (markPrice !== undefined) this.#marks.set(symbol, markPrice);
    return answer;
  }

  async #readHoldings(spot: SpotPolicy): Promise<Answer<HeldPosition[]>> {
    return this.#call("positions", async () => {
      const holdings = await readHoldings(this.#exchange, spot, async (call) => {
        const answer = await this.#call("prices", call);
        return "value" in answer ? answer.value : undefined;
      });
      return holdings.filter(this.#inScope);
    });
  }

  async #readListings(): Promise<Answer<ListedOrder[]>> {
    return merged(await Promise.all(this.#quirks.orderListings.map((params) => this.#readOrders("orders", params))));
  }

  async #readOrders(kind: "orders" | "triggers", params: Record<string, unknown>): Promise<Answer<ListedOrder[]>> {
    const answer = await readAllPages(this.#quirks.orderPage, (limit, after) =>
      this.#call(kind, async () => {
        const paged = after === undefined ? params : { ...params, after };
        const orders: Order[] = await this.#exchange.fetchOpenOrders(undefined, undefined, limit, paged);
        return orders.map(openOrder);
      }),
    );
    const found = this.#orNoAccount(answer);
    return "value" in found ? { value: found.value.filter(this.#inScope) } : found;
  }

  /** An account that the venue never made for this currency holds nothing. */
  #orNoAccount<T>(answer: Answer<T[]>): Answer<T[]> {
    return "failure" in answer && this.#quirks.noAccount?.test(answer.text) === true ? { value: [] } : answer;
  }

  async #readTriggers(listings: readonly TriggerListing[]): Promise<Answer<OpenOrder[]>[]> {
    return Promise.all(
      listings.map(async (listing) => {
        const answer = await this.#readOrders("triggers", listing.params);
        const orders = "value" in answer ? answer.value : noSuchOrders(answer, listing);
        if (orders?.length === 0) this.#emptyListings.add(listing);
        else this.#emptyListings.delete(listing);
        return orders === undefined ? answer : { value: orders };
      }),
    );
  }

  readonly #inScope = ({ symbol }: { readonly symbol: string }): boolean =>
    this.#access.symbols.length === 0 || this.#access.symbols.includes(symbol);
}

/** All parts together; one that failed makes the whole unreadable, for a part would read as "the rest is closed". */
function merged<T>(parts: readonly Answer<T[]>[]): Answer<T[]> {
  const failed = parts.find((part) => "failure" in part);
  return failed ?? { value: parts.flatMap((part) => ("value" in part ? part.value : [])) };
}

/** One that does not know the types of conditional orders shows all of them in the listing of each. */
function distinct(orders: readonly OpenOrder[]): OpenOrder[] {
  return [...new Map(orders.map((order) => [`${order.symbol} ${order.id}`, order])).values()];
}

/** Nothing that was read is open, but for dust, and nothing was unreadable. */
function looksFlat(positions: Answer<HeldPosition[]>, lists: readonly Answer<OpenOrder[]>[]): boolean {
  return (
    "value" in positions &&
    positions.value.every(isDust) &&
    lists.every((part) => "value" in part && part.value.length === 0)
  );
}

/** A venue without conditional orders has none open, nor has one that does not know the type; any other failure leaves the question open. */
function noSuchOrders(
  { failure: { kind }, text }: Extract<Answer<never>, { failure: unknown }>,
  { unknownType }: TriggerListing,
): OpenOrder[] | undefined {
  return kind === "unsupported" || (kind === "rejected" && unknownType?.test(text) === true) ? [] : undefined;
}
