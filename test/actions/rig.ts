/** Test rig of the emergency close: a paper exchange, a scratch folder and a job, and what the venue itself says afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closePositions } from "../../src/actions/close-positions.ts";
import type { CloseIo } from "../../src/actions/close-io.ts";
import type { CcxtAccess, CloseJob, CloseReport, WorkerLine } from "../../src/core/close-job.ts";
import { startPaperExchange } from "../../src/demo/exchange/server.ts";
import type { PaperExchange, PaperOptions } from "../../src/demo/exchange/server.ts";
import { systemClock } from "../../src/platform/clock.ts";
import type { Clock } from "../../src/platform/clock.ts";

export const API_KEY = "test-key-of-the-close";
export const API_SECRET = "test-secret-of-the-close";
const API_PASSPHRASE = "test-passphrase-of-the-close";

/** What the venues are called and where they are asked: parts of the requests that faults are matched with. */
export const VENUES = {
  binance: {
    exchange: "binanceusdm",
    order: "POST /fapi/v1/order",
    positions: "GET /fapi/v3/positionRisk",
    orders: "GET /fapi/v1/openOrders",
    cancel: "DELETE /fapi/v1/",
    markets: "GET /fapi/v1/exchangeInfo",
  },
  "binance-spot": {
    exchange: "binance",
    order: "POST /api/v3/order",
    positions: "GET /api/v3/account",
    orders: "GET /api/v3/openOrders",
    cancel: "DELETE /api/v3/",
    markets: "GET /api/v3/exchangeInfo",
  },
  "binance-margin": {
    exchange: "binance",
    order: "POST /sapi/v1/margin/order",
    positions: "GET /sapi/v1/margin/account",
    orders: "GET /sapi/v1/margin/openOrders",
    cancel: "DELETE /sapi/v1/margin/",
    markets: "GET /api/v3/exchangeInfo",
  },
  okx: {
    exchange: "okx",
    order: "POST /api/v5/trade/batch-orders",
    positions: "GET /api/v5/account/positions",
    orders: "GET /api/v5/trade/orders-pending",
    cancel: "POST /api/v5/trade/cancel-",
    markets: "GET /api/v5/public/instruments",
  },
  "okx-spot": {
    exchange: "okx",
    order: "POST /api/v5/trade/batch-orders",
    positions: "GET /api/v5/account/balance",
    orders: "GET /api/v5/trade/orders-pending",
    cancel: "POST /api/v5/trade/cancel-",
    markets: "GET /api/v5/public/instruments",
  },
} as const;

export interface Rig extends AsyncDisposable {
  readonly paper: PaperExchange;
  readonly folder: string;
  readonly lines: WorkerLine[];
  readonly control: (path: "fault" | "seed" | "set", body: object) => Promise<void>;
  readonly job: (changes?: JobChanges) => CcxtJob;
  readonly close: (changes?: JobChanges, io?: Partial<CloseIo>) => Promise<CloseReport>;
}

export type JobChanges = Partial<Omit<CloseJob, "venue">> & { readonly venue?: Partial<CcxtAccess> };
/** A job of the driver ccxt. */
type CcxtJob = CloseJob & { readonly venue: CcxtAccess };

