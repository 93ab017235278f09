/** `supervisor start BOT`. */
import { botVerb } from "./bot-verb.ts";

export const command = botVerb({
  name: "start",
  summary: "Starts a bot and answers when it is running. A locked bot is refused: see arm.",
  done: (bot, state) => `${bot} started; it is ${state}`,
  wasSo: (bot) => `${bot} runs already; nothing was started`,
});
