/** Whether this machine can boot a box; asked once for each test file, and by the suite's set-up, which tells people. */
import { join } from "node:path";

/** The script that boots and ends boxes. */
export const TOOL = join(import.meta.dirname, "unit-box");

/** Why no box can be booted here; `undefined` when one can. */
export const unbootable: string | undefined = askDoctor();

function askDoctor(): string | undefined {
  const { exitCode, stdout } = Bun.spawnSync([TOOL, "doctor"], { stderr: "ignore" });
  if (exitCode === 0) return undefined;
  return /^verdict +(.*)$/m.exec(stdout.toString())?.[1] ?? "test/systemd/unit-box does not run";
}
