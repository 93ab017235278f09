/** What the bot's thread asks of the thread that owns the database, and what it is answered. */
import type { IntentOutcome, OrderIntent } from "../../core/order-intent.ts";
import type { Cell } from "../../core/state-tables.ts";
import type { OpenReport } from "./report.ts";

/** Tables of which a caller writes whole rows. */
export type PlainTable = "positions" | "daily" | "kv" | "breakers" | "retry_budget" | "degradation";

export type Query =
  | "positions"
  | "orders"
  | "order"
  | "unfinished"
  | "trades"
  | "day"
  | "value"
  | "breakers"
  | "budgets"
  | "level";

export type Ask =
  | { readonly kind: "put"; readonly table: PlainTable; readonly cells: readonly Cell[] }
  | { readonly kind: "trade"; readonly cells: readonly Cell[] }
  | { readonly kind: "begin"; readonly intent: OrderIntent }
  | { readonly kind: "settle"; readonly id: string; readonly outcome: IntentOutcome }
  | { readonly kind: "rows"; readonly query: Query; readonly args: readonly Cell[] }
  | { readonly kind: "reconciled" }
  | { readonly kind: "rekey" }
  | { readonly kind: "backup" };

export interface Envelope {
  readonly id: number;
  readonly ask: Ask;
}

export type Reply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly error: string };

export type ToThread = { readonly kind: "batch"; readonly asks: readonly Envelope[] } | { readonly kind: "close" };

export type FromThread =
  | { readonly kind: "open"; readonly report: OpenReport; readonly snapshot: Snapshot }
  | { readonly kind: "refused"; readonly error: string }
  | { readonly kind: "replies"; readonly replies: readonly Reply[] }
  | { readonly kind: "trouble"; readonly text: string }
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "closed" };

/** What is small and asked for without waiting: it is handed over once, at the start. */
export interface Snapshot {
  readonly breakers: readonly (readonly [name: string, saved: string])[];
  readonly budgets: readonly (readonly [name: string, saved: string])[];
  readonly level: string | undefined;
}

/** What the thread is started with. */
export interface ThreadInput {
  readonly purpose: typeof THREAD_PURPOSE;
  readonly folder: string;
  readonly keyFile: string | undefined;
  readonly backups: readonly string[];
}

/** A module that is loaded as another thread acts as one only when it is started for this. */
export const THREAD_PURPOSE = "tradingbot-state";