export function startRig(options: Partial<PaperOptions> = {}): Rig {
  const { exchange = "binance" } = options;
  const passphrase = exchange.startsWith("okx") ? { apiPassphrase: API_PASSPHRASE } : {};
  const paper = startPaperExchange({ apiKey: API_KEY, apiSecret: API_SECRET, ...passphrase, tickMs: 0, ...options });
  const folder = mkdtempSync(join(tmpdir(), "close-"));
  const lines: WorkerLine[] = [];
  const job = ({ venue, ...changes }: JobChanges = {}): CcxtJob => ({
    version: 1,
    mode: "close",
    incident: "abc123",
    trigger: "giveUp",
    bot: "momentum",
    account: "main",
    incidentsDir: join(folder, "incidents"),
    accountLock: join(folder, "account.lock"),
    fence: { environ: [`INVOCATION_ID=${crypto.randomUUID()}`], cgroups: [], processes: [] },
    venue: {
      exchange: VENUES[exchange].exchange,
      endpoint: paper.url,
      sandbox: false,
      symbols: [],
      // A test that is to see it end sets its own; this one must outlast a busy machine, at the speed of `quickClock` too.
      timeoutMs: 90_000,
      apiKey: API_KEY,
      apiSecret: API_SECRET,
      ...(exchange.startsWith("okx") ? { passphrase: API_PASSPHRASE } : {}),
      ...(exchange.endsWith("-spot") ? { spot: { quote: "USDT", keep: [] } } : {}),
      ...(exchange === "binance-margin" ? { margin: { mode: "cross" as const, quote: "USDT", keep: [] } } : {}),
      ...venue,
    },
    ...changes,
  });
  return {
    paper,
    folder,
    lines,
    job,
    control: async (path, body) => {
      const response = await fetch(`${paper.url}/__paper/${path}`, { method: "POST", body: JSON.stringify(body) });
      if (!response.ok) throw new Error(`cannot set up the paper exchange: ${await response.text()}`);
    },
    close: (changes, io) =>
      closePositions(job(changes), { progress: (line) => lines.push(line), clock: systemClock, ...io }),
    async [Symbol.asyncDispose]() {
      await paper.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The system clock at three times the speed, so that a quiet period of 7 s does not hold the suite up. Timeouts shrink with it. */
export const QUICK = 3;
export const quickClock: Clock = speedClock(QUICK);

export function speedClock(factor: number): Clock {
  return {
    monotonicMs: () => systemClock.monotonicMs() * factor,
    wallTime: () => systemClock.wallTime(),
    after: (delayMs, callback) => systemClock.after(delayMs / factor, callback),
  };
}

/** Positions on the first `count` synthetic symbols, long and short in turn, each with a resting order and a stop. */
export function holdings(count: number, amount = 3): { positions: object[]; orders: object[] } {
  const symbols = Array.from({ length: count }, (_, index) => `S${String(index).padStart(2, "0")}USDT`);
  return {
    positions: symbols.map((symbol, index) => ({ symbol, side: index % 2 === 0 ? "long" : "short", amount })),
    orders: symbols.flatMap((symbol, index) => [
      { symbol, side: index % 2 === 0 ? "buy" : "sell", amount: 1 },
      { symbol, side: index % 2 === 0 ? "sell" : "buy", triggerPrice: index % 2 === 0 ? 1 : 1e6, closePosition: true },
    ]),
  };
}

/** Both legs of the first `count` synthetic symbols, each symbol with a resting close of its long leg, an entry and a stop. */
export function bothLegs(count: number, amount = 3): { positions: object[]; orders: object[] } {
  const symbols = Array.from({ length: count }, (_, index) => `S${String(index).padStart(2, "0")}USDT`);
  return {
    positions: symbols.flatMap((symbol) => [
      { symbol, side: "long", amount },
      { symbol, side: "short", amount: amount + 1 },
    ]),
    orders: symbols.flatMap((symbol) => [
      { symbol, side: "sell", amount: 1, reduceOnly: true, positionSide: "LONG" },
      { symbol, side: "buy", amount: 1, positionSide: "LONG" },
      { symbol, side: "sell", triggerPrice: 1, closePosition: true, positionSide: "LONG" },
    ]),
  };
}

/** Wall times have whole milliseconds, and the clock is three times as fast. */
export const TIME_SLACK_MS = 30;

/** From the last order without answer to the end of the close, by the quick clock, however loaded the machine is. */
export function sinceUnknownMs({ startedAt, durationMs, orders }: CloseReport): number {
  const sentAt = orders.filter(({ outcome }) => outcome === "unknown").map((order) => Date.parse(order.sentAt));
  if (sentAt.length === 0) throw new Error("no order is without answer");
  return durationMs - (Math.max(...sentAt) - Date.parse(startedAt)) * QUICK;
}
