/** What an uninstall finds and removes: never while a bot of the installation may live, and never what a person made. */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { GONE, judgeUnseen } from "../../../core/adoption.ts";
import { configIn, programIn, type InstallSettings } from "../../../core/install-drop-in.ts";
import {
  BACKUP_TIMER,
  BACKUP_UNIT,
  DAEMON_UNIT,
  dropInPath,
  folderOf,
  LOG_FOLDER,
  LOGROTATE_FILE,
  RUNTIME_FOLDER,
  STATE_FOLDER,
  UNITS_FOLDER,
  type Problem,
} from "../../../core/install-plan.ts";
import { pidsText } from "../../../core/pids-text.ts";
import { hasBytes, lookAt, removeInstalled, temporaryOf } from "../../../platform/install-file.ts";
import { tryLockThere, type Lock } from "../../../platform/lock.ts";
import { listLeaderless, listTree } from "../../../platform/tree.ts";
import { isListenedOn } from "../../../platform/unix-listeners.ts";
import { controlSocketPath, type Dirs } from "../../runtime/config/paths.ts";
import { LOCK_FILE } from "../../runtime/installation.ts";
import { outlookOn } from "../../runtime/start-place.ts";
import { marksOfRemains, surveyBots } from "../../runtime/survey.ts";
import type { CliIo } from "../verb.ts";
import { isRunning, mustRun } from "./carry-out.ts";
import { dropInOf } from "./look.ts";
import type { Machine } from "./machine.ts";

export interface Removal {
  readonly problems: readonly Problem[];
  /** Files, in the order in which they go: the program last, so that it can be run again. */
  readonly paths: readonly string[];
  /** What stays, with the reason. */
  readonly kept: readonly string[];
  readonly locks: readonly Lock[];
}

/** Changes nothing. `hold`: no supervisor can start on the state folders until the locks are released. */
export async function planRemoval(machine: Machine, hold: boolean, io: CliIo): Promise<Removal> {
  const readings = [DAEMON_UNIT, BACKUP_UNIT].map((unit) => ({ unit, reading: dropInOf(unit, machine) }));
  const settings = readings
    .map(({ reading }) => (reading === undefined || reading.kind === "foreign" ? undefined : reading.settings))
    .find(Boolean);
  const program = programIn(settings?.dir);
  const ours = readings.filter(({ reading }) => reading?.kind === "ours").map(({ unit }) => dropInPath(unit));
  const units = [DAEMON_UNIT, BACKUP_UNIT, BACKUP_TIMER].map((name) => `${UNITS_FOLDER}/${name}`);
  const isOwn =
    machine.program !== undefined &&
    isFile(program, machine) &&
    hasBytes(machine.at(program), { copyOf: machine.program });
  const all = [...units, ...ours, LOGROTATE_FILE, program];
  const paths = [...all.map(temporaryOf), ...all].filter((path) => path !== program || isOwn);
  const dirs = await dirsOfInstall(configIn(settings?.dir), machine, io);
  const held = dirs.map((each) => holdFolder(each, hold));
  const found = paths.filter((path) => isFile(path, machine));
  return {
    locks: held.flatMap(({ lock }) => lock ?? []),
    problems: [
      ...(machine.isRoot
        ? []
        : [
            { where: "this user", why: "only root may remove what is in /etc and /usr/local", fix: "run it with sudo" },
          ]),
      ...(await aliveUnits(machine, found)),
      ...held.flatMap(({ problems }) => problems),
      ...dirs.flatMap(aliveBots),
      ...programAtWork(program, machine),
    ],
    paths: found,
    kept: keptOf(readings, settings, { program, isOwn, dirs }, machine),
  };
}

function isFile(path: string, machine: Machine): boolean {
  return lookAt(machine.at(path))?.isFile() === true;
}

