/** The OKX paper exchange in this process for one test, with unmodified ccxt and raw signed calls as its clients. */
import { createHmac } from "node:crypto";
import { onTestFinished } from "vitest";
import Okx from "../../node_modules/ccxt/js/src/okx.js";
import { startPaperExchange, type PaperExchange, type PaperOptions } from "../../src/demo/exchange/server.ts";
import { CREDENTIALS, readReply, type RawReply } from "./paper.ts";

export const OKX_CREDENTIALS = { ...CREDENTIALS, apiPassphrase: "paper-passphrase" };

interface RawCall {
  /** Query of a GET; body of a POST. */
  params?: Record<string, string> | readonly Record<string, unknown>[];
  headers?: Record<string, string>;
  /** Sent instead of what was signed. */
  tampered?: string;
}

interface OkxPaper {
  exchange: PaperExchange;
  /** ccxt as users have it: only its fetch is pointed at the paper exchange. */
  venue: Okx;
  control: (path: string, body: unknown) => Promise<RawReply>;
  call: (method: "GET" | "POST", path: string, request?: RawCall) => Promise<RawReply>;
}

/** Prices stand still unless the test sets them. A concurrent test gives its own `atEnd`. */
export function startOkxPaper(options: Partial<PaperOptions> = {}, atEnd = onTestFinished): OkxPaper {
  const exchange = startPaperExchange({ ...OKX_CREDENTIALS, exchange: "okx", tickMs: 0, ...options });
  atEnd(() => exchange.stop());
  const venue = new Okx({
    apiKey: OKX_CREDENTIALS.apiKey,
    secret: OKX_CREDENTIALS.apiSecret,
    password: OKX_CREDENTIALS.apiPassphrase,
    enableRateLimit: false,
    timeout: 5_000,
  });
  venue.fetchImplementation = (address: string, init: RequestInit) =>
    fetch(address.replace(/^https:\/\/www\.okx\.com/, exchange.url), init);
  return {
    exchange,
    venue,
    control: (path, body) =>
      readReply(fetch(`${exchange.url}/__paper/${path}`, { method: "POST", body: JSON.stringify(body) })),
    call: (method, path, { params = {}, headers = {}, tampered } = {}) => {
      const query = method === "GET" && !Array.isArray(params) ? new URLSearchParams(Object(params)).toString() : "";
      const target = query === "" ? path : `${path}?${query}`;
      const body = method === "POST" ? JSON.stringify(params) : "";
      const timestamp = new Date().toISOString();
      const sign = createHmac("sha256", OKX_CREDENTIALS.apiSecret)
        .update(`${timestamp}${method}${target}${body}`)
        .digest("base64");
      const signed = {
        "OK-ACCESS-KEY": OKX_CREDENTIALS.apiKey,
        "OK-ACCESS-PASSPHRASE": OKX_CREDENTIALS.apiPassphrase,
        "OK-ACCESS-TIMESTAMP": timestamp,
        "OK-ACCESS-SIGN": sign,
      };
      const sent = tampered ?? body;
      const init = { method, headers: { ...signed, ...headers }, ...(sent === "" ? {} : { body: sent }) };
      return readReply(fetch(`${exchange.url}${target}`, init));
    },
  };
}
