/** `supervisor restart BOT`. */
import { botVerb } from "./bot-verb.ts";

export const command = botVerb({
  name: "restart",
  summary: "Stops a bot and starts it again at once; this spends none of its restart budget.",
  done: (bot, state) => `${bot} restarted; it is ${state}`,
});