/** The folders of the units, and those of the config where it can be read and names others. */
async function dirsOfInstall(config: string, machine: Machine, io: CliIo): Promise<readonly Dirs[]> {
  const usual = {
    stateDir: machine.at(STATE_FOLDER),
    runtimeDir: machine.at(RUNTIME_FOLDER),
    logDir: machine.at(LOG_FOLDER),
  };
  try {
    const { loadDirs } = await import("../../runtime/config/read.ts");
    const { dirs } = loadDirs({ file: machine.at(config), env: {}, cwd: io.cwd });
    return dirs.stateDir === usual.stateDir && dirs.runtimeDir === usual.runtimeDir ? [dirs] : [dirs, usual];
  } catch {
    // No config, or one with mistakes: then the units' folders are all that is known.
    return [usual];
  }
}

async function aliveUnits(machine: Machine, found: readonly string[]): Promise<readonly Problem[]> {
  // No unit is active there, and systemctl would only say that it cannot be asked.
  if (lookAt(machine.at("/run/systemd/system")) === undefined) return found.length === 0 ? [] : [notBooted(found)];
  const problems: Problem[] = [];
  for (const unit of [DAEMON_UNIT, BACKUP_UNIT])
    // Safe: two short questions.
    // oxlint-disable-next-line no-await-in-loop
    if (await isRunning(machine, unit))
      problems.push({ where: unit, why: "it is active", fix: `systemctl stop ${unit}` });
  return problems;
}

function notBooted(found: readonly string[]): Problem {
  const why = "this machine was not booted by it, so that no unit can be disabled";
  return { where: "systemd", why, fix: `run it where systemd runs, or remove ${found.join(" ")} by hand` };
}

interface Held {
  readonly lock?: Lock;
  readonly problems: readonly Problem[];
}

/** A supervisor of that folder, whoever started it. */
function holdFolder({ stateDir, runtimeDir }: Dirs, hold: boolean): Held {
  const taken = {
    where: stateDir,
    why: "a supervisor runs on that state folder",
    fix: "stop the unit, or whoever runs it",
  };
  if (isListenedOn(controlSocketPath(runtimeDir))) return { problems: [taken] };
  if (!hold) return { problems: [] };
  // A config that another user owns may name any folder: nothing is made or written there.
  const lock = tryLockThere(join(stateDir, LOCK_FILE));
  if (lock === "none") return { problems: [] };
  return lock === undefined ? { problems: [taken] } : { lock, problems: [] };
}

/** Nobody would watch them any more, and no close would come. What cannot be told counts as alive. */
function aliveBots(dirs: Dirs): readonly Problem[] {
  return surveyBots(dirs).flatMap(({ name, files, identity, identityReading }) => {
    const where = `bot ${name}`;
    const marks = marksOfRemains(files, identity);
    const living = listTree(marks).map(({ pid }) => pid);
    if (living.length > 0) {
      const fix = `systemctl stop tradingbot ends it; where the unit has failed, systemctl start tradingbot first`;
      return [{ where, why: `it lives (${pidsText(living, "pid ")}), and nobody would watch it`, fix }];
    }
    const doubtful = listLeaderless(marks).map(({ pid }) => pid);
    if (doubtful.length > 0) {
      const why = `pid ${doubtful.join(", ")} may be of it: it is in the session of its last main process`;
      return [{ where, why, fix: `look at it (ps -fp ${doubtful.join(",")}) and end it; or remove ${files.identity}` }];
    }
    // That nobody is found proves nothing where the last start is not to be seen from here.
    const unseen = identity === undefined ? undefined : judgeUnseen(identity, outlookOn(identity));
    if (unseen !== undefined && unseen !== GONE)
      return [{ where, why: unseen.reason, fix: `end that container or namespace, then remove ${files.identity}` }];
    if (identityReading.kind !== "damaged" && identityReading.kind !== "newer") return [];
    const why = `whether it lives cannot be told: ${files.identity} is ${identityReading.kind === "newer" ? "of a newer version" : "damaged"}`;
    return [{ where, why, fix: "look for its process (ps -ef), end it, and remove that file" }];
  });
}

