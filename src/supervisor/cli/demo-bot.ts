/** `supervisor __sample-bot`: the demo's bot; its settings come by environment. */
import type { Verb } from "./verb.ts";

export const command: Verb = {
  name: "__sample-bot",
  summary: "Runs the sample bot; started by the demo's supervisor.",
  hidden: true,
  configure: (cmd, io) => {
    cmd.action(async () => {
      const { runSampleBot } = await import("../../demo/bot.ts");
      await runSampleBot(io.env);
    });
  },
};
