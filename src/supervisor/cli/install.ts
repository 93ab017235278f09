/** `supervisor install`: puts this binary, its config and its units in place (docs/systemd.md). Looks first, and then does all of it or says why not. */
import { EXIT } from "../../core/exit-code.ts";
import { configIn, programIn } from "../../core/install-drop-in.ts";
import { changesAnything, problemLine, stepLine, type Problem } from "../../core/install-plan.ts";
import { plainJson } from "../../core/plain-text.ts";
import type { Check, Outcome } from "./install/carry-out.ts";
import type { Found, Wish } from "./install/look.ts";
import { alone, thisMachine, type Machine } from "./install/machine.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends Partial<Wish> {
  readonly skipTests?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

export const command: Verb = {
  name: "install",
  summary:
    "Installs this binary with config, systemd units and log rotation, and enables the daemon; never starts or restarts it. Changes nothing when something is in the way.",
  acts: true,
  configure: (cmd, io) => {
    cmd
      .option("--user <name>", "run daemon and bots as this user, who is made when missing (default: root)")
      .option("--dir <folder>", "folder of binary and config (default: /usr/local/bin and /etc/tradingbot)")
      .option("-c, --config <file>", "config to install (default: the one that is there, else a starter)")
      .option("--skip-tests", "no selftest before the unit is enabled")
      .option("--dry-run", "show what would be done, and change nothing")
      .option("--json", "one JSON object")
      .addHelpText("after", "\nExit codes: 0 installed, 1 refused or failed, 2 usage or config.")
      .action((options: Options) => install(options, thisMachine(), io));
  },
};

/** `machine` is another one in tests only. */
export async function install(options: Options, machine: Machine, io: CliIo): Promise<void> {
  const { lookAround } = await import("./install/look.ts");
  const wish: Wish = { user: options.user, dir: options.dir, config: options.config };
  const look = (): Promise<Found> => lookAround(wish, machine, io);
  const onlyLook = async (): Promise<true> => tell(await look(), undefined, options, io);
  const act = async (): Promise<true> => {
    const found = await look();
    if (found.problems.length > 0) return tell(found, undefined, options, io);
    const { carryOut } = await import("./install/carry-out.ts");
    const say = options.json === true ? (): void => {} : io.out;
    return tell(found, await carryOut(found, options.skipTests !== true, machine, say), options, io);
  };
  const done = options.dryRun === true || !machine.isRoot ? await onlyLook() : await alone(machine, act);
  if (done === undefined) throw new Error("cannot install: another install or uninstall is at it; wait for its end");
}

/** `true`, so that it is told from nothing. */
function tell(found: Found, outcome: Outcome | undefined, options: Options, io: CliIo): true {
  const code = codeOf(found.problems, outcome);
  if (options.json === true) io.out(plainJson(report(found, outcome, code, options)));
  else if (found.problems.length > 0) refuse(found.problems, io);
  else if (outcome === undefined) io.out([...found.steps.map(stepLine), ...found.notes].join("\n"));
  else explain(found, outcome, io);
  io.setExitCode(code);
  return true;
}

function codeOf(problems: readonly Problem[], outcome: Outcome | undefined): number {
  if (problems.some(({ usage }) => usage === true)) return EXIT.usage;
  if (problems.length > 0) return EXIT.failed;
  const failed = failedOf(outcome);
  if (failed === undefined) return EXIT.done;
  return failed.code === EXIT.usage ? EXIT.usage : EXIT.failed;
}

function failedOf(outcome: Outcome | undefined): Check | undefined {
  return outcome?.checks.find(({ code }) => code !== 0);
}

function report(found: Found, outcome: Outcome | undefined, code: number, { dryRun }: Options): object {
  return {
    version: 1,
    ok: code === EXIT.done,
    dryRun: dryRun === true,
    changed: outcome !== undefined && changesAnything(found.steps),
    problems: found.problems.map(({ where, why, fix }) => ({ where, why, fix })),
    steps: found.steps,
    notes: found.notes,
    checks: outcome?.checks ?? [],
    enabled: outcome?.enabled ?? null,
    running: outcome?.running ?? null,
    next: outcome === undefined ? [] : nextSteps(found, outcome),
  };
}

function refuse(problems: readonly Problem[], io: CliIo): void {
  io.err(["cannot install, and nothing was changed:", ...problems.map(problemLine)].join("\n"));
}

function explain(found: Found, outcome: Outcome, io: CliIo): void {
  if (!changesAnything(found.steps)) io.out("nothing was changed: all of it is installed as this version has it");
  for (const note of found.notes) io.out(note);
  const failed = failedOf(outcome);
  if (failed !== undefined) {
    const state = outcome.enabled ? "the unit stays enabled" : "the unit is not enabled";
    io.err(`cannot finish the install: ${failed.command} ended with ${failed.code ?? "no exit code"}; ${state}`);
    io.err(`hint: ${repair(failed)}, then install again`);
    return;
  }
  io.out(["next:", ...nextSteps(found, outcome).map((line) => `  ${line}`)].join("\n"));
}

function repair({ command: text }: Check): string {
  if (text.includes(" selftest ")) return "mend what it names (or leave the tests out with --skip-tests)";
  return "mend what it names; files with a relative path in the config belong beside the installed one";
}

function nextSteps({ settings, steps }: Found, { running }: Outcome): readonly string[] {
  const { dir } = settings;
  const [program, config] = [programIn(dir), configIn(dir)];
  const typed = dir === undefined ? "supervisor" : program;
  const named = dir === undefined ? "" : ` --config ${config}`;
  const replaced = (path: string): boolean => steps.some((step) => step.path === path && step.action === "replace");
  const timer =
    "backups follow the schedules of the config; tradingbot-backup.timer is for those without, and is not enabled";
  if (running)
    return [
      ...(replaced(program)
        ? [`${typed} upgrade${named}  (the daemon that runs is the old one, and was not touched)`]
        : []),
      ...(steps.some(
        ({ path, action }) =>
          /\/(system|tradingbot\.service\.d)\/\S+$/.test(path) && action !== "same" && action !== "keep",
      )
        ? [
            "what was changed in the units holds from the next systemctl restart tradingbot on, which stops all bots first",
          ]
        : []),
      `${typed} status${named}`,
    ];
  return [
    `edit ${config}, then ${typed} config check${named}`,
    "systemctl start tradingbot  (it was not started, as bots may trade at once)",
    `${typed} status${named}`,
    timer,
  ];
}
