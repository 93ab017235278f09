/** How an order is found through ccxt, and when its absence is certain. */
import { expect, test } from "vitest";
import { ccxtOrders, type CcxtExchange } from "../../src/bot/ccxt-orders.ts";
import { orderIntent } from "./order-intent.ts";
import { named } from "./order-sim.ts";

const ours = { id: "1", clientOrderId: "sv1", status: "open" };
const other = { id: "2", clientOrderId: "x", status: "closed" };
const intent = orderIntent("sv1", 100_000);

const refuse = () => Promise.reject(named("NotSupported"));
/** A venue that fails in all that is not given. */
const venue = ({ id = "someone", ...given }: Partial<Omit<CcxtExchange, "has">>): CcxtExchange => {
  const has = Object.fromEntries(Object.keys(given).map((method) => [method, true]));
  return {
    id,
    has,
    fetchOrder: refuse,
    fetchOpenOrders: refuse,
    fetchOrders: refuse,
    fetchClosedOrders: refuse,
    ...given,
  };
};
const find = (given: Partial<Omit<CcxtExchange, "has">>) =>
  ccxtOrders(venue(given)).find(intent, new AbortController().signal);
const give =
  <T>(value: T) =>
  () =>
    Promise.resolve(value);
const fail = (name: string) => () => Promise.reject(named(name));

test.each([
  ["by its client id", { fetchOrder: give(ours) }],
  [
    "among the open ones, where the venue does not find it by id",
    { fetchOrder: fail("OrderNotFound"), fetchOpenOrders: give([other, ours]) },
  ],
  [
    "among the open ones, where the venue shows another order",
    { fetchOrder: give(other), fetchOpenOrders: give([ours]) },
  ],
  [
    "among all, where the venue takes no client ids",
    { fetchOrder: fail("ArgumentsRequired"), fetchOpenOrders: give([]), fetchOrders: give([ours]) },
  ],
  [
    "among those that have ended, where ccxt may not have asked for the id",
    {
      id: "krakenfutures",
      fetchOrder: fail("OrderNotFound"),
      fetchOpenOrders: give([]),
      fetchClosedOrders: give([ours]),
    },
  ],
  ["among those that have ended", { fetchOpenOrders: give([]), fetchClosedOrders: give([other, ours]) }],
])("ccxtOrders() finds an order %s", async (_, given) => {
  expect(await find(given)).toEqual(ours);
});

test.each([
  [
    "a venue that looks up client ids does not find it, and it is not open",
    { id: "binanceusdm", fetchOrder: fail("OrderNotFound"), fetchOpenOrders: give([other]) },
  ],
  ["no list has it", { fetchOpenOrders: give([]), fetchOrders: give([other]) }],
])("ccxtOrders() says that there is no order when %s", async (_, given) => {
  expect(await find(given)).toBeUndefined();
});

test.each([
  ["the venue does not answer", { fetchOrder: fail("NetworkError") }, "NetworkError"],
  [
    "the open ones cannot be read",
    { fetchOrder: fail("OrderNotFound"), fetchOpenOrders: fail("RequestTimeout") },
    "RequestTimeout",
  ],
  ["the venue shows no ended orders", { fetchOpenOrders: give([]) }, "does not show those that have ended"],
  [
    "not being found may mean that nobody asked for the id",
    { fetchOrder: fail("OrderNotFound"), fetchOpenOrders: give([]) },
    "not known to look up client ids",
  ],
  [
    "a list may be cut off",
    { fetchOpenOrders: give([]), fetchOrders: give(Array.from({ length: 50 }, () => other)) },
    "the list of 50 orders may be cut off",
  ],
])("ccxtOrders() says nothing when %s", async (_, given, why) => {
  await expect(find(given)).rejects.toThrow(why);
});
