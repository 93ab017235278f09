/** One paper venue: its books, clock and faults, and the way of a request through them to the venue's own dialect. */
import { Account, remember } from "./account.ts";
import { binanceDialect } from "./binance/dialect.ts";
import { binanceListing } from "./binance/listing.ts";
import { ControlError, findSpec, handleControl, type ControlHost, type PaperState, type Settings } from "./control.ts";
import { executionWindow } from "./deadline.ts";
import type { Credentials, Dialect, DialectHost, Incoming } from "./dialect.ts";
import { Countdowns } from "./countdowns.ts";
import { Faults, type Fault } from "./faults.ts";
import { Market, type SymbolSpec } from "./market.ts";
import { marginDialect } from "./margin/dialect.ts";
import { MarginWallets } from "./margin/wallets.ts";
import { fillShares, matchOrders, type Books } from "./matching.ts";
import { okxDialect } from "./okx/dialect.ts";
import { okxListing } from "./okx/listing.ts";
import { okxSpotDialect } from "./okx-spot/dialect.ts";
import { spotDialect } from "./spot/dialect.ts";
import { spotListing } from "./spot/listing.ts";
import { brokenGateway, droppedResponse, html, stalledResponse } from "./transport.ts";
import { triggerAlgoOrders } from "./triggers.ts";
import { valueOf } from "./valuation.ts";

/** The venues there are, by the exchange that they stand for. */
const PAPER_VENUES = {
  binance: { listing: binanceListing, dialect: binanceDialect },
  okx: { listing: okxListing, dialect: okxDialect },
  "okx-spot": { listing: spotListing, dialect: okxSpotDialect },
  "binance-spot": { listing: spotListing, dialect: spotDialect },
  "binance-margin": { listing: spotListing, dialect: marginDialect },
} as const satisfies Record<
  string,
  { listing: (synthetic: number) => SymbolSpec[]; dialect: (host: DialectHost, wallets: MarginWallets) => Dialect }
>;
export type PaperVenue = keyof typeof PAPER_VENUES;

export interface VenueOptions extends Omit<Credentials, "apiPassphrase"> {
  /** Default binance. */
  exchange?: PaperVenue;
  /** Asked for by OKX only; default empty. */
  apiPassphrase?: string;
  /** Of the price walk; default 1. */
  seed?: number;
  /** How many synthetic symbols with the bases S00, S01, … to list beside BTC, ETH and SOL; default 0, at most 100. */
  symbols?: number;
  /** Delay of every venue request, ms; default 0. */
  latencyMs?: number;
  /** Time between two steps of the price walk, ms; default 250, 0: prices stand still until they are set. */
  tickMs?: number;
  /** How many times faster than the clock on the wall limits, bans and the deadlines of late requests run, for clients whose clock does, too; default 1. */
  speed?: number;
  /** Gets one line per order, refusal and fault. */
  log?: (line: string) => void;
}

const DEFAULT_TICK_MS = 250;
/** Breaches that are remembered. */
const MAX_VIOLATIONS = 1_000;
/** Under this name requests to paths that do not exist are counted. */
const UNKNOWN_PATH = "unknown";

export class Venue {
  readonly #options: VenueOptions;
  readonly #books: Books;
  readonly #dialect: Dialect;
  readonly #margin = new MarginWallets();
  readonly #faults = new Faults();
  readonly #requests = new Map<string, number>();
  readonly #violations: string[] = [];
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #control: ControlHost;
  #latencyMs: number;
  #skewMs = 0;

