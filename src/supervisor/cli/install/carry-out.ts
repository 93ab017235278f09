/** Carries the plan of an install out: each step is whole or not there, so that a run after one that was killed ends the same. */
import { configIn, programIn } from "../../../core/install-drop-in.ts";
import { DAEMON_UNIT, STATE_FOLDER, stepLine, type Step, type Wanted } from "../../../core/install-plan.ts";
import { installFile, installFolder } from "../../../platform/install-file.ts";
import type { Found } from "./look.ts";
import { idsOf, type Machine } from "./machine.ts";

/** A test of what is installed now. */
export interface Check {
  readonly command: string;
  readonly code: number | null;
  readonly output: string;
}

export interface Outcome {
  readonly checks: readonly Check[];
  /** The unit is started at the next boot. */
  readonly enabled: boolean;
  /** The daemon runs, as it did before. */
  readonly running: boolean;
}

/** Throws `cannot …` where a step fails; what was done before it stands. */
export async function carryOut(
  found: Found,
  tests: boolean,
  machine: Machine,
  say: (text: string) => void,
): Promise<Outcome> {
  for (const step of found.steps) {
    // Safe: each step stands on the ones before.
    // oxlint-disable-next-line no-await-in-loop
    if (step.action === "create" || step.action === "replace") await carryOutStep(step, found.wanted, machine);
    say(stepLine(step));
  }
  await mustRun(machine, ["systemctl", "daemon-reload"]);
  const checks = await check(found, tests, machine, say);
  const sound = checks.every(({ code }) => code === 0);
  if (sound && !(await isEnabled(machine))) {
    await mustRun(machine, ["systemctl", "enable", DAEMON_UNIT]);
    say(`enabled ${DAEMON_UNIT}`);
  }
  return { checks, enabled: await isEnabled(machine), running: await isRunning(machine, DAEMON_UNIT) };
}

async function carryOutStep(step: Step, wanted: readonly Wanted[], machine: Machine): Promise<void> {
  if (step.kind === "user") return makeUser(step.path, machine);
  const each = wanted.find(({ path }) => path === step.path);
  if (each === undefined) throw new Error(`internal error: ${step.path} is in no plan`);
  const path = machine.at(each.path);
  const ids = idsOf(machine, each.owner);
  if (each.kind === "folder") return installFolder(path, each.mode, ids);
  const source = each.content === "program" ? { copyOf: machine.program ?? "" } : each.content;
  return installFile(path, source, each.mode, ids);
}

async function makeUser(name: string, machine: Machine): Promise<void> {
  const group = machine.group(name) === undefined ? ["--user-group"] : ["--gid", name];
  const home = ["--home-dir", STATE_FOLDER, "--no-create-home", "--shell", "/usr/sbin/nologin"];
  await mustRun(machine, ["useradd", "--system", ...group, ...home, name]);
}

/** Of the installed program; where the user of --user could replace it, root runs its own, which has the same bytes. */
async function check(
  { settings }: Found,
  tests: boolean,
  machine: Machine,
  say: (text: string) => void,
): Promise<readonly Check[]> {
  const { user, dir } = settings;
  const program = programIn(dir);
  const config = ["--config", configIn(dir)];
  const first = await checked([program, "config", "check", ...config], user, machine, say);
  if (!tests || first.code !== 0) return [first];
  const trusted = user !== undefined && dir !== undefined ? (machine.program ?? program) : program;
  return [first, await checked([trusted, "selftest", ...config], undefined, machine, say)];
}

async function checked(
  command: readonly string[],
  as: string | undefined,
  machine: Machine,
  say: (text: string) => void,
): Promise<Check> {
  const { code, output } = await machine.run(command, as);
  const text = command.join(" ");
  say(`${text}${as === undefined ? "" : `, as ${as}`}:\n${output.trimEnd().replaceAll(/^/gm, "  ")}`);
  return { command: text, code, output };
}

async function isEnabled(machine: Machine): Promise<boolean> {
  return (await machine.run(["systemctl", "is-enabled", DAEMON_UNIT])).output.trim() === "enabled";
}

/** Also one that starts, reloads or stops just now. */
export async function isRunning(machine: Machine, unit: string): Promise<boolean> {
  const { output } = await machine.run(["systemctl", "show", "--property", "ActiveState", "--value", unit]);
  return !["inactive", "failed", ""].includes(output.trim());
}

export async function mustRun(machine: Machine, command: readonly string[]): Promise<void> {
  const { code, output } = await machine.run(command);
  if (code !== 0) throw new Error(`cannot run ${command.join(" ")}: ${output.trim() || `exit code ${code}`}`);
}
