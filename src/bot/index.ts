/** The bot-side SDK: what a bot written in TypeScript may import to speak with its supervisor. */
export { createBlackbox, type Blackbox, type BlackboxOptions, type RecordOptions } from "./blackbox.ts";
export { Breaker, type BreakerChange, type BreakerStats, type BreakerWiring, type Passage } from "./breaker.ts";
export { breakerStats, createBreakers, getBreaker, guard, type Breakers } from "./breakers.ts";
export { CircuitOpenError, judgeError, retryAfterMsOf } from "./errors.ts";
export type { BreakerConfig } from "../core/circuit-parts.ts";
export type { BreakerState } from "../core/circuit.ts";
export type { CallVerdict } from "../core/call-error.ts";
export { createLevels, type Levels, type LevelChange, type LevelStore, type LevelsOptions } from "./levels.ts";
export { createNotifier, type Notifier, type NotifyFields } from "./notify.ts";
export type * from "./ports.ts";
export { openStore, type StateOptions, type StateStore } from "./state/store.ts";
export type { SavedDay, SavedPosition, SavedTrade } from "./state/books.ts";
export type { OpenReport } from "./state/report.ts";