/** An account that is not proven safe: whoever uninstalls should know. */
function lockedBots(dirs: Dirs): readonly string[] {
  return surveyBots(dirs).flatMap(({ name, lockout }) =>
    lockout === undefined || lockout.outcome === "flat"
      ? []
      : [
          `the lock of bot ${name}, whose close did not end well (${lockout.outcome ?? "no end is known"}): look at its account`,
        ],
  );
}

/** A daemon that was started by hand, and workers that close positions, back up or restore. */
function programAtWork(program: string, machine: Machine): readonly Problem[] {
  const path = machine.at(program);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && runs(name, path))
    .map((pid) => ({
      where: `pid ${pid}`,
      why: `it still runs ${program} (${wordsOf(pid)})`,
      fix: "stop the unit, or wait for its end",
    }));
}

/** Also an earlier version of the file, which is gone; not one of that name in a container. */
function runs(pid: string, path: string): boolean {
  const link = `/proc/${pid}/exe`;
  try {
    const name = readlinkSync(link);
    if (name === `${path} (deleted)`) return true;
    return name === path && statSync(link).ino === statSync(path).ino && statSync(link).dev === statSync(path).dev;
  } catch {
    // It has ended, or is a kernel's thread.
    return false;
  }
}

function wordsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(1, 4).join(" ").trim();
  } catch {
    return "";
  }
}

interface Rest {
  readonly program: string;
  readonly isOwn: boolean;
  readonly dirs: readonly Dirs[];
}

function keptOf(
  readings: readonly { readonly unit: string; readonly reading: { readonly kind: string } | undefined }[],
  settings: InstallSettings | undefined,
  { program, isOwn, dirs }: Rest,
  machine: Machine,
): readonly string[] {
  const config = configIn(settings?.dir);
  const changed = readings.filter(({ reading }) => reading !== undefined && reading.kind !== "ours");
  const folders = [...new Set(dirs.flatMap(({ stateDir, logDir, runtimeDir }) => [stateDir, logDir, runtimeDir]))];
  const words = ["state and the backups in it", "logs", "sockets"];
  return [
    ...(lookAt(machine.at(config)) === undefined ? [] : [`${config}, and what lies beside it: config and secrets`]),
    ...folders.flatMap((path, at) => (lookAt(path) === undefined ? [] : [`${path}: ${words[at % words.length]}`])),
    ...dirs.flatMap(lockedBots),
    ...(settings?.user === undefined || machine.user(settings.user) === undefined ? [] : [`the user ${settings.user}`]),
    ...changed.map(({ unit }) => `${dropInPath(unit)}: a person has changed or written it`),
    ...(isOwn || !isFile(program, machine) ? [] : [`${program}: another version than this one; remove it by hand`]),
  ];
}

/** Killed at any step it can be run again, as the program goes last. Throws `cannot …`. */
export async function remove({ paths }: Removal, machine: Machine, say: (text: string) => void): Promise<void> {
  const units = paths
    .filter((path) => folderOf(path) === UNITS_FOLDER)
    .map((path) => path.slice(UNITS_FOLDER.length + 1));
  const starting = units.filter((name) => name === DAEMON_UNIT || name === BACKUP_TIMER);
  if (starting.includes(BACKUP_TIMER)) await mustRun(machine, ["systemctl", "stop", BACKUP_TIMER]);
  if (starting.length > 0) await mustRun(machine, ["systemctl", "disable", ...starting]);
  for (const path of paths) {
    const program = path === paths.at(-1) && !path.startsWith("/etc/");
    // Safe: systemd is told before the program goes, with which this can be run again.
    // oxlint-disable-next-line no-await-in-loop
    if (program) await mustRun(machine, ["systemctl", "daemon-reload"]);
    removeInstalled(machine.at(path), folderOf(path).endsWith(".service.d"));
    say(`removed ${path}`);
  }
  await mustRun(machine, ["systemctl", "daemon-reload"]);
  // Fails where there is nothing to forget.
  await machine.run(["systemctl", "reset-failed", DAEMON_UNIT, BACKUP_UNIT]);
}
