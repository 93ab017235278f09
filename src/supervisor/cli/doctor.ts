/** `supervisor doctor`: what this machine offers a supervisor, what that means, and what to do about what is missing. */
import { EXIT } from "../../core/exit-code.ts";
import { plainText } from "../../core/plain-text.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import { locateConfig } from "../runtime/config/locate.ts";
import { ok, problem, warning, type Finding } from "./doctor/finding.ts";
import { folderFindings } from "./doctor/folders.ts";
import { machineFindings } from "./doctor/machine.ts";
import { systemdFindings } from "./doctor/systemd.ts";
import { toolFindings } from "./doctor/tools.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import { seeCgroups, type SeenCgroups } from "./seen-cgroups.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: boolean;
}

export const command: Verb = {
  name: "doctor",
  summary:
    "Shows what this machine offers: kernel, cgroups, clock, systemd, tools, disk, and what to do about what is missing. Exit code 1 when something is a problem.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--json", "one JSON object")
      .action(async (options: Options) => {
        const findings = await examine(options, io);
        const healthy = findings.every(({ result }) => result !== "problem");
        if (options.json === true) io.out(JSON.stringify({ ok: healthy, findings }));
        else for (const finding of findings) io.out(lineOf(finding));
        if (!healthy) io.setExitCode(EXIT.failed);
      });
  },
};

const MARK = { ok: "ok     ", warning: "warning", problem: "PROBLEM" } as const;

function lineOf({ check, result, text, fix }: Finding): string {
  return plainText(`${MARK[result]} ${check.padEnd(10)} ${text}${fix === undefined ? "" : `; do: ${fix}`}`);
}

async function examine(options: Options, io: CliIo): Promise<readonly Finding[]> {
  const place = await placeOf(options, io);
  const found = "result" in place ? undefined : place;
  const cgroups = await seeCgroups(found);
  return [
    ...(await machineFindings(cgroups)),
    ...(await systemdFindings(found?.dirs.stateDir, io)),
    ...toolFindings(io.env["PATH"]),
    "result" in place ? place : ok("config", place.file),
    ...(found === undefined ? [] : await configFindings(options, io, cgroups)),
    ...(found === undefined ? [] : folderFindings(found.dirs)),
  ];
}

const CHECK_CONFIG = "supervisor config check";

async function placeOf(options: Options, io: CliIo): Promise<Place | Finding> {
  try {
    return await findPlace(options, io);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // Before there is a config, a machine may be looked at all the same.
    return isGiven(options, io)
      ? problem("config", error.message, CHECK_CONFIG)
      : warning("config", error.message, CHECK_CONFIG);
  }
}

/** Whether there is a config that a daemon would be started with here. */
function isGiven({ config: file }: Options, { env, cwd }: CliIo): boolean {
  try {
    locateConfig({ file, env, cwd });
    return true;
  } catch {
    return false;
  }
}

/** What of the config does not hold on this machine, and the mistakes for which no daemon would start with it. */
async function configFindings(options: Options, io: CliIo, cgroups: SeenCgroups): Promise<readonly Finding[]> {
  const { loadConfig } = await import("../runtime/config/load.ts");
  const { checkEnvironment } = await import("../runtime/config/environment.ts");
  const { recipientWarnings } = await import("../runtime/config/recipient-check.ts");
  const { limitWarnings } = await import("../runtime/limit-check.ts");
  const { postgresProblem, postgresTargets } = await import("../runtime/postgres-check.ts");
  try {
    const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
    return [
      ...limitWarnings(loaded, cgroups).map(({ text, strict }) =>
        (strict ? problem : warning)("limits", text, "docs/limits.md"),
      ),
      ...[...checkEnvironment(loaded), ...(await recipientWarnings(loaded))].map((text) =>
        warning("config", text, CHECK_CONFIG),
      ),
      ...(await Promise.all(
        postgresTargets(loaded).map(async (name) => {
          const text = await postgresProblem(loaded, name);
          return text === undefined
            ? ok("postgres", `the target ${name} can be backed up`)
            : warning("postgres", `the target ${name} cannot be backed up: ${text}`, "docs/backup.md#postgresql");
        }),
      )),
    ];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [head, ...mistakes] = error.message.split("\n");
    return (mistakes.length > 0 ? mistakes : [head ?? ""]).map((text) => problem("config", text, CHECK_CONFIG));
  }
}
