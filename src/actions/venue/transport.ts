/**
 * The one way to a venue: the `fetchImplementation` that every ccxt exchange gets.
 *
 * ccxt's own timeout ends with the headers, so a stalled body would hang the close for ever: here one deadline covers both.
 * The endpoint is replaced here and not in `urls.api`, since binance looks its error classes up by the original address.
 */
import { unreachableReason } from "../../core/venue-reach.ts";
import type { Clock } from "../../platform/clock.ts";
import type { VenueCall } from "../worker-log.ts";

export interface TransportOptions {
  readonly clock: Clock;
  /** Scheme, host and path prefix that replace the venue's own; `undefined` leaves them. */
  readonly endpoint: string | undefined;
  /** Ends every call: the close is over. */
  readonly signal: AbortSignal;
  /** The venue answered "too many requests" and wants this pause, ms. */
  readonly onThrottled: (retryAfterMs: number) => void;
  /** Default: 3 s to the first byte of an answer, 6 s for the whole call. */
  readonly timeouts?: { readonly headersMs: number; readonly callMs: number };
  /** Default: 64 MiB. */
  readonly maxBodyBytes?: number;
  /** Told of each request when it has ended. */
  readonly onCall?: ((call: VenueCall) => void) | undefined;
}

export interface Transport {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Requests sent. */
  readonly calls: () => number;
  /** Our clock minus the venue's by the last `Date` header, ms, whole seconds; `undefined` before the first. */
  readonly skewMs: () => number | undefined;
  /** Where the last request went, as https://HOST; `undefined` before the first. */
  readonly origin: () => string | undefined;
}

/** No connection came about. Neither a TypeError nor with a `code`, so that ccxt passes it on as it is instead of making its NetworkError of it. */
export class UnreachableError extends Error {
  /** The part in brackets, without the address. */
  readonly why: string;

  constructor(origin: string, why: string, cause: unknown) {
    super(`cannot reach ${origin} (${why})`, { cause });
    this.why = why;
  }
}

/** A venue that has not begun to answer by then is treated as silent; orders are acknowledged within 1 s even in a crash. */
const HEADERS_TIMEOUT_MS = 3_000;
/** Whole call with its body. */
const CALL_TIMEOUT_MS = 6_000;
/** The biggest answer is the list of markets: some MB; more is not the venue. */
const MAX_BODY_BYTES = 64 * 1_048_576;
const DEFAULT_RETRY_AFTER_MS = 1_000;
/** Statuses of a limit: 429 too many requests, 418 Binance's ban of an address. */
const THROTTLED = new Set([418, 429]);
/** Statuses whose Response must not have a body (fetch standard, null body status). */
const NULL_BODY = new Set([101, 204, 205, 304]);

export function createTransport(options: TransportOptions): Transport {
  let calls = 0;
  let skewMs: number | undefined;
  let origin: string | undefined;
  return {
    calls: () => calls,
    skewMs: () => skewMs,
    origin: () => origin,
    fetch: async (url, init) => {
      calls += 1;
      origin = originOf(redirect(url, options.endpoint));
      const response = await logged(options, url, init);
      const date = Date.parse(response.headers.get("date") ?? "");
      if (Number.isFinite(date)) skewMs = options.clock.wallTime().getTime() - date;
      if (THROTTLED.has(response.status)) options.onThrottled(retryAfterMs(response.headers, options.clock));
      return response;
    },
  };
}

/** One call with its deadline, told to the log without anything secret: the query holds the signature. */
async function logged(options: TransportOptions, url: string, init: RequestInit): Promise<Response> {
  const startMs = options.clock.monotonicMs();
  const tell = (outcome: number | string): void => {
    const path = url.slice(url.indexOf("/", url.indexOf("://") + 3)).split("?", 1)[0] ?? "";
    const ms = Math.round(options.clock.monotonicMs() - startMs);
    options.onCall?.({ method: init.method ?? "GET", path, outcome, ms });
  };
  try {
    const response = await callWithDeadline(options, redirect(url, options.endpoint), init);
    tell(response.status);
    return response;
  } catch (error) {
    tell(error instanceof UnreachableError ? error.why : error instanceof Error ? error.name : "failed");
    throw error;
  }
}

/** Without path and query, which may hold a key; `undefined` for what is no address. */
export function originOf(url: string): string | undefined {
  return URL.parse(url)?.origin;
}

/** The same path and query on another host. The text is cut, not parsed, for the signature covers its exact bytes. */
export function redirect(url: string, endpoint: string | undefined): string {
  if (endpoint === undefined) return url;
  const path = url.indexOf("/", url.indexOf("://") + 3);
  return endpoint.replace(/\/+$/, "") + (path < 0 ? "/" : url.slice(path));
}

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3), ms; 1 s when absent or unreadable. */
export function retryAfterMs(headers: Headers, clock: Clock): number {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const at = Date.parse(text);
  return Number.isFinite(at) ? Math.max(0, at - clock.wallTime().getTime()) : DEFAULT_RETRY_AFTER_MS;
}

async function callWithDeadline(options: TransportOptions, url: string, init: RequestInit): Promise<Response> {
  const { clock } = options;
  const late = new AbortController();
  const abort = (what: string, ms: number) => (): void =>
    late.abort(new DOMException(`no ${what} within ${ms} ms`, "TimeoutError"));
  const { headersMs, callMs } = options.timeouts ?? { headersMs: HEADERS_TIMEOUT_MS, callMs: CALL_TIMEOUT_MS };
  const cancelHeaders = clock.after(headersMs, abort("answer", headersMs));
  const cancelCall = clock.after(callMs, abort("complete answer", callMs));
  const signals = [options.signal, late.signal, ...(init.signal ? [init.signal] : [])];
  try {
    const response = await connect(url, { ...init, redirect: "error", signal: AbortSignal.any(signals) });
    cancelHeaders();
    const body = await readBody(response, options.maxBodyBytes ?? MAX_BODY_BYTES);
    const { status, statusText, headers } = response;
    return new Response(NULL_BODY.has(status) ? null : body, { status, statusText, headers });
  } finally {
    cancelHeaders();
    cancelCall();
  }
}

/** A fetch that names what kept it from the venue: the origin only, for path and query may hold a key. */
async function connect(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    const why = unreachableReason({ code: textField(error, "code"), syscall: textField(error, "syscall") });
    throw why === undefined ? error : new UnreachableError(originOf(url) ?? "the venue", why, error);
  }
}

function textField(error: unknown, name: "code" | "syscall"): string | undefined {
  if (!(error instanceof Error) || !(name in error)) return undefined;
  const value: unknown = Reflect.get(error, name);
  return typeof value === "string" ? value : undefined;
}

async function readBody(response: Response, maxBytes: number): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let total = 0;
  for await (const chunk of response.body ?? []) {
    total += chunk.byteLength;
    if (total > maxBytes) throw new TypeError(`the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return new Blob(chunks);
}
