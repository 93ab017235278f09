/** `supervisor __self-check`: whether this version could take over from the daemon that runs now; it asks a new binary before an upgrade. */
import { EXIT } from "../../core/exit-code.ts";
import { selfCheck } from "../runtime/self-check.ts";
import { VERSION } from "./build-info.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import type { Verb } from "./verb.ts";

export const command: Verb = {
  name: "__self-check",
  summary: "Reports whether this version could take over; started by the daemon before an upgrade.",
  hidden: true,
  configure: (cmd, io) => {
    withConfig(cmd).action((options: PlaceOptions) => {
      const report = selfCheck({ file: options.config, env: io.env, cwd: io.cwd }, VERSION);
      io.out(JSON.stringify(report));
      if (report.problems.length > 0) io.setExitCode(EXIT.failed);
    });
  },
};
