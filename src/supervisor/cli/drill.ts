/** `supervisor drill`: restores the newest backups into scratch, asks them, and prints a report; nothing that lives is touched. */
import { join } from "node:path";
import { drillLines } from "../../actions/backup/drill-record.ts";
import { drillReportSchema, type DrillReport } from "../../core/drill.ts";
import { guessText } from "../../core/nearest.ts";
import { EXIT } from "../../core/exit-code.ts";
import { systemClock } from "../../platform/clock.ts";
import { drillText } from "../../report/drill-text.ts";
import { loadConfig, type LoadedConfig } from "../runtime/config/load.ts";
import { drillJob, recordsOf, runDrill } from "../runtime/drills.ts";
import { VERSION } from "./build-info.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

const EXIT_CODES = `
Exit codes: 0 everything was restored within the objectives, 1 it was not, 2 usage or config, 5 no room or the record cannot be
written, 7 another drill is under way, 75 the worker hung, or its deadline of 12 hours is over.`;

interface Options extends PlaceOptions {
  readonly store?: string;
  readonly last?: true;
  readonly json?: true;
}

class DrillError extends Error {
  readonly exitCode = EXIT.usage;
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

export const command: Verb = {
  name: "drill",
  summary: "Restores the newest backups into scratch for practice, and measures it.",
  acts: true,
  configure: (cmd, io) => {
    withConfig(cmd)
      .argument("[target]", "name of the target in the config, or all", "all")
      .option("--store <name>", "from this store; default: the first bucket of each target, else its first directory")
      .option("--last", "print the report of the last drill instead")
      .option("--json", "print one object")
      .addHelpText("after", EXIT_CODES)
      .action((target: string, options: Options) => drill(target, options, io));
  },
};

async function drill(target: string, options: Options, io: CliIo): Promise<void> {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  if (options.last === true) return showLast(loaded, options, io);
  const job = jobOf(loaded, target, options, io);
  let report: DrillReport | undefined;
  const { code, failure } = await runDrill(job, {
    clock: systemClock,
    onLine: (line) => {
      if (line.kind === "step" && options.json !== true) io.err(`${line.text} …`);
      if (line.kind === "drilled") report = line.report;
    },
  });
  if (report === undefined) {
    io.err(`cannot drill: ${failure ?? "the worker said nothing"}`);
    if (options.json === true) io.out(JSON.stringify({ version: 1, report: null, failure: failure ?? null }));
  } else show(loaded, report, options, io);
  io.setExitCode(code);
}

function jobOf(loaded: LoadedConfig, target: string, { store }: Options, io: CliIo): ReturnType<typeof drillJob> {
  const names = Object.keys(loaded.config.backups?.targets ?? {});
  if (names.length === 0)
    throw new DrillError(`cannot drill: ${loaded.shown} has no backups section`, "docs/backup.md shows one");
  if (target !== "all" && !names.includes(target))
    throw new DrillError(
      `cannot find target ${target}: the targets are ${names.join(", ")}${guessText(target, names)}`,
      "all drills all of them",
    );
  const targets = target === "all" ? undefined : [target];
  try {
    return drillJob(loaded, { trigger: "manual", targets, store, user: userOf(io), version: VERSION });
  } catch (error) {
    throw new DrillError(error instanceof Error ? error.message : String(error), "supervisor config check shows more");
  }
}

/** The name that the shell gives, and who is behind sudo; the uid is the kernel's word. */
function userOf({ env }: CliIo): string {
  const name = env["SUDO_USER"] ?? env["USER"] ?? env["LOGNAME"];
  const uid = `uid ${process.getuid?.() ?? "?"}`;
  return name === undefined ? uid : `${name} (${uid})`;
}

function showLast(loaded: LoadedConfig, options: Options, io: CliIo): void {
  const line = drillLines(recordsOf(loaded)).at(-1);
  if (line === undefined) throw new DrillError("there was no drill yet", "supervisor drill does one now");
  const report = drillReportSchema.parse(JSON.parse(line));
  show(loaded, report, options, io);
  if (!report.ok) io.setExitCode(EXIT.failed);
}

function show(loaded: LoadedConfig, report: DrillReport, { json }: Options, io: CliIo): void {
  if (json === true) return io.out(JSON.stringify({ version: 1, report, failure: null }));
  io.out(drillText(report));
  io.out(`\nrecorded in ${join(recordsOf(loaded), "drills.jsonl")}`);
}
