/** The bot's SDK: what a breaker costs a call beside a plain wrapper and beside its peers, and a load of orders of which a tenth fails. */
import { join } from "node:path";
import { circuitBreaker, ConsecutiveBreaker, handleAll } from "cockatiel";
import Opossum from "opossum";
import { Breaker, Budget, createExecutor, createLevels, openIntentFile, type VenueOrder } from "../src/bot/index.ts";
import type { Row } from "./measure.ts";
import type { Options, Rig } from "./rig.ts";

/** Short rounds and many: whatever else the machine does falls on both of a pair, or on few pairs. */
const CALLS = 5_000;
const ROUNDS = 201;
const QUICK_ROUNDS = 15;
/** Before those that count: the compiler is still at work on them. */
const WARM_UP_ROUNDS = 20;
const BREAKERS = 5_000;
const ORDERS = 1_000;
const QUICK_ORDERS = 30;
/** Ten orders a second. */
const ORDER_EVERY_MS = 100;
/** The project's promises: 150 ns, and 10 KiB. */
const SYNC_MS = 0.00015;
const MEMORY_MIB = 0.0097;
/** Of the made-up venue: how long a request takes, and how long a lost reply is waited for, ms. */
const VENUE_MS = 20;
const TIMEOUT_MS = 1_000;
const WINDOW_MS = 1_000;

const ORDER = { action: "open", symbol: "BTC/USDT", side: "buy", type: "market", quantity: 1 } as const;

export async function benchSdk(rig: Rig, { quick }: Options): Promise<readonly Row[]> {
  return [...(await callRows(quick)), memoryRow(quick), ...(await loadRows(rig, quick))];
}

let answers = 0;
const service = async (): Promise<number> => {
  answers += 1;
  return answers;
};
const serviceSync = (): number => {
  answers += 1;
  return answers;
};

async function callRows(quick: boolean): Promise<readonly Row[]> {
  const own = new Breaker("own");
  const open = new Breaker("open");
  open.forceOpen("measured");
  const cockatiel = circuitBreaker(handleAll, { halfOpenAfter: 1_000, breaker: new ConsecutiveBreaker(5) });
  const opossum = new Opossum(service, { timeout: false, rollingPercentilesEnabled: false });
  const plain = async (): Promise<number> => await service();
  const times: Record<"plain" | "own" | "cockatiel" | "opossum" | "clocks" | "sync" | "rejected", number[]> = {
    plain: [],
    own: [],
    cockatiel: [],
    opossum: [],
    clocks: [],
    sync: [],
    rejected: [],
  };
  const asyncDeeds = [
    ["plain", plain],
    ["own", () => own.call(service)],
    ["cockatiel", () => cockatiel.execute(service)],
    ["opossum", () => opossum.fire()],
  ] as const;
  for (let round = -WARM_UP_ROUNDS; round < (quick ? QUICK_ROUNDS : ROUNDS); round += 1) {
    // Forwards and backwards in turns, so that none always comes first.
    for (const [name, deed] of round % 2 === 0 ? asyncDeeds : asyncDeeds.toReversed())
      times[name].push(await timeOf(CALLS, deed));
    times.clocks.push(timeOfSync(CALLS, () => serviceSync() + performance.now() + performance.now()));
    times.sync.push(timeOfSync(CALLS, () => own.callSync(serviceSync)));
    times.rejected.push(timeOfSync(CALLS, () => open.tryEnter()));
  }
  for (const values of Object.values(times)) values.splice(0, WARM_UP_ROUNDS);
  opossum.shutdown();
  const beyond = times.sync.map((ms, round) => ms - (times.clocks[round] ?? 0));
  const row = { unit: "ms", values: times.own, paired: true } as const;
  return [
    {
      ...row,
      what: "call through the breaker",
      baseline: { name: "plain async wrapper", values: times.plain },
      targetRatio: 1.6,
    },
    {
      ...row,
      what: "call through the breaker",
      baseline: { name: "cockatiel 4", values: times.cockatiel },
      targetRatio: 1,
    },
    {
      ...row,
      what: "call through the breaker",
      baseline: { name: "opossum 10", values: times.opossum },
      targetRatio: 1,
    },
    { what: "callSync beyond its call and two looks at the clock", unit: "ms", values: beyond, target: SYNC_MS },
    { what: "a call that is not let through", unit: "ms", values: times.rejected },
  ];
}

