/** Control groups as a fence around a bot's tree: nothing that it forks can leave, and the whole is frozen or killed at once (cgroups(7), v2). */
import { constants, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { closeQuietly } from "./files.ts";
import { readAtOnce, readProc, rereadAtOnce } from "./proc.ts";

export interface CgroupSupport {
  /** `v2`: unified only. `hybrid`: v2 for tracking beside v1 controllers. `none`: no v2 folder that we may write. */
  readonly mode: "v2" | "hybrid" | "none";
  /** Our own cgroup2 folder, below which the bots get theirs; `undefined` for `none`. */
  readonly base: string | undefined;
  /** One line for `doctor`: what was found, or what is missing. */
  readonly reason: string;
}

/** Links of a folder without folders in it: its name and its own dot. */
const LEAF_LINKS = 2;
/** Depth of nested cgroups that are listed and removed; a container runtime inside a bot makes two or three. */
const MAX_DEPTH = 8;

/**
 * Name of the cgroup that the supervisor itself sits in where it hands controllers down: on v2, a cgroup with processes
 * in it cannot. A unit with DelegateSubgroup= may name it too.
 */
export const LEAF = "tradingbot-supervisor";
/** The leaf beside it for workers that can wait: backups and their proofs have a bot's share of the processor, not ours. */
const WORK_LEAF = "tradingbot-work";
/** The largest share of CPU time that the kernel knows (`cpu.weight`; the default is 100). */
const LARGEST_WEIGHT = "10000";

let workPlace: string | undefined;

/** The cgroup for workers that have none of their own; `undefined` where they are started beside us. */
export function placeOfWork(): string | undefined {
  return workPlace;
}

/** Makes the place of work below `base`; from now on `placeOfWork` names it. Best effort. */
export function openPlaceOfWork(base: string): void {
  const path = join(base, WORK_LEAF);
  try {
    mkdirSync(path, { recursive: true });
    workPlace = path;
  } catch {
    // Then they are started where we are.
  }
}

/** Gives the cgroup the largest share of CPU time among those beside it; `false` where the kernel gives shares to none. */
export function favour(path: string): boolean {
  return writeControl(join(path, "cpu.weight"), LARGEST_WEIGHT);
}

/** What this machine offers us. Tried for real: a cgroup is made below our own, a process is started in it, and it is removed. */
export function detectCgroup(): CgroupSupport {
  const mounts = readProc("/proc/self/mountinfo") ?? "";
  const own = ownFolder(mounts, readProc("/proc/self/cgroup") ?? "");
  const base = own !== undefined && basename(own) === LEAF ? dirname(own) : own;
  if (base === undefined) return none("no cgroup2 hierarchy is mounted here that holds this process");
  const failure = tryCgroup(base);
  if (failure !== undefined) return none(failure);
  const hybrid = mounts.split("\n").some((line) => / - cgroup /.test(line));
  const reason = hybrid ? `cgroup2 beside v1 controllers, own folder ${base}` : `cgroup2, own folder ${base}`;
  return { mode: hybrid ? "hybrid" : "v2", base, reason };
}

/** The folder of the process in the mounted cgroup2 tree, from the texts of /proc/self/mountinfo and /proc/self/cgroup. */
export function ownFolder(mountinfo: string, cgroup: string): string | undefined {
  const own = /^0::(\/.*)$/m.exec(cgroup)?.[1];
  return folderIn(mountinfo, own, (right) => right.startsWith("cgroup2 "));
}

/** The folder of the process in the mounted v1 hierarchy of a controller, from the same texts. */
export function ownV1Folder(mountinfo: string, cgroup: string, controller: string): string | undefined {
  const line = cgroup.split("\n").find((each) => each.split(":")[1]?.split(",").includes(controller));
  const own = line?.split(":").slice(2).join(":");
  return folderIn(mountinfo, own, (right) => {
    const [type, , options] = right.split(" ");
    return type === "cgroup" && options?.split(",").includes(controller) === true;
  });
}

/** Where cgroup `own` is below a mount whose type and options `matches` accepts (proc_pid_mountinfo(5)). */
function folderIn(
  mountinfo: string,
  own: string | undefined,
  matches: (typeAndOptions: string) => boolean,
): string | undefined {
  if (own === undefined || !own.startsWith("/") || own.split("/").includes("..")) return undefined;
  for (const line of mountinfo.split("\n")) {
    const [left, right] = line.split(" - ");
    const [root, mountPoint] = (left ?? "").split(" ").slice(3, 5).map(unescapeMount);
    if (root === undefined || mountPoint === undefined || right === undefined || !matches(right)) continue;
    const below = root === "/" ? own : own.startsWith(`${root}/`) || own === root ? own.slice(root.length) : undefined;
    if (below !== undefined) return join(mountPoint, below).replace(/(?<=.)\/$/, "");
  }
  return undefined;
}

/**
 * The bot's own cgroup, made anew when one without processes was left there: it may be frozen, and Linux 6.14 and later kill at once
 * what is started into a cgroup that has seen `cgroup.kill`. One with processes is given as it is: the caller lists them
 * first. `undefined` when it cannot be made.
 */
export function createBotCgroup(base: string, name: string): string | undefined {
  const path = join(base, name);
  try {
    if (existsSync(path) && cgroupPids(path).length === 0) removeCgroup(path);
    mkdirSync(path, { recursive: true });
    return path;
  } catch {
    return undefined;
  }
}

/** A cgroup of a name that none ever had, below one that exists; `undefined` when it cannot be made. */
export function createFreshCgroup(base: string, name: string): string | undefined {
  const path = join(base, name);
  try {
    mkdirSync(path);
    return path;
  } catch {
    return undefined;
  }
}

/** Removes the cgroup and those below it; `false` while a process is left in one. A cgroup that is already gone is removed. */
export function removeCgroup(path: string, depth = MAX_DEPTH): boolean {
  // At once, as most have none below them: each restart waits for the removal of the last start's.
  if (tryRemove(path)) return true;
  if (depth === 0) return false;
  for (const child of childCgroups(path)) removeCgroup(child, depth - 1);
  return tryRemove(path);
}

function tryRemove(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}

/**
 * Pids in the cgroup and those below it, zombies not included; empty when it does not exist.
 * Throws when an existing one cannot be read, which must never read as "empty".
 */
export function cgroupPids(path: string, depth = MAX_DEPTH): number[] {
  const text = readProc(join(path, "cgroup.procs"));
  if (text === undefined) {
    if (!existsSync(path)) return [];
    throw new Error(`cannot read the processes of cgroup ${path}`);
  }
  const pids = text.split("\n").filter(Boolean).map(Number);
  if (depth > 0) for (const child of childCgroups(path)) pids.push(...cgroupPids(child, depth - 1));
  return pids;
}

/** Open `cgroup.events` by the folder of its cgroup: to find and open the file takes longer than to read it. */
const keptEvents = new Map<string, number>();

/** Keeps a descriptor for the questions of `isUnpopulated`, until `releaseEvents`. Best effort. */
export function keepEvents(path: string): void {
  if (keptEvents.has(path)) return;
  try {
    keptEvents.set(path, openSync(`${path}/cgroup.events`, constants.O_RDONLY));
  } catch {
    // It is opened for each question.
  }
}

export function releaseEvents(path: string): void {
  const fd = keptEvents.get(path);
  if (fd === undefined) return;
  keptEvents.delete(path);
  closeQuietly(fd);
}

/**
 * Whether the kernel itself says that no process lives in the cgroup or below it (`populated 0` of cgroup.events): one
 * reading, and atomic, as the kernel counts while processes come and go. False when it cannot be read.
 */
export function isUnpopulated(path: string): boolean {
  const kept = keptEvents.get(path);
  let events = kept === undefined ? readAtOnce(`${path}/cgroup.events`) : rereadAtOnce(kept);
  if (kept !== undefined && events === undefined) {
    // The cgroup was removed, for which the kernel refuses the descriptor; another one may have its name by now.
    releaseEvents(path);
    events = readAtOnce(`${path}/cgroup.events`);
  }
  // Not a pattern: after each half minute it would be compiled anew, and a restart waits for this.
  return events !== undefined && (events.startsWith("populated 0\n") || events.includes("\npopulated 0\n"));
}

/** SIGKILL to all processes of the cgroup at once, forking ones included; `false` before Linux 5.14 or when it is gone. */
export function killCgroup(path: string): boolean {
  return writeControl(join(path, "cgroup.kill"), "1");
}

/** Stops (`on`) or resumes all processes of the cgroup; returns before the last one stands. */
export function freezeCgroup(path: string, on: boolean): boolean {
  return writeControl(join(path, "cgroup.freeze"), on ? "1" : "0");
}

function tryCgroup(base: string): string | undefined {
  const probe = join(base, `tradingbot-probe-${process.pid}`);
  try {
    mkdirSync(probe, { recursive: true });
    const child = Bun.spawnSync({ cmd: ["true"], cgroup: probe, stdio: ["ignore", "ignore", "ignore"] });
    return child.exitCode === 0 ? undefined : `a process started in ${probe} exited with ${child.exitCode}`;
  } catch (cause) {
    return `cannot use a cgroup below ${base}: ${cause instanceof Error ? cause.message : String(cause)}`;
  } finally {
    removeCgroup(probe);
  }
}

function childCgroups(path: string): string[] {
  try {
    // The kernel keeps this count (kernfs); it spares a look at the twenty files of every leaf.
    if (statSync(path).nlink === LEAF_LINKS) return [];
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch {
    return [];
  }
}

/** Control files exist or not; opening with O_CREAT would hide the second. */
function writeControl(path: string, value: string): boolean {
  try {
    writeFileSync(path, value, { flag: "r+" });
    return true;
  } catch {
    return false;
  }
}

/** mountinfo writes space, tab, newline and backslash as octal. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function none(reason: string): CgroupSupport {
  return { mode: "none", base: undefined, reason };
}
