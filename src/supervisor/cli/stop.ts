/** `supervisor stop BOT`. */
import { botVerb } from "./bot-verb.ts";

export const command = botVerb({
  name: "stop",
  summary: "Stops a bot and answers when its whole process tree is gone. It stays down until it is started.",
  done: (bot, state) => `${bot} stopped${otherThanStopped(state)}`,
  wasSo: (bot, state) => `${bot} did not run and stays down${otherThanStopped(state)}`,
});

function otherThanStopped(state: string): string {
  return state === "stopped" ? "" : `; it is ${state}`;
}
