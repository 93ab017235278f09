/** The bot-side SDK: what a bot written in TypeScript may import to speak with its supervisor. */
export { createBlackbox, type Blackbox, type BlackboxOptions, type RecordOptions } from "./blackbox.ts";
export { createNotifier, type Notifier, type NotifyFields } from "./notify.ts";
export type * from "./ports.ts";
