/** Who may call: key, passphrase, HMAC-SHA256 in base64 and a timestamp, as OKX's "REST Authentication" has it. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Credentials, Incoming } from "../dialect.ts";
import { RequestError } from "./errors.ts";

/** A request's timestamp may be this far from the venue's clock, ms. */
const WINDOW_MS = 30_000;
const UNAUTHORIZED = 401;
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/;

/** Throws the venue's refusal unless all four headers are right. `nowMs` is the venue's clock. */
export function checkSigned(credentials: Credentials, incoming: Incoming, nowMs: number): void {
  const { headers, method, path, query, body } = incoming;
  if (read(headers, "OK-ACCESS-KEY", "50103") !== credentials.apiKey) throw refuse("50111", "Invalid OK-ACCESS-KEY");
  if (read(headers, "OK-ACCESS-PASSPHRASE", "50104") !== credentials.apiPassphrase) {
    throw refuse("50105", "Request header OK-ACCESS-PASSPHRASE incorrect.");
  }
  const timestamp = read(headers, "OK-ACCESS-TIMESTAMP", "50107");
  if (!ISO_TIME.test(timestamp)) throw refuse("50112", "Invalid OK-ACCESS-TIMESTAMP");
  if (Math.abs(nowMs - Date.parse(timestamp)) > WINDOW_MS) throw refuse("50102", "Timestamp request expired");
  const given = Buffer.from(read(headers, "OK-ACCESS-SIGN", "50106"), "base64");
  const payload = `${timestamp}${method}${path}${query === "" ? "" : `?${query}`}${body}`;
  const expected = createHmac("sha256", credentials.apiSecret).update(payload).digest();
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw refuse("50113", "Invalid Sign");
}

function read(headers: Headers, name: string, codeWhenMissing: string): string {
  const value = headers.get(name);
  if (value === null || value === "") throw refuse(codeWhenMissing, `Request header ${name} can not be empty.`);
  return value;
}

function refuse(code: string, text: string): RequestError {
  return new RequestError(code, text, UNAUTHORIZED);
}
