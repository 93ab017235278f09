/** The tests of a selftest that only look: the config's backups, what could be restored, and the files that the package installs. */
import { counted } from "../../../core/counted.ts";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { systemClock } from "../../../platform/clock.ts";
import { runCommand } from "../../../platform/command.ts";
import type { LoadedConfig } from "../../runtime/config/load.ts";
import { planRestore } from "../../runtime/restore-plan.ts";

const UNITS_FOLDER = "/etc/systemd/system";
const LOGROTATE_FILE = "/etc/logrotate.d/tradingbot";
const CHECK_MS = 60_000;
const MAX_OUTPUT_BYTES = 2_048;

/** What it tests is not there. */
export class Skip extends Error {}

/** Each throws what is wrong, or `Skip`, and returns what was shown. */
export async function configured({ config, shown }: LoadedConfig): Promise<string> {
  const { backups } = config;
  if (backups === undefined) throw new Error(`${shown} has no backups section: nothing is backed up`);
  for (const [name, store] of Object.entries(backups.stores))
    if (store.kind === "directory") requireWritable(name, store.path);
  const targets = Object.entries(backups.targets);
  const byHand = targets.filter(([, { schedule }]) => schedule === undefined).map(([name]) => name);
  const rest = byHand.length === 0 ? "" : `; only by hand: ${byHand.join(", ")}`;
  return `${counted(targets.length, "target")}, ${counted(Object.keys(backups.stores).length, "store")} that can be written${rest}`;
}

function requireWritable(name: string, path: string): void {
  // It is made by the first backup.
  let folder = path;
  while (!existsSync(folder) && folder !== "/") folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    throw new Error(`the store ${name} cannot be written: ${folder}`);
  }
}

export async function restorable(loaded: LoadedConfig): Promise<string> {
  const targets = Object.keys(loaded.config.backups?.targets ?? {});
  if (targets.length === 0) throw new Skip("the config has no targets");
  const now = systemClock.wallTime();
  const plans = targets.map((target) => {
    const wish = { target, at: undefined, id: undefined, file: undefined, into: { kind: "live" } } as const;
    return { target, planned: planRestore(loaded, wish, now) };
  });
  const without = plans.filter(({ planned }) => planned.kind === "none");
  if (without.length === plans.length) throw new Skip("nothing is stored in a directory yet: supervisor backup run");
  const [first] = without;
  if (first?.planned.kind === "none") throw new Error(`${first.target} could not be restored: ${first.planned.reason}`);
  return `each of ${counted(plans.length, "target")} has a backup that a restore would take`;
}

export async function unitFiles(): Promise<string> {
  const units = namesIn(UNITS_FOLDER).filter((name) => /^tradingbot.*\.(service|timer)$/.test(name));
  if (units.length === 0) throw new Skip(`no tradingbot unit is in ${UNITS_FOLDER}`);
  const program = Bun.which("systemd-analyze");
  if (program === null) throw new Skip("systemd-analyze is not installed");
  const said = await output([program, "verify", ...units.map((unit) => join(UNITS_FOLDER, unit))]);
  // It ends with 0 for a key that it does not know, and only says so.
  const ours = said.output.split("\n").filter((line) => line.includes("tradingbot"));
  if (said.code !== 0 || ours.length > 0) throw new Error(ours.join("; ") || said.output.trim());
  return `${units.join(", ")} are sound`;
}

export async function logrotate(): Promise<string> {
  if (!existsSync(LOGROTATE_FILE)) throw new Skip(`there is no ${LOGROTATE_FILE}`);
  const program = Bun.which("logrotate", { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" });
  if (program === null) throw new Skip("logrotate is not installed");
  const said = await output([program, "-d", LOGROTATE_FILE]);
  if (said.code !== 0 || /^error:/m.test(said.output)) throw new Error(said.output.trim());
  return `${LOGROTATE_FILE} is sound`;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

async function output(command: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const end = await runCommand({
    command,
    cwd: "/",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    timeoutMs: CHECK_MS,
    clock: systemClock,
    maxOutputBytes: MAX_OUTPUT_BYTES,
  });
  if (end.kind === "exited") return end;
  throw new Error(end.kind === "failed" ? end.reason : `${command[0]} did not end within ${CHECK_MS / 1_000} s`);
}
