/** The bot-side SDK: what a bot written in TypeScript may import to speak with its supervisor. */
export { createBlackbox, type Blackbox, type BlackboxOptions, type RecordOptions } from "./blackbox.ts";
export { Breaker, type BreakerChange, type BreakerStats, type BreakerWiring, type Passage } from "./breaker.ts";
export { breakerStats, createBreakers, getBreaker, guard, type Breakers } from "./breakers.ts";
export { proposeWhileOpen } from "./breaker-level.ts";
export { Budget, type BudgetWiring } from "./budget.ts";
export { ccxtOrders, type CcxtExchange } from "./ccxt-orders.ts";
export { CircuitOpenError, judgeError, ResilienceError, retryAfterMsOf, type GiveUpReason } from "./errors.ts";
export {
  clientOrderIdOf,
  createExecutor,
  type CallContext,
  type CallOp,
  type CallOptions,
  type ChangeOptions,
  type Executed,
  type ExecutedOrder,
  type Executor,
  type ExecutorWiring,
  type OrderOptions,
  type OrderRequest,
  type ReadOptions,
} from "./execute.ts";
export { openFileStore, type FileStore, type FileStoreOptions } from "./file-store.ts";
export { openIntentFile, type IntentFile } from "./intent-file.ts";
export type { OrderContext, OrderOp } from "./order.ts";
export type { OrderReader, SettledIntent } from "./order-fate.ts";
export type { VenueOrder } from "../core/order-intent.ts";
export type { RetryBudgetConfig, RetryPriority, Withdrawal } from "../core/retry-budget.ts";
export type { BreakerConfig } from "../core/circuit-parts.ts";
export type { BreakerState } from "../core/circuit.ts";
export type { CallVerdict } from "../core/call-error.ts";
export { createLevels, type Levels, type LevelChange, type LevelStore, type LevelsOptions } from "./levels.ts";
export { watchSelf, type SelfWatchOptions } from "./self-watch.ts";
export { watchUnprotected, type UnprotectedOptions } from "./unprotected-watch.ts";
export { createNotifier, type Notifier, type NotifyFields } from "./notify.ts";
export type * from "./ports.ts";
export { openStore, type StateOptions, type StateStore } from "./state/store.ts";
export type { SavedDay, SavedPosition, SavedTrade } from "../core/books.ts";
export type { OpenReport } from "./state/report.ts";
export {
  checkLimits,
  reconcileBot,
  type ReconcileOptions,
  type ReconcileReport,
  type ReconcileVenue,
} from "./reconcile.ts";
export type {
  BotLimits,
  Finding,
  MissingStop,
  ReconcilePolicy,
  RestingOrder,
  VenuePosition,
} from "../core/reconcile.ts";
