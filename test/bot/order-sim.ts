/** A venue, a network that loses and delays, and a clock, all made up: what `execute` must send each order through exactly once. */
import type { IntentOutcome, KnownIntent, OrderIntent, VenueOrder } from "../../src/core/order-intent.ts";
import { isUnfinished } from "../../src/core/order-intent.ts";
import type { Machine } from "../../src/bot/machine.ts";
import type { IntentLog } from "../../src/bot/ports.ts";
import type { OrderReader } from "../../src/bot/order-fate.ts";

/** Virtual time. What waits for an event that has not come is woken in the order of time. */
export class World {
  ms = 0;
  #events: { readonly atMs: number; readonly n: number; run(): void; off: boolean }[] = [];
  #n = 0;
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = mulberry(seed);
  }

  random(): number {
    return this.#random();
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  after(ms: number, run: () => void): () => void {
    const event = { atMs: this.ms + ms, n: (this.#n += 1), run, off: false };
    this.#events.push(event);
    return () => (event.off = true);
  }

  wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.after(ms, resolve);
    return promise;
  }

  /** Lets time pass until `until` is settled or nothing is left to happen. */
  async play(until: Promise<unknown>): Promise<void> {
    let done = false;
    const end = (): void => {
      done = true;
    };
    until.then(end, end);
    for (;;) {
      for (let turn = 0; turn < 40; turn += 1) await Promise.resolve();
      if (done) return;
      const [next] = this.#events.filter(({ off }) => !off).toSorted((a, b) => a.atMs - b.atMs || a.n - b.n);
      if (next === undefined) return;
      next.off = true;
      this.#events = this.#events.filter(({ off }) => !off);
      this.ms = Math.max(this.ms, next.atMs);
      next.run();
    }
  }

  machine(): Machine {
    return {
      now: () => this.ms,
      wallNow: () => 1.7e12 + this.ms,
      random: () => this.random(),
      after: (ms, fn) => this.after(ms, fn),
    };
  }
}

export interface Faults {
  readonly loseRequest: number;
  readonly loseReply: number;
  readonly double: number;
  readonly refuse: number;
  readonly throttle: number;
  readonly readFails: number;
  /** Longest time that the client's library holds a request back, whatever its caller waits for, ms. */
  readonly holdMs: number;
  /** Longest way of a request to the venue, ms. */
  readonly delayMs: number;
  /** `ever`: a client id is never taken twice. `open`: it is free again once its order has ended (Binance); then requests that are too old are refused. */
  readonly ids: "ever" | "open";
  readonly windowMs: number;
}

export class ModelVenue {
  /** Executions by client id. */
  readonly fills = new Map<string, number>();
  requests = 0;
  readonly #world: World;
  readonly #faults: Faults;

  constructor(world: World, faults: Faults) {
    this.#world = world;
    this.#faults = faults;
  }

  /** Sends an order over the network. */
  async place(id: string, alive: () => Promise<void>): Promise<VenueOrder> {
    const { loseRequest, loseReply, double, delayMs, refuse, throttle, holdMs } = this.#faults;
    const world = this.#world;
    // ccxt holds requests back for its rate limit, and knows no abort.
    await world.wait(world.random() * holdMs);
    await alive();
    const sentMs = world.ms;
    this.requests += 1;
    const copies = world.chance(loseRequest) ? 0 : this.#faults.ids === "ever" && world.chance(double) ? 2 : 1;
    // The copies of one request get one answer: what the venue thinks of the order does not change on the way.
    const refusal = world.chance(throttle)
      ? "RateLimitExceeded"
      : world.chance(refuse)
        ? "InsufficientFunds"
        : undefined;
    const arrivals = Array.from({ length: copies }, async () => {
      await world.wait(world.random() * delayMs);
      return this.#take(id, sentMs, refusal);
    });
    const [first] = arrivals;
    if (first === undefined) return this.#silence();
    // The connection breaks at any time, also while the request is still on its way.
    if (world.chance(loseReply)) return this.#silence();
    const answer = await first;
    await world.wait(world.random() * 200);
    if (typeof answer === "string") throw named(answer);
    return answer;
  }

  reader(): OrderReader {
    return {
      find: async (intent) => {
        const world = this.#world;
        await world.wait(world.random() * 300);
        if (world.chance(this.#faults.readFails)) throw named("NetworkError");
        const filled = this.fills.get(intent.clientOrderId) ?? 0;
        return filled === 0 ? undefined : orderOf(intent.clientOrderId);
      },
    };
  }

  #take(id: string, sentMs: number, refusal: string | undefined): VenueOrder | string {
    const { ids, windowMs } = this.#faults;
    if (ids === "open" && this.#world.ms - sentMs > windowMs) return "InvalidNonce";
    if (refusal !== undefined) return refusal;
    const before = this.fills.get(id) ?? 0;
    if (ids === "ever" && before > 0) return "DuplicateOrderId";
    this.fills.set(id, before + 1);
    return orderOf(id);
  }

  /** The client waits, and then knows nothing, or is told that the connection was lost. */
  async #silence(): Promise<never> {
    await this.#world.wait(this.#world.random() * 8_000);
    throw named("RequestTimeout");
  }
}

/** An intent log whose disk outlives the bot. `alive` says whether the bot that writes still lives. */
export function memoryLog(disk: Map<string, KnownIntent>, alive: () => Promise<void>): IntentLog {
  return {
    async begin(intent: OrderIntent) {
      await alive();
      const known = disk.get(intent.clientOrderId);
      if (known === undefined) disk.set(intent.clientOrderId, { intent, outcome: null });
      await alive();
      return known;
    },
    async find(id: string) {
      await alive();
      return disk.get(id);
    },
    async settle(id: string, outcome: IntentOutcome) {
      await alive();
      const known = disk.get(id);
      if (known !== undefined) disk.set(id, { intent: known.intent, outcome });
      await alive();
    },
    async unfinished() {
      await alive();
      return [...disk.values()].filter(({ outcome }) => isUnfinished(outcome)).map(({ intent }) => intent);
    },
  };
}

const CHAINS: Readonly<Record<string, readonly string[]>> = {
  NetworkError: ["BaseError", "OperationFailed", "NetworkError"],
  RequestTimeout: ["BaseError", "OperationFailed", "NetworkError", "RequestTimeout"],
  InvalidNonce: ["BaseError", "OperationFailed", "NetworkError", "InvalidNonce"],
  RateLimitExceeded: ["BaseError", "OperationFailed", "NetworkError", "RateLimitExceeded"],
  InsufficientFunds: ["BaseError", "ExchangeError", "InsufficientFunds"],
  DuplicateOrderId: ["BaseError", "ExchangeError", "InvalidOrder", "DuplicateOrderId"],
  OrderNotFound: ["BaseError", "ExchangeError", "InvalidOrder", "OrderNotFound"],
  NotSupported: ["BaseError", "ExchangeError", "NotSupported"],
};

/** An error of ccxt, by the names of its classes. */
export function named(name: string, message = name): Error {
  let parent: new (message: string) => Error = Error;
  for (const link of CHAINS[name] ?? ["BaseError"]) {
    const above = parent;
    parent = { [link]: class extends above {} }[link] ?? above;
  }
  const error = new parent(message);
  error.name = name;
  return error;
}

function orderOf(id: string): VenueOrder {
  return { id: `venue-${id}`, clientOrderId: id, status: "closed", filled: 1, average: 100 };
}

function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
