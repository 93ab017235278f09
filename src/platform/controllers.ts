/**
 * The cgroup controllers memory, cpu and pids: where a bot's cgroup of each is made, on v2 below our own folder, on v1 in
 * the hierarchy of each (cgroups(7); https://docs.kernel.org/admin-guide/cgroup-v2.html, "No Internal Process Constraint").
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONTROLLERS, type Controller } from "../core/limits.ts";
import {
  cgroupPids,
  detectCgroup,
  favour,
  LEAF,
  openPlaceOfWork,
  ownV1Folder,
  removeCgroup,
  type CgroupSupport,
} from "./cgroup.ts";
import { guardHandDown } from "./handdown-guard.ts";
import { readProc } from "./proc.ts";

export interface ControllerPlace {
  readonly version: "v1" | "v2";
  /** Folder below which the bots get their cgroups. */
  readonly folder: string;
}

export interface Controllers {
  readonly mode: CgroupSupport["mode"];
  readonly places: Readonly<Partial<Record<Controller, ControllerPlace>>>;
  /** Why a controller has no place. */
  readonly obstacles: Readonly<Partial<Record<Controller, string>>>;
}

/** All that a process knows of its cgroups. */
export interface CgroupView {
  readonly support: CgroupSupport;
  readonly controllers: Controllers;
}

/** The file of each v1 controller without which its limit cannot be set: a kernel may be built without it. */
const V1_LIMIT_FILES = {
  memory: "memory.limit_in_bytes",
  cpu: "cpu.cfs_quota_us",
  pids: "pids.max",
} as const satisfies Record<Controller, string>;
/** Pids of others that an obstacle names. */
const MAX_NAMED_PIDS = 5;

type Finding = { readonly place: ControllerPlace } | { readonly obstacle: string };

/** What could be used here; moves nobody. On v2 it supposes that the supervisor will be alone in its cgroup. */
export function findControllers(support: CgroupSupport): Controllers {
  return collect(support, () => undefined);
}

/** With the controllers that are `open`, or those that could be. */
export function viewCgroups(support = detectCgroup(), open?: Controllers): CgroupView {
  return { support, controllers: open ?? findControllers(support) };
}

/**
 * The same made ready for use: where v2 has controllers for us, this process moves itself into a leaf of its cgroup and
 * hands them to the cgroups beside that leaf. Never throws; what fails is an obstacle.
 */
export function openControllers(support: CgroupSupport): Controllers {
  let guarded: { readonly failure: string | undefined } | undefined;
  return collect(support, (base, controller) => {
    if (isRoot(base)) return handDown(base, controller);
    guarded ??= { failure: leaveBase(base) ?? guardHandDown(base) };
    const obstacle = guarded.failure ?? handDown(base, controller);
    if (obstacle === undefined && controller === "cpu") shareOut(base);
    return obstacle;
  });
}

function collect(
  { mode, base, reason }: CgroupSupport,
  prepare: (base: string, controller: Controller) => string | undefined,
): Controllers {
  const places: Partial<Record<Controller, ControllerPlace>> = {};
  const obstacles: Partial<Record<Controller, string>> = {};
  for (const controller of CONTROLLERS) {
    const found: Finding = base === undefined ? { obstacle: reason } : find(base, controller, prepare);
    if ("place" in found) places[controller] = found.place;
    else obstacles[controller] = found.obstacle;
  }
  return { mode, places, obstacles };
}

function find(
  base: string,
  controller: Controller,
  prepare: (base: string, controller: Controller) => string | undefined,
): Finding {
  if (words(join(base, "cgroup.controllers")).includes(controller)) {
    const obstacle = prepare(base, controller);
    return obstacle === undefined ? { place: { version: "v2", folder: base } } : { obstacle };
  }
  const folder = ownV1Folder(readProc("/proc/self/mountinfo") ?? "", readProc("/proc/self/cgroup") ?? "", controller);
  if (folder === undefined) return { obstacle: `no cgroup controller ${controller} is given to the supervisor` };
  const obstacle = tryV1(folder, controller);
  return obstacle === undefined ? { place: { version: "v1", folder } } : { obstacle };
}

/** Makes a cgroup and looks for the limit's file in it. */
function tryV1(folder: string, controller: Controller): string | undefined {
  const probe = join(folder, `tradingbot-probe-${process.pid}`);
  try {
    mkdirSync(probe, { recursive: true });
    const file = V1_LIMIT_FILES[controller];
    return existsSync(join(probe, file)) ? undefined : `the kernel has no ${file}`;
  } catch (cause) {
    return `cannot make a cgroup in ${folder}: ${messageOf(cause)}`;
  } finally {
    removeCgroup(probe);
  }
}

/** Adds the controller to `cgroup.subtree_control` of the folder; says why when the kernel refuses. */
export function handDown(folder: string, controller: Controller): string | undefined {
  const file = join(folder, "cgroup.subtree_control");
  if (words(file).includes(controller)) return undefined;
  try {
    writeFileSync(file, `+${controller}`, { flag: "r+" });
    return undefined;
  } catch (cause) {
    return `cannot hand controller ${controller} down from ${folder}: ${messageOf(cause)}`;
  }
}

/** The root of the machine may have processes and controllers; it alone has no type (cgroups(7)). */
function isRoot(base: string): boolean {
  return !existsSync(join(base, "cgroup.type"));
}

/**
 * Moves this process out of `base` into a leaf below it; the obstacle when somebody else is in it too. A cgroup with
 * processes in it cannot hand memory or pids down, and once it hands cpu down nothing can be started below it (ENOTSUP).
 */
function leaveBase(base: string): string | undefined {
  try {
    const pids = cgroupPids(base, 0);
    if (pids.length === 0) return undefined;
    const others = pids.filter((pid) => pid !== process.pid);
    if (others.length > 0) {
      const named = others.slice(0, MAX_NAMED_PIDS).join(", ");
      return `the supervisor shares its cgroup with pid ${named}; run it as a unit of its own with Delegate=yes`;
    }
    const leaf = join(base, LEAF);
    mkdirSync(leaf, { recursive: true });
    writeFileSync(join(leaf, "cgroup.procs"), String(process.pid), { flag: "r+" });
    return undefined;
  } catch (cause) {
    return `cannot move the supervisor into a cgroup of its own below ${base}: ${messageOf(cause)}`;
  }
}

/**
 * Bots that burn what they can must not keep the supervisor from seeing and ending them, nor from its watchdog; its own
 * backups must not keep the bots from their work. Best effort: no limit of a bot hangs on it.
 */
function shareOut(base: string): void {
  // Where the supervisor sits in a cgroup of another name, its owner gives it its share.
  if (favour(join(base, LEAF))) openPlaceOfWork(base);
}

/**
 * Takes away empty v1 cgroups that an earlier supervisor of this installation left here, also where nothing is limited any more; those
 * with processes in them stay.
 */
export function removeStaleCgroups(installation: string): void {
  const [mounts, own] = [readProc("/proc/self/mountinfo") ?? "", readProc("/proc/self/cgroup") ?? ""];
  for (const controller of CONTROLLERS) {
    const folder = ownV1Folder(mounts, own, controller);
    if (folder === undefined) continue;
    for (const name of listFolder(folder))
      if (name.startsWith("bot-") && name.endsWith(`-${installation}`)) removeCgroup(join(folder, name));
  }
}

function listFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function words(path: string): readonly string[] {
  return (readProc(path) ?? "").split(/\s+/).filter(Boolean);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
