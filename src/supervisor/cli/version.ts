/** `supervisor version`: what this binary is. */
import { COMMIT, VERSION } from "./build-info.ts";
import type { Verb } from "./verb.ts";

export const command: Verb = {
  name: "version",
  summary: "Shows the version, the commit it was built from and the runtime inside.",
  configure: (cmd, io) => {
    cmd.option("--json", "one JSON object").action(({ json }: { json?: boolean }) => {
      const info = {
        version: VERSION,
        commit: COMMIT,
        bun: Bun.version,
        platform: `${process.platform}-${process.arch}`,
      };
      io.out(
        json === true
          ? JSON.stringify(info)
          : `supervisor ${info.version} (${info.commit}, Bun ${info.bun}, ${info.platform})`,
      );
    });
  },
};
