/** What became of an order: the venue is read until it is certain, or the order is reported as unknown. */
import {
  outcomeOf,
  outcomeWithout,
  type IntentOutcome,
  type OrderIntent,
  type VenueOrder,
} from "../core/order-intent.ts";
import type { CallPorts, CallSettings } from "./call.ts";
import { excerptOf, retryAfterMsOf } from "./errors.ts";
import { callBounded, sleep } from "./machine.ts";
import type { IntentLog } from "./ports.ts";

/** Reads what the venue knows of an order. */
export interface OrderReader {
  /** The order with this client id; `undefined` only where the venue certainly has none. Rejects when it cannot say. */
  find(intent: OrderIntent, signal: AbortSignal): Promise<VenueOrder | undefined>;
}

export interface OrderPorts extends CallPorts {
  readonly intents: IntentLog;
  readonly reader: OrderReader;
  /** How long after it has left the venue may still execute a request, ms: Binance's recvWindow, OKX's expTime. */
  readonly lateMs: number;
  /** Orders that are under way in this process. */
  readonly underWay: Set<string>;
}

/** Readings that fail before the fate of an order is given up as unknown. */
const MAX_FAILED_READS = 6;
/** First wait between two readings, ms; it doubles up to the most. */
const READ_WAIT_MS = 500;
const MAX_READ_WAIT_MS = 5_000;
/** Longest wait for a venue that limits our readings, ms. */
const MAX_THROTTLE_WAIT_MS = 30_000;
/** How long an order of unknown fate keeps the level at minimal unless it is settled, ms. */
const UNKNOWN_TTL_MS = 3_600_000;

/** What is certain about an order: its state, that the venue has none and gets none any more, or nothing. */
export type Fate =
  | { readonly kind: "found"; readonly order: VenueOrder }
  | { readonly kind: "absent" }
  | { readonly kind: "unknown"; readonly error: unknown };

/**
 * Reads the venue until it is certain. "No such order" counts only from a reading that began when nothing that left by
 * `leftMs` can be executed any more; `undefined`: it may still leave, and only finding it is certain.
 */
export async function fateOf(
  ports: OrderPorts,
  settings: CallSettings,
  intent: OrderIntent,
  leftMs: number | undefined,
): Promise<Fate> {
  const { machine, reader, record, lateMs } = ports;
  const id = intent.clientOrderId;
  const certainMs = leftMs === undefined ? Number.POSITIVE_INFINITY : leftMs + lateMs;
  const giveUpMs = machine.now() + lateMs;
  let failed = 0;
  for (let waitMs = READ_WAIT_MS; ; waitMs = Math.min(waitMs * 2, MAX_READ_WAIT_MS)) {
    const beganMs = machine.now();
    let pauseMs = waitMs;
    let failure: unknown = new Error("the attempt is not over, and the venue does not show the order");
    try {
      const order = await callBounded(machine, (signal) => reader.find(intent, signal), settings.timeoutMs).result;
      record("order.read", { id, found: order !== undefined });
      if (order !== undefined) return { kind: "found", order };
      if (beganMs >= certainMs) return { kind: "absent" };
      pauseMs = Math.min(waitMs, Math.max(0, certainMs - machine.now()));
    } catch (error) {
      failed += 1;
      failure = error;
      record("order.read", { id, error: excerptOf(error) }, "warn");
      if (failed >= MAX_FAILED_READS) return { kind: "unknown", error };
      pauseMs = Math.max(waitMs, Math.min(MAX_THROTTLE_WAIT_MS, retryAfterMsOf(error, machine.wallNow()) ?? 0));
    }
    if (leftMs === undefined && machine.now() >= giveUpMs) return { kind: "unknown", error: failure };
    await sleep(machine, pauseMs);
  }
}

export function sayUnknown(ports: OrderPorts, intent: OrderIntent): void {
  const { clientOrderId: id, name, symbol } = intent;
  ports.record("order.unknown", { id, name, symbol }, "error");
  const reason = `nobody knows what became of order ${id} (${symbol})`;
  ports.propose({ source: `order:${id}`, level: "minimal", reason, ttlMs: UNKNOWN_TTL_MS });
}

export interface SettledIntent {
  readonly intent: OrderIntent;
  readonly outcome: IntentOutcome;
}

/** Asks the venue about every intent that an earlier life left, one after the other; what stays unknown stays unfinished. */
export async function settleUnfinished(ports: OrderPorts, settings: CallSettings): Promise<readonly SettledIntent[]> {
  const settled: SettledIntent[] = [];
  for (const intent of await ports.intents.unfinished()) {
    if (ports.underWay.has(intent.clientOrderId)) continue;
    settled.push({ intent, outcome: await settleIntent(ports, settings, intent) });
  }
  return settled;
}

/** Asks the venue about an intent that an earlier call or life left, and notes the answer. */
export async function settleIntent(
  ports: OrderPorts,
  settings: CallSettings,
  intent: OrderIntent,
): Promise<IntentOutcome> {
  const id = intent.clientOrderId;
  // Whoever sent it is gone, and nobody knows when its last request left: it may have been just now.
  const fate = await fateOf(ports, settings, intent, ports.machine.now());
  const at = ports.machine.wallNow();
  const outcome =
    fate.kind === "found"
      ? outcomeOf(fate.order, 0, at)
      : outcomeWithout(fate.kind, 0, fate.kind === "unknown" ? excerptOf(fate.error) : null, at);
  await ports.intents.settle(id, outcome);
  if (fate.kind === "unknown") sayUnknown(ports, intent);
  else ports.propose({ source: `order:${id}`, level: "normal", reason: "the order is settled", ttlMs: 0 });
  return outcome;
}
