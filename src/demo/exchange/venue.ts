/** One paper venue: its books, clock, limits and faults, and the way of a request through them. */
import { Account, remember } from "./account.ts";
import { triggerAlgoOrders } from "./algo.ts";
import { ControlError, findSpec, handleControl, type ControlHost, type PaperState, type Settings } from "./control.ts";
import { VenueError } from "./errors.ts";
import { Faults, type Fault } from "./faults.ts";
import { Limits } from "./limits.ts";
import { Market } from "./market.ts";
import { matchOrders, type Bend, type Books } from "./orders.ts";
import { routes } from "./routes.ts";
import { checkSigned, parseParams, type Credentials, type Params } from "./signing.ts";
import { brokenGateway, droppedResponse, html, rateLimited, refusal, stalledResponse } from "./transport.ts";

export interface VenueOptions extends Credentials {
  /** Of the price walk; default 1. */
  seed?: number;
  /** How many synthetic symbols S00USDT, S01USDT, … to list beside BTCUSDT, ETHUSDT and SOLUSDT; default 0, at most 100. */
  symbols?: number;
  /** Delay of every venue request, ms; default 0. */
  latencyMs?: number;
  /** Time between two steps of the price walk, ms; default 250, 0: prices stand still until they are set. */
  tickMs?: number;
  /** Gets one line per order, refusal and fault. */
  log?: (line: string) => void;
}

interface Incoming {
  /** "METHOD /path". */
  label: string;
  key: string | null;
  query: string;
  body: string;
  params: Params;
}

const DEFAULT_TICK_MS = 250;
/** Breaches that are remembered. */
const MAX_VIOLATIONS = 1_000;
/** Under this name requests to paths that do not exist are counted. */
const UNKNOWN_PATH = "unknown";
/** Codes of refusals that a well-behaved client never causes: limits, key, signature, reused client id. */
const VIOLATION_CODES: ReadonlySet<number> = new Set([-1003, -1015, -1022, -2014, -2015, -4015, -4116]);

export class Venue {
  readonly #options: VenueOptions;
  readonly #books: Books;
  readonly #limits = new Limits();
  readonly #faults = new Faults();
  readonly #requests = new Map<string, number>();
  readonly #violations: string[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #control: ControlHost;
  #latencyMs: number;
  #skewMs = 0;

