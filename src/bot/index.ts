/** The bot-side SDK: what a bot written in TypeScript may import to speak with its supervisor. */
export { createNotifier, type Notifier, type NotifyFields } from "./notify.ts";
