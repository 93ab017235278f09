/** How long after it was sent a request may be executed: Binance's `recvWindow` and OKX's `expTime`, as their references have them. */
import { parseParams } from "./binance/signing.ts";
import type { Incoming } from "./dialect.ts";

interface ExecutionWindow {
  /** By the venue's clock, ms. */
  readonly sentAtMs: number;
  readonly lengthMs: number;
}

/** `undefined` for a request that names no deadline. */
export function executionWindow({ query, body, headers }: Incoming): ExecutionWindow | undefined {
  const expiresAt = headers.get("expTime");
  if (expiresAt !== null) {
    const sentAtMs = Date.parse(headers.get("OK-ACCESS-TIMESTAMP") ?? "");
    return { sentAtMs, lengthMs: Number(expiresAt) - sentAtMs };
  }
  const params = parseParams(query, body);
  const [timestamp, recvWindow] = [params.get("timestamp"), params.get("recvWindow")];
  if (timestamp === undefined || recvWindow === undefined) return undefined;
  return { sentAtMs: Number(timestamp), lengthMs: Number(recvWindow) };
}
