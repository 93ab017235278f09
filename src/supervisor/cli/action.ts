/** `supervisor __action NAME`: one action as a worker process; its job comes on standard input. */
import type { Verb } from "./verb.ts";

export const command: Verb = {
  name: "__action",
  summary: "Runs one action as a worker; started by the daemon.",
  hidden: true,
  configure: (cmd) => {
    cmd.argument("<name>", "name of the action").action(async (name: string) => {
      const { runAction } = await import("../../actions/index.ts");
      const code = await runAction(name);
      // The deed is done and its report is on disk: nothing that is still open may keep the worker alive.
      process.exit(code);
    });
  },
};
