/** `supervisor selftest`: does recovery work on this machine, as it is installed? On scratch copies only; what lives is looked at, never touched. */
import { EXIT } from "../../core/exit-code.ts";
import { resultLine, summarize, summaryText, type SelftestResult } from "../../core/selftest.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import { withScratchFolder } from "./scratch-folder.ts";
import { breaker } from "./selftest/breaker.ts";
import { configured, logrotate, restorable, Skip, unitFiles } from "./selftest/installed.ts";
import { Scratch } from "./selftest/scratch.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: true;
}

export const command: Verb = {
  name: "selftest",
  summary: "Tests backup, restore, retention and what is installed, on scratch copies only.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--json", "print one object")
      .addHelpText("after", "\nExit codes: 0 nothing failed, 1 a test failed, 2 usage or config.")
      .action((options: Options) => selftest(options, io));
  },
};

async function selftest(options: Options, io: CliIo): Promise<void> {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  await withScratchFolder("supervisor-selftest-", async (folder) => {
    const scratch = new Scratch(folder);
    const tests: readonly (readonly [string, () => Promise<string>])[] = [
      ["backup is configured", () => configured(loaded)],
      ["restore has what it needs", () => restorable(loaded)],
      ["SQLite backup", () => scratch.backsUp()],
      ["SQLite restore", () => scratch.restores()],
      ["damage is found", () => scratch.findsDamage()],
      ["retention", () => scratch.retains()],
      ["files backup and restore", () => scratch.keepsFiles()],
      ["PostgreSQL backup and restore", () => scratch.keepsPostgres()],
      ["circuit breaker", breaker],
      ["systemd units", unitFiles],
      ["logrotate", logrotate],
    ];
    const results: SelftestResult[] = [];
    for (const [name, test] of tests) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: each builds on what the one before has left.
      const result = await tested(name, test);
      results.push(result);
      if (options.json !== true) io.out(resultLine(result));
    }
    const summary = summarize(results);
    io.out(options.json === true ? JSON.stringify({ version: 1, ...summary, tests: results }) : summaryText(summary));
    io.setExitCode(summary.failed === 0 ? EXIT.done : EXIT.failed);
  });
}

async function tested(name: string, test: () => Promise<string>): Promise<SelftestResult> {
  try {
    return { name, outcome: "passed", detail: await test() };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { name, outcome: error instanceof Skip ? "skipped" : "failed", detail };
  }
}