  constructor(options: VenueOptions) {
    const { apiKey, apiSecret, apiPassphrase = "" } = options;
    const { listing, dialect } = PAPER_VENUES[options.exchange ?? "binance"];
    this.#options = options;
    const account = new Account();
    this.#books = {
      account,
      market: new Market(options.seed ?? 1, listing(options.symbols ?? 0)),
      countdowns: new Countdowns(account, {
        now: () => this.#now(),
        speed: options.speed ?? 1,
        log: (line) => this.#log(line),
      }),
    };
    this.#dialect = dialect(
      {
        books: this.#books,
        speed: options.speed ?? 1,
        credentials: { apiKey, apiSecret, apiPassphrase },
        log: (line) => this.#log(line),
        violation: (what) => remember(this.#violations, what, MAX_VIOLATIONS),
      },
      this.#margin,
    );
    this.#latencyMs = options.latencyMs ?? 0;
    this.#control = {
      books: this.#books,
      wallets: this.#margin,
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
    this.#books.countdowns.clear();
  }

  async answer(request: Request): Promise<Response> {
    const { pathname: path, search } = new URL(request.url);
    const body = await request.text();
    const { method, headers } = request;
    if (path.startsWith("/__paper/")) return handleControl(this.#control, method, path, body);
    const incoming: Incoming = { method, path, headers, query: search.slice(1), body };
    const label = `${method} ${path}`;
    this.#count(label);
    const fault = this.#faults.take(`${label}?${incoming.query}${body}`);
    if (fault !== undefined) this.#log(`fault ${fault.kind} on ${label}`);
    const waitMs = this.#latencyMs + (fault?.kind === "latency" ? fault.ms : 0);
    if (waitMs > 0) await this.#wait(waitMs);
    return this.#respond(incoming, fault);
  }

  state(): PaperState {
    const { account } = this.#books;
    // A copy: the books go on while the caller still compares.
    return structuredClone({
      positions: [...account.positions.values()].map((position) => {
        const { symbol, positionSide, amount, entryPrice } = position;
        const { mark: markPrice, notional } = valueOf(this.#books, position);
        const side = amount > 0 ? "long" : "short";
        const size = Math.abs(amount);
        return { symbol, side, positionSide, amount: size, entryPrice, markPrice, notional: Math.abs(notional) };
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
      countdowns: this.#books.countdowns.running,
      margin: this.#margin.state(),
    });
  }

  #count(label: string): void {
    const name = this.#dialect.knows(label) ? label : UNKNOWN_PATH;
    this.#requests.set(name, (this.#requests.get(name) ?? 0) + 1);
  }

  /** One request, bent by its fault. */
  #respond(incoming: Incoming, fault: Fault | undefined): Response {
    switch (fault?.kind) {
      case undefined:
      case "latency":
        return this.#dialect.execute(incoming, {}, this.#now());
      case "partial":
        return this.#dialect.execute(incoming, { fillRatio: fault.ratio }, this.#now());
      case "crossed":
        fillShares(this.#books, fault.ratio, this.#now());
        return this.#dialect.execute(incoming, {}, this.#now());
      case "rejectReduceOnly":
        return this.#dialect.execute(incoming, { rejectReduceOnly: true }, this.#now());
      case "http":
        return brokenGateway(fault.status, fault.retryAfter);
      case "garbage":
        return html(200, "<html><body>Please stand by.</body></html>");
      case "apiCode":
        return this.#dialect.refuse(fault, incoming);
      case "rateLimit":
        return this.#dialect.rateLimit(fault.retryAfterSeconds);
      case "ban":
        return this.#dialect.ban(fault.seconds, this.#now());
      case "dropBefore":
        return droppedResponse();
      case "dropAfter":
        this.#dialect.execute(incoming, {}, this.#now());
        return droppedResponse();
      case "late":
        this.#executeLater(incoming, fault.ms);
        return droppedResponse();
      case "stallBody":
        this.#dialect.execute(incoming, {}, this.#now());
        return stalledResponse();
    }
  }

  /** Executes a request whose connection has died, unless its own deadline is over by then, as the venues' engines have it. */
  #executeLater(incoming: Incoming, delayMs: number): void {
    const window = executionWindow(incoming);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const ageMs = (this.#now() - (window?.sentAtMs ?? 0)) * (this.#options.speed ?? 1);
      // A client whose clock is as fast as the limits takes the request for over by then.
      if (window !== undefined && ageMs > window.lengthMs) return this.#log(`too late: ${incoming.path}`);
      this.#dialect.execute(incoming, {}, this.#now());
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
    account.canTrade = settings.canTrade ?? account.canTrade;
    market.impact = settings.impact ?? market.impact;
    market.restingFill = settings.restingFill ?? market.restingFill;
    account.canWithdraw = settings.canWithdraw ?? account.canWithdraw;
    if (settings.transfer !== undefined) account.transfer(settings.transfer, this.#now());
    this.#margin.hourMs = settings.hourMs ?? this.#margin.hourMs;
    for (const [symbol, price] of prices) market.setPrice(symbol, price);
    this.#match();
  }

  #reset(): void {
    const { account, market } = this.#books;
    account.clear();
    account.hedge = false;
    account.canTrade = true;
    account.canWithdraw = false;
    this.#books.countdowns.clear();
    account.leverage.clear();
    market.reset();
    this.#dialect.reset();
    this.#faults.clear();
    this.#requests.clear();
    this.#violations.length = 0;
    this.#latencyMs = this.#options.latencyMs ?? 0;
    this.#skewMs = 0;
  }

  #match(): void {
    if (this.#dialect.match !== undefined) return this.#dialect.match(this.#now());
    triggerAlgoOrders(this.#books, this.#now(), this.#dialect.fire);
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

  #log(line: string): void {
    this.#options.log?.(line);
  }
}
