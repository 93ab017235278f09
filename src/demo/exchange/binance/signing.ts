/** Who may call: API key, HMAC-SHA256 signature and timing of a signed request, as Binance's "SIGNED endpoint security" has it. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Credentials } from "../dialect.ts";
import { missing, VenueError } from "./errors.ts";

export type Params = ReadonlyMap<string, string>;

/** How far a client's clock may run ahead, ms. */
const AHEAD_MS = 1_000;
/** What counts when a request names no recvWindow, ms. */
const DEFAULT_RECV_WINDOW_MS = 5_000;
const MAX_RECV_WINDOW_MS = 60_000;

/** All parameters of query and body; a later one of the same name wins, as on the venue. */
export function parseParams(query: string, body: string): Params {
  return new Map([...new URLSearchParams(query), ...new URLSearchParams(body)]);
}

/** Throws the venue's refusal unless key, signature and time of the request are right. `nowMs` is the venue's clock. */
export function checkSigned(
  credentials: Pick<Credentials, "apiKey" | "apiSecret">,
  request: { key: string | null; query: string; body: string; params: Params },
  nowMs: number,
): void {
  if (request.key === null || request.key === "") throw new VenueError(-2014, "API-key format invalid.", 401);
  if (request.key !== credentials.apiKey) {
    throw new VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401);
  }
  const signature = request.params.get("signature");
  if (signature === undefined) throw missing("signature");
  // What is signed is the raw text of query and body, joined without a separator, less the signature itself.
  const payload = `${request.query}${request.body}`.replace(/&?signature=[^&]*/, "");
  const expected = createHmac("sha256", credentials.apiSecret).update(payload).digest();
  const given = Buffer.from(signature, "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new VenueError(-1022, "Signature for this request is not valid.");
  }
  checkTime(request.params, nowMs);
}

/** Throws −1021 when the request is from the future or older than its recvWindow. */
function checkTime(params: Params, nowMs: number): void {
  const timestamp = Number(params.get("timestamp") ?? Number.NaN);
  if (!Number.isFinite(timestamp)) throw missing("timestamp");
  const recvWindow = Number(params.get("recvWindow") ?? DEFAULT_RECV_WINDOW_MS);
  if (!(recvWindow >= 0 && recvWindow <= MAX_RECV_WINDOW_MS)) {
    throw new VenueError(-1131, `recvWindow must be less than ${MAX_RECV_WINDOW_MS}`);
  }
  if (timestamp >= nowMs + AHEAD_MS) {
    throw new VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.");
  }
  if (nowMs - timestamp > recvWindow) {
    throw new VenueError(-1021, "Timestamp for this request is outside of the recvWindow.");
  }
}