/** Heap of a breaker whose window is full. */
function memoryRow(quick: boolean): Row {
  const count = quick ? 500 : BREAKERS;
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const breakers = Array.from({ length: count }, (_, n) => new Breaker(`breaker-${n}`));
  for (const breaker of breakers) for (let call = 0; call < 100; call += 1) breaker.callSync(serviceSync);
  Bun.gc(true);
  const each = (process.memoryUsage().rss - before) / breakers.length / 1_048_576;
  return { what: "memory of a breaker", unit: "MiB", values: [each], target: MEMORY_MIB };
}

/** Orders at ten a second through everything, in real time, with intents on the disk. */
async function loadRows(rig: Rig, quick: boolean): Promise<readonly Row[]> {
  const count = quick ? QUICK_ORDERS : ORDERS;
  const intents = openIntentFile(join(rig.folderFor("sdk"), "intents.ndjson"));
  const levels = createLevels({});
  const breaker = new Breaker("order");
  const venue = new LossyVenue();
  const executor = createExecutor({
    intents,
    reader: { find: (intent) => venue.find(intent.clientOrderId) },
    orderWindowMs: WINDOW_MS,
    budget: new Budget(),
    gate: levels.gate,
    propose: levels.propose,
    scope: "bench",
  });
  const took: number[] = [];
  const ends: Promise<string>[] = [];
  const startMs = performance.now();
  for (let n = 0; n < count; n += 1) {
    const sentMs = performance.now();
    const call = executor.execute(({ clientOrderId }) => venue.place(clientOrderId), "place_order", {
      kind: "order",
      order: { key: `order-${n}`, ...ORDER },
      breaker,
      timeoutMs: TIMEOUT_MS,
    });
    ends.push(
      call.then(
        () => {
          took.push(performance.now() - sentMs);
          return "filled";
        },
        () => "given up",
      ),
    );
    await Bun.sleep(Math.max(0, startMs + (n + 1) * ORDER_EVERY_MS - performance.now()));
  }
  const filled = (await Promise.all(ends)).filter((end) => end === "filled").length;
  const fills = [...venue.fills.values()];
  const wrong = fills.filter((one) => one !== 1).length + Math.abs(filled - fills.length);
  const unfinished = (await intents.unfinished()).length;
  const rows: readonly Row[] = [
    { what: `${count} orders at 10/s, a tenth fails: filled`, unit: "events", values: [filled], atLeast: count },
    { what: "orders filled twice, or not as told", unit: "events", values: [wrong], target: 0, targetOf: "worst" },
    { what: "orders of unknown fate", unit: "events", values: [unfinished], target: 0, targetOf: "worst" },
    {
      what: "an order, from the call to its end",
      unit: "ms",
      values: took,
      baseline: { name: "the venue", values: [VENUE_MS] },
    },
    {
      what: "end with another level than normal, or a breaker that is not closed",
      unit: "events",
      values: [levels.level === "normal" && breaker.state === "closed" ? 0 : 1],
      target: 0,
      targetOf: "worst",
    },
  ];
  intents.close();
  levels.close();
  return rows;
}

/** Every twentieth request is lost, and every twentieth reply. It takes a client id again, as Binance does once the order has ended. */
class LossyVenue {
  readonly fills = new Map<string, number>();
  #requests = 0;

  async place(id: string): Promise<VenueOrder> {
    this.#requests += 1;
    const turn = this.#requests % 20;
    await Bun.sleep(VENUE_MS);
    if (turn !== 7) this.fills.set(id, (this.fills.get(id) ?? 0) + 1);
    if (turn === 7 || turn === 17) throw new Error("socket hang up");
    return { id: `venue-${id}`, clientOrderId: id, status: "closed", filled: 1 };
  }

  async find(id: string): Promise<VenueOrder | undefined> {
    await Bun.sleep(VENUE_MS);
    return this.fills.has(id) ? { id: `venue-${id}`, clientOrderId: id, status: "closed", filled: 1 } : undefined;
  }
}

async function timeOf(calls: number, deed: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  for (let n = 0; n < calls; n += 1) await deed();
  return (performance.now() - startMs) / calls;
}

function timeOfSync(calls: number, deed: () => unknown): number {
  const startMs = performance.now();
  for (let n = 0; n < calls; n += 1) deed();
  return (performance.now() - startMs) / calls;
}
