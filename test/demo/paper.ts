/** A paper exchange in this process for one test, with unmodified ccxt and raw signed calls as its clients. */
import { createHmac } from "node:crypto";
import { onTestFinished } from "vitest";
import Binanceusdm from "../../node_modules/ccxt/js/src/binanceusdm.js";
import { startPaperExchange, type PaperExchange, type PaperOptions } from "../../src/demo/exchange/server.ts";
import { eventually } from "../platform/until.ts";

const API_KEY = "paper-key";
const API_SECRET = "paper-secret";
export const CREDENTIALS = { apiKey: API_KEY, apiSecret: API_SECRET };

export interface RawReply {
  status: number;
  headers: Headers;
  json: unknown;
}

export interface Paper {
  exchange: PaperExchange;
  /** ccxt as users have it: only its fetch is pointed at the paper exchange. */
  venue: Binanceusdm;
  control: (path: string, body?: unknown) => Promise<RawReply>;
  /** A signed call without ccxt between; `tamper` changes the parameters after signing. */
  call: (
    method: string,
    path: string,
    params?: Record<string, string>,
    tamper?: (query: string) => string,
  ) => Promise<RawReply>;
}

/** Prices stand still unless the test sets them. A concurrent test gives its own `atEnd`. */
export function startPaper(options: Partial<PaperOptions> = {}, atEnd = onTestFinished): Paper {
  const exchange = startPaperExchange({ ...CREDENTIALS, tickMs: 0, ...options });
  atEnd(() => exchange.stop());
  return {
    exchange,
    venue: ccxtFor(exchange.url),
    control: (path, body) => {
      const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
      return readReply(fetch(`${exchange.url}/__paper/${path}`, init));
    },
    call: (method, path, params = {}, tamper = (query) => query) => {
      const query = new URLSearchParams({ timestamp: String(Date.now()), ...params }).toString();
      const signature = createHmac("sha256", API_SECRET).update(query).digest("hex");
      const signed = `${tamper(query)}&signature=${signature}`;
      const headers = { "X-MBX-APIKEY": API_KEY };
      return readReply(fetch(`${exchange.url}${path}?${signed}`, { method, headers }));
    },
  };
}

export function ccxtFor(url: string, secret = API_SECRET): Binanceusdm {
  const venue = new Binanceusdm({
    apiKey: API_KEY,
    secret,
    enableRateLimit: false,
    timeout: 5_000,
    options: { fetchOpenOrders: { warnWithoutSymbol: false } },
  });
  venue.fetchImplementation = (address: string, init: RequestInit) =>
    fetch(address.replace(/^https:\/\/[a-z]+\.binance\.com/, url), init);
  return venue;
}

export async function readReply(pending: Promise<Response>): Promise<RawReply> {
  const response = await pending;
  const text = await response.text();
  let json: unknown = text;
  try {
    json = JSON.parse(text);
  } catch {
    // Not JSON: the text itself.
  }
  return { status: response.status, headers: response.headers, json };
}

/** What a promise is rejected with; fails when it is not. */
export async function rejection(pending: Promise<unknown>): Promise<Error> {
  try {
    await pending;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error("expected a rejection");
}

/** Waits until `holds` does; fails after `deadlineMs`. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, deadlineMs = 30_000): Promise<void> {
  await eventually(what, async () => holds(), deadlineMs);
}
