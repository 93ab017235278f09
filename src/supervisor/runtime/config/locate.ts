/** Which config file is used: --config FILE, else $SUPERVISOR_CONFIG, else ./supervisor.yaml, else the one in /etc. */
import { resolve } from "node:path";
import { quickIo } from "../../../platform/quick-io.ts";
import { ConfigError } from "./issues.ts";
import type { Environment } from "./substitute.ts";

/** Name of the config in the current folder, and of the one that `config init` writes. */
export const LOCAL_CONFIG = "supervisor.yaml";
const SYSTEM_CONFIG = "/etc/tradingbot/supervisor.yaml";

export interface Located {
  /** Absolute path. */
  readonly file: string;
  /** The path as messages show it: as the user wrote it. */
  readonly shown: string;
  /** Who named it, for the message when it cannot be read. */
  readonly from: "--config" | "$SUPERVISOR_CONFIG" | "search";
}

/**
 * The config to read. `file` is the value of --config, `cwd` the folder it is relative to.
 * A file that is named is not looked for elsewhere; throws `ConfigError` when none is named and none is found.
 */
export function locateConfig(options: {
  readonly file?: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
}): Located {
  const { file, env, cwd } = options;
  if (file !== undefined) return { file: resolve(cwd, file), shown: file, from: "--config" };
  const named = env["SUPERVISOR_CONFIG"];
  if (named !== undefined && named !== "")
    return { file: resolve(cwd, named), shown: named, from: "$SUPERVISOR_CONFIG" };
  for (const candidate of [LOCAL_CONFIG, SYSTEM_CONFIG]) {
    const path = resolve(cwd, candidate);
    if (exists(path)) return { file: path, shown: candidate, from: "search" };
  }
  throw new ConfigError(
    `cannot find a config: --config and $SUPERVISOR_CONFIG are not given, and neither ${resolve(cwd, LOCAL_CONFIG)} nor ` +
      `${SYSTEM_CONFIG} exists; write one with "supervisor config init"`,
  );
}

/** Without node:fs where that is possible: this is part of every command. */
function exists(path: string): boolean {
  return quickIo()?.exists(path) ?? process.getBuiltinModule("node:fs").existsSync(path);
}