  constructor(options: VenueOptions) {
    this.#options = options;
    this.#books = { account: new Account(), market: new Market(options.seed ?? 1, options.symbols ?? 0) };
    this.#latencyMs = options.latencyMs ?? 0;
    this.#control = {
      books: this.#books,
      now: () => this.#now(),
      addFault: (fault) => this.#faults.add(fault),
      apply: (settings) => this.#apply(settings),
      reset: () => this.#reset(),
      state: () => this.state(),
    };
  }

  startTicking(): void {
    const tickMs = this.#options.tickMs ?? DEFAULT_TICK_MS;
    if (tickMs === 0) return;
    this.#timers.add(
      setInterval(() => {
        this.#books.market.step();
        this.#match();
      }, tickMs),
    );
  }

  stopTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const body = await request.text();
    if (url.pathname.startsWith("/__paper/")) return handleControl(this.#control, request.method, url.pathname, body);
    const query = url.search.slice(1);
    const incoming: Incoming = {
      label: `${request.method} ${url.pathname}`,
      key: request.headers.get("X-MBX-APIKEY"),
      query,
      body,
      params: parseParams(query, body),
    };
    this.#count(incoming.label);
    const fault = this.#faults.take(`${incoming.label}?${query}${body}`);
    if (fault !== undefined) this.#log(`fault ${fault.kind} on ${incoming.label}`);
    const waitMs = this.#latencyMs + (fault?.kind === "latency" ? fault.ms : 0);
    if (waitMs > 0) await this.#wait(waitMs);
    return this.#respond(incoming, fault);
  }

  state(): PaperState {
    const { account, market } = this.#books;
    // A copy: the books go on while the caller still compares.
    return structuredClone({
      positions: [...account.positions.values()].map(({ symbol, positionSide, amount, entryPrice }) => {
        const markPrice = market.price(symbol);
        const size = Math.abs(amount);
        const side = amount > 0 ? "long" : "short";
        return { symbol, side, positionSide, amount: size, entryPrice, markPrice, notional: size * markPrice };
      }),
      orders: [...account.openOrders.values()],
      algoOrders: [...account.openAlgoOrders.values()],
      fills: [...account.fills],
      flat: account.flat,
      wallet: account.wallet,
      hedge: account.hedge,
      requests: Object.fromEntries(this.#requests),
      violations: [...this.#violations],
      flips: [...account.flips],
      faults: this.#faults.list(),
    });
  }

  #count(label: string): void {
    const name = routes.has(label) ? label : UNKNOWN_PATH;
    this.#requests.set(name, (this.#requests.get(name) ?? 0) + 1);
  }

  /** One request, bent by its fault. */
  #respond(incoming: Incoming, fault: Fault | undefined): Response {
    switch (fault?.kind) {
      case undefined:
      case "latency":
        return this.#execute(incoming, {});
      case "partial":
        return this.#execute(incoming, { fillRatio: fault.ratio });
      case "rejectReduceOnly":
        return this.#execute(incoming, { rejectReduceOnly: true });
      case "http":
        return brokenGateway(fault.status, fault.retryAfter);
      case "garbage":
        return html(200, "<html><body>Please stand by.</body></html>");
      case "apiCode":
        return refusal(new VenueError(fault.code, fault.msg, fault.status), this.#limits.headers());
      case "rateLimit":
        return refusal(rateLimited(fault.retryAfterSeconds), this.#limits.headers());
      case "ban":
        return refusal(this.#limits.ban(fault.seconds, this.#now()), this.#limits.headers());
      case "dropBefore":
        return droppedResponse();
      case "dropAfter":
        this.#execute(incoming, {});
        return droppedResponse();
      case "late":
        this.#executeLater(incoming, fault.ms);
        return droppedResponse();
      case "stallBody":
        this.#execute(incoming, {});
        return stalledResponse();
    }
  }

  #execute(incoming: Incoming, bend: Bend): Response {
    try {
      const reply = this.#handle(incoming, bend);
      return Response.json(reply, { headers: this.#limits.headers() });
    } catch (error) {
      if (!(error instanceof VenueError)) throw error;
      this.#log(`refused ${incoming.label}: ${error.code} ${error.message}`);
      if (VIOLATION_CODES.has(error.code)) {
        remember(this.#violations, `${incoming.label}: ${error.code} ${error.message}`, MAX_VIOLATIONS);
      }
      return refusal(error, this.#limits.headers());
    }
  }

  #handle(incoming: Incoming, bend: Bend): unknown {
    const now = this.#now();
    const route = routes.get(incoming.label);
    if (route === undefined) throw new VenueError(-5000, `Path ${incoming.label} is invalid`, 404);
    const banned = this.#limits.banned(now);
    if (banned !== undefined) throw banned;
    this.#limits.spend(route.weight(incoming.params), route.order === true ? 1 : 0, now);
    if (route.signed === true) checkSigned(this.#options, incoming, now);
    const reply = route.handle({ books: this.#books, params: incoming.params, now, bend });
    if (route.order === true) this.#logOrder(incoming);
    return reply;
  }

  /** Executes a request whose connection has died, unless its recvWindow is over by then, as the venue's engine has it. */
  #executeLater(incoming: Incoming, delayMs: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#execute(incoming, {});
    }, delayMs);
    this.#timers.add(timer);
  }

  #apply(settings: Settings): void {
    const { account, market } = this.#books;
    const prices = Object.entries(settings.prices ?? {}).map(
      ([name, price]) => [findSpec(this.#books, name).symbol, price] as const,
    );
    if (settings.hedge !== undefined && settings.hedge !== account.hedge && !account.flat) {
      throw new ControlError("cannot change hedge mode: the account is not flat");
    }
    this.#latencyMs = settings.latencyMs ?? this.#latencyMs;
    this.#skewMs = settings.skewMs ?? this.#skewMs;
    account.hedge = settings.hedge ?? account.hedge;
    for (const [symbol, price] of prices) market.setPrice(symbol, price);
    this.#match();
  }

  #reset(): void {
    const { account, market } = this.#books;
    account.clear();
    account.hedge = false;
    account.leverage.clear();
    market.reset();
    this.#limits.reset();
    this.#faults.clear();
    this.#requests.clear();
    this.#violations.length = 0;
    this.#latencyMs = this.#options.latencyMs ?? 0;
    this.#skewMs = 0;
  }

  #match(): void {
    triggerAlgoOrders(this.#books, this.#now());
    matchOrders(this.#books, this.#now());
  }

  /** The venue's clock: wall time plus the skew that was set. */
  #now(): number {
    return Date.now() + this.#skewMs;
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, delayMs);
      this.#timers.add(timer);
    });
  }

  #logOrder({ params }: Incoming): void {
    const part = (name: string): string => params.get(name) ?? "";
    const id = params.get("newClientOrderId") ?? part("clientAlgoId");
    const reduce = params.get("reduceOnly") === "true" ? " reduce-only" : "";
    this.#log(`${part("side")} ${part("quantity")} ${part("symbol")} ${part("type")}${reduce} ${id}`);
  }

  #log(line: string): void {
    this.#options.log?.(line);
  }
}
