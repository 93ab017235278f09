/** `supervisor __paper-exchange`: the demo's exchange as a process of its own; its settings come by environment. */
import type { Verb } from "./verb.ts";

export const command: Verb = {
  name: "__paper-exchange",
  summary: "Runs the paper exchange; started by the demo and by tests.",
  hidden: true,
  configure: (cmd, io) => {
    cmd.action(async () => {
      const { runPaperExchange } = await import("../../demo/exchange/main.ts");
      await runPaperExchange(io.env);
    });
  },
};
