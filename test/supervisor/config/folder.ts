/** A scratch folder for one test file: configs are written into it, and it is removed when the tests are done. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { ConfigError } from "../../../src/supervisor/runtime/config/issues.ts";
import { loadConfig, type LoadedConfig } from "../../../src/supervisor/runtime/config/load.ts";
import type { Environment } from "../../../src/supervisor/runtime/config/substitute.ts";

export interface Folder {
  readonly dir: string;
  /** Writes a file, with its folders, and returns its absolute path. */
  readonly write: (name: string, text: string, mode?: number) => string;
  /** Loads `text` as `bot.yaml`. */
  readonly load: (text: string, env?: Environment) => LoadedConfig;
  /** The lines of the error that `text` gives, without the header. */
  readonly mistakes: (text: string, env?: Environment) => string[];
  /** As `mistakes`, with the checks of the machine. */
  readonly lacks: (text: string, env?: Environment) => string[];
}

export function scratchFolder(): Folder {
  const dir = mkdtempSync(join(tmpdir(), "cfg-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, text: string, mode = 0o600): string => {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  };
  const load = (text: string, env: Environment = {}): LoadedConfig => {
    write("bot.yaml", text);
    return loadConfig({ file: "bot.yaml", env, cwd: dir });
  };
  return {
    dir,
    write,
    load,
    mistakes: (text, env) => linesOf(() => load(text, env)),
    lacks: (text, env) => linesOf(() => checkEnvironment(load(text, env))),
  };
}

/** The lines of the `ConfigError` that `work` throws, without the header; none when it does not throw. */
function linesOf(work: () => unknown): string[] {
  try {
    work();
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split("\n").slice(1);
  }
}

/** A config with one bot `a`; `lines` are further lines of the bot. */
export function botWith(...lines: string[]): string {
  return ["version: 1", "bots:", "  a:", "    command: [sh]", ...lines.map((line) => `    ${line}`), ""].join("\n");
}
