/** The limits of one bot: what of them holds here, the cgroups they need at each start, and what its memory does meanwhile. */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  CONTROLLERS,
  controllersOf,
  planLimits,
  wantedOf,
  type Controller,
  type EnforcedLimits,
  type LimitGap,
  type Limits,
} from "../../core/limits.ts";
import type { Policy, State } from "../../core/lifecycle-types.ts";
import { formatSize } from "../../core/size.ts";
import type { Clock } from "../../platform/clock.ts";
import { removeCgroup } from "../../platform/cgroup.ts";
import {
  countOomKills,
  hasController,
  liftLimits,
  limitCpu,
  limitMemory,
  limitPids,
  memoryLimit,
  residentMemory,
  usedMemory,
  wasKilledWhole,
} from "../../platform/cgroup-limits.ts";
import { botFolderOf, isLate, LATE, moveInto, pastCgroup, v1CgroupOfStart } from "../../platform/cgroup-move.ts";
import { handDown, type ControllerPlace, type Controllers } from "../../platform/controllers.ts";
import { memoryPressure } from "../../platform/pressure.ts";
import { limitPrefix, processPowers } from "../../platform/process-limits.ts";
import { joinsAsItself, type User } from "../../platform/user.ts";
import { SoftMemory } from "./soft-memory.ts";

export interface BotLimitsDeps {
  readonly limits: Limits | undefined;
  /** What the machine has; `undefined` for a supervisor that starts nothing, or nothing limited. */
  readonly controllers: Controllers | undefined;
  readonly user: User | undefined;
  /** Name of the bot's cgroup in every hierarchy. */
  readonly cgroupName: string;
  readonly clock: Clock;
  readonly fact: (level: "info" | "warn" | "alert", text: string) => void;
}

/** The cgroup of one start in the hierarchy of one controller. */
interface Leaf {
  readonly version: ControllerPlace["version"];
  readonly path: string;
}

/** A start of an earlier supervisor that is gone on with. */
export interface AdoptedStart {
  readonly invocationId: string;
  /** Its own in the v2 hierarchy. */
  readonly cgroup: string | undefined;
  /** Its main process and all pids of its tree, as of now; `undefined`: it has ended. */
  readonly living: { readonly pid: number; readonly pids: () => readonly number[] } | undefined;
}

export interface LimitPlan {
  readonly enforced: EnforcedLimits;
  readonly gaps: readonly LimitGap[];
}

/** What holds of `limits` for a bot that runs as `user`; with `pid`, by the rights of that process instead of this one. */
export function planFor(limits: Limits, controllers: Controllers, user: User | undefined, pid?: number): LimitPlan {
  const obstacles = { ...controllers.obstacles };
  for (const controller of controllersOf(limits))
    if (controllers.places[controller]?.version === "v1" && joinsAsItself(user))
      obstacles[controller] = "a bot of another user joins its cgroups only with setpriv (package util-linux)";
  const slowsMemory = controllers.places.memory?.version === "v2";
  return planLimits(limits, { mode: controllers.mode, obstacles, slowsMemory, ...processPowers(pid) });
}

export class BotLimits {
  #deps: BotLimitsDeps;
  #plan: LimitPlan;
  readonly #leaves = new Map<Controller, Leaf>();
  readonly #soft: SoftMemory;
  #cgroup: string | undefined;
  /** Nothing was limited since the last `settle`: a restart without limits passes it by. */
  #settled = false;
  /** The living start was adopted. */
  #adopted = false;
  /** Controllers whose limits do not hold for the adopted start, or not wholly. */
  readonly #unmet = new Set<Controller>();
  #earlierOomKills = 0;
  /** Counts at the last look and at the one before. */
  #seenOomKills: readonly [number, number] = [0, 0];

  constructor(deps: BotLimitsDeps) {
    this.#deps = deps;
    this.#plan = planOf(deps);
    const { limits, clock, fact } = deps;
    this.#soft = new SoftMemory({ limits, enforced: this.#plan.enforced, clock, fact });
  }

  /** A reload's limits hold from here on: of a living start those that it has cgroups for, the others from the next start on. */
  change(limits: Limits | undefined, controllers: Controllers | undefined): void {
    const before = this.#plan;
    this.#deps = { ...this.#deps, limits, controllers };
    this.#plan = planOf(this.#deps);
    this.#soft.change({ limits, enforced: this.#plan.enforced });
    this.#settled = false;
    if (!Bun.deepEquals(before.gaps, this.#plan.gaps)) this.tellGaps();
    for (const [controller, leaf] of this.#leaves) this.#setAgain(controller, leaf, before.enforced);
  }

  #setAgain(controller: Controller, leaf: Leaf, before: EnforcedLimits): void {
    const { enforced } = this.#plan;
    if (SETTINGS[controller].every((key) => before[key] === enforced[key])) return;
    this.#setOnLiving(controller, leaf);
  }

  /** Never below what the bot uses already: the kernel would kill it for that. Never throws. */
  #setOnLiving(controller: Controller, leaf: Leaf): void {
    const { enforced } = this.#plan;
    const used = controller === "memory" ? usedMemory(leaf.version, leaf.path) : undefined;
    const { memoryBytes } = enforced;
    if (used !== undefined && memoryBytes !== undefined && used >= memoryBytes)
      return this.#tellTooMuch(memoryBytes, used);
    try {
      setLimit(controller, leaf, enforced);
      this.#unmet.delete(controller);
      if (controller === "memory" && memoryBytes !== undefined && this.#undercounted)
        this.#tellUnmet(
          "memory",
          `limits.memory ${formatSize(memoryBytes)} came when the bot ran, and holds for what it has taken since; what it had by then counts from its next start on`,
        );
    } catch (error) {
      this.#tellUnmet(controller, `limits.${controller} holds from the next start on: ${messageOf(error)}`);
    }
  }

  #tellTooMuch(memoryBytes: number, used: number): void {
    this.#tellUnmet(
      "memory",
      `limits.memory ${formatSize(memoryBytes)} holds from the next start on: the bot uses ${formatSize(used)} now, and the kernel would kill it`,
    );
  }

  /** A limit of the living start does not hold. That alone ends no bot that may trade, however strict its limits are. */
  #tellUnmet(controller: Controller, text: string): void {
    if (this.#adopted) this.#unmet.add(controller);
    const strict = this.#deps.limits?.strict === true;
    this.#deps.fact("alert", strict ? `${text}; limits.strict ends no bot that runs` : text);
  }

  /** What the adopted start had in memory when its limit came is not in the count of its cgroup. */
  get #undercounted(): boolean {
    const leaf = this.#leaves.get("memory");
    return leaf !== undefined && isLate(leaf.path);
  }

  /** Limits of the config that do not hold for the bot as it was adopted, or not wholly: a start makes them. */
  get unmet(): readonly Controller[] {
    return [...this.#unmet];
  }

  /** Why the bot must not be started; `undefined` when it may. */
  get refusal(): string | undefined {
    const gaps = this.#plan.gaps.filter(({ watched }) => watched !== true);
    if (this.#deps.limits?.strict !== true || gaps.length === 0) return undefined;
    return `limits.strict forbids this start: ${gaps.map(({ key, message }) => `limits.${key} ${message}`).join("; ")}`;
  }

  /** The limit that the kernel holds the living start to, as it says itself, bytes; `null` without one. */
  get memoryBytes(): number | null {
    const leaf = this.#leaves.get("memory");
    return leaf === undefined ? null : (memoryLimit(leaf.version, leaf.path) ?? null);
  }

  /** Processes of the bot that the kernel has killed for want of memory since the supervisor started. */
  get oomKills(): number {
    return this.#earlierOomKills + this.#countOomKills();
  }

  /** Memory of the living start as the kernel counts it, bytes; `undefined` where no limit has it counted. */
  get usedBytes(): number | undefined {
    const leaf = this.#undercounted ? undefined : this.#leaves.get("memory");
    return leaf === undefined ? undefined : usedMemory(leaf.version, leaf.path);
  }

  /** The bot uses more than `memoryHigh`, is about to reach its limit, or does little but wait for memory. */
  get strained(): boolean {
    return this.#soft.strained;
  }

  /** Why the bot is to be restarted politely now; `undefined`: it is not. `inFlight`: orders that it says are under way. */
  relief(inFlight: number | undefined, state: State, policy: Policy): string | undefined {
    return this.#soft.relief(inFlight, state, policy);
  }

  /** Says once what of the config does not hold here. */
  tellGaps(): void {
    for (const { key, message } of this.#plan.gaps) this.#deps.fact("warn", `limits.${key} ${message}`);
  }

  /**
   * Makes ready what one start needs and returns what goes before its command. `cgroup` is its own in the v2 hierarchy.
   * Throws when a limit that should hold cannot be set.
   */
  prepare(invocationId: string, cgroup: string | undefined, env: Readonly<Record<string, string>>): readonly string[] {
    this.settle();
    this.#cgroup = cgroup;
    if (this.#deps.limits === undefined) return [];
    this.#enterCgroups(invocationId, cgroup);
    for (const [controller, leaf] of this.#leaves) setLimit(controller, leaf, this.#plan.enforced);
    return limitPrefix(this.#plan.enforced, this.#procsToJoin(), env);
  }

  /**
   * Goes on with the start of an earlier supervisor: it is looked up in which cgroups it is, as that one may have sat elsewhere and
   * had other limits. What the config wants now is set there, what it does not want any more is taken away. Never throws.
   */
  adopt(start: AdoptedStart): void {
    this.#settled = false;
    this.#adopted = true;
    this.#cgroup = start.cgroup;
    for (const controller of CONTROLLERS)
      try {
        this.#goOnWith(controller, start);
      } catch (error) {
        this.#tellUnmet(controller, `limits.${controller} does not hold before the next start: ${messageOf(error)}`);
      }
    const kills = this.#countOomKills();
    this.#seenOomKills = [kills, kills];
  }

  #goOnWith(controller: Controller, start: AdoptedStart): void {
    const { limits, controllers } = this.#deps;
    const place = controllers?.places[controller];
    const found = this.#find(controller, start);
    if (found !== undefined) {
      this.#leaves.set(controller, found);
      if (start.living !== undefined) this.#lift(controller, found);
    }
    if (place === undefined || start.living === undefined || !controllersOf(limits).includes(controller)) return;
    const leaf = found ?? this.#takeIn(controller, place, start);
    if (leaf === undefined) return;
    this.#leaves.set(controller, leaf);
    this.#setOnLiving(controller, leaf);
  }

  /** Takes away what the config does not limit any more. */
  #lift(controller: Controller, { version, path }: Leaf): void {
    try {
      liftLimits(controller, version, path, wantedOf(this.#deps.limits));
    } catch (error) {
      this.#tellUnmet(controller, `limits.${controller} is gone, and holds until the next start: ${messageOf(error)}`);
    }
  }

  /** The cgroup of ours in which the start is, or was; `undefined` where it has none. */
  #find(controller: Controller, { invocationId, cgroup, living }: AdoptedStart): Leaf | undefined {
    if (cgroup !== undefined && hasController(cgroup, controller)) return { version: "v2", path: cgroup };
    if (living !== undefined) {
      const path = v1CgroupOfStart(living.pid, invocationId, controller);
      return path === undefined ? undefined : { version: "v1", path };
    }
    const place = this.#deps.controllers?.places[controller];
    const path =
      place?.version === "v1" ? pastCgroup(join(place.folder, this.#deps.cgroupName, invocationId)) : undefined;
    return path === undefined ? undefined : { version: "v1", path };
  }

  /** Makes a cgroup for limits that are new to the living start, and moves its whole tree there; `undefined`: it is left where it is. */
  #takeIn(controller: Controller, place: ControllerPlace, start: AdoptedStart): Leaf | undefined {
    const { invocationId, cgroup, living } = start;
    const pids = living?.pids ?? (() => []);
    const { memoryBytes } = this.#plan.enforced;
    const moves = controller === "memory" && place.version === "v1";
    // Use and growth are watched without it.
    if (moves && memoryBytes === undefined) return undefined;
    const used = moves ? residentMemory(pids()) : 0;
    if (moves && memoryBytes !== undefined && used >= memoryBytes) {
      this.#tellTooMuch(memoryBytes, used);
      return undefined;
    }
    const own = this.#makeLeaf(controller, place, invocationId, cgroup);
    // The kernel leaves what is charged where it was charged.
    const leaf = moves ? { ...own, path: join(own.path, LATE) } : own;
    mkdirSync(leaf.path, { recursive: true });
    const failure = moveInto(leaf.path, pids);
    if (failure !== undefined) throw new Error(failure);
    return leaf;
  }

  /** Whether the kernel has just killed for want of memory; asked when the bot ended by SIGKILL, or adopted, so that nobody knows how. */
  wasOom(): boolean {
    const leaf = this.#leaves.get("memory");
    if (leaf === undefined) return false;
    // The end may be seen many looks later, where the machine is so short of memory that the supervisor itself waits.
    if (wasKilledWhole(leaf.version, leaf.path)) return true;
    return this.#countOomKills() > this.#seenOomKills[0];
  }

  /** One look at the memory of the living bot; `pids` are asked for only where no cgroup counts. True when `strained` changed. */
  look(pids: () => readonly number[]): boolean {
    this.#noteOomKills();
    if (!this.#soft.wanted) return false;
    const leaf = this.#undercounted ? undefined : this.#leaves.get("memory");
    const usedBytes = leaf === undefined ? residentMemory(pids()) : usedMemory(leaf.version, leaf.path);
    const pressurePercent = this.#cgroup === undefined ? undefined : memoryPressure(this.#cgroup);
    return this.#soft.look({ usedBytes, pressurePercent });
  }

  /** The start is over and nothing of it lives: its v1 cgroups are taken away. */
  settle(): void {
    this.#cgroup = undefined;
    if (this.#settled) return;
    this.#settled = true;
    this.#earlierOomKills += this.#countOomKills();
    this.#seenOomKills = [0, 0];
    this.#soft.reset();
    this.#adopted = false;
    this.#unmet.clear();
    // An earlier supervisor may have made them elsewhere than we do.
    for (const { version, path } of this.#leaves.values()) if (version === "v1") removeCgroup(botFolderOf(path));
    this.#leaves.clear();
    for (const place of Object.values(this.#deps.controllers?.places ?? {}))
      if (place.version === "v1") removeCgroup(join(place.folder, this.#deps.cgroupName));
  }

  #enterCgroups(invocationId: string, cgroup: string | undefined): void {
    this.#settled = false;
    this.#cgroup = cgroup;
    for (const controller of controllersOf(this.#deps.limits)) {
      const place = this.#deps.controllers?.places[controller];
      if (place === undefined) continue;
      this.#leaves.set(controller, this.#makeLeaf(controller, place, invocationId, cgroup));
    }
  }

  #makeLeaf(controller: Controller, place: ControllerPlace, invocationId: string, cgroup: string | undefined): Leaf {
    if (place.version === "v1") {
      const path = join(place.folder, this.#deps.cgroupName, invocationId);
      mkdirSync(path, { recursive: true });
      return { version: "v1", path };
    }
    if (cgroup === undefined) throw new Error(`cannot limit ${controller}: this start has no cgroup`);
    const refused = handDown(dirname(cgroup), controller);
    if (refused !== undefined) throw new Error(refused);
    return { version: "v2", path: cgroup };
  }

  /** The v1 cgroups; the v2 one is joined by the spawn itself. Two controllers may share a hierarchy. */
  #procsToJoin(): readonly string[] {
    const paths = [...this.#leaves.values()].filter(({ version }) => version === "v1").map(({ path }) => path);
    return [...new Set(paths)].map((path) => join(path, "cgroup.procs"));
  }

  #countOomKills(): number {
    const leaf = this.#leaves.get("memory");
    return leaf === undefined ? 0 : countOomKills(leaf.version, leaf.path);
  }

  #noteOomKills(): void {
    const kills = this.#countOomKills();
    const [, last] = this.#seenOomKills;
    this.#seenOomKills = [last, kills];
    if (kills > last) this.#deps.fact("warn", "the kernel killed a process of the bot for want of memory");
  }
}

/** What is set in the cgroup of each controller. */
const SETTINGS = {
  memory: ["memoryBytes", "memoryHighBytes"],
  cpu: ["cpuPercent"],
  pids: ["pids"],
} as const satisfies Record<Controller, readonly (keyof EnforcedLimits)[]>;

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function planOf({ limits, controllers, user }: BotLimitsDeps): LimitPlan {
  const bare = limits === undefined || controllers === undefined;
  return bare ? { enforced: {}, gaps: [] } : planFor(limits, controllers, user);
}

function setLimit(controller: Controller, { version, path }: Leaf, limits: EnforcedLimits): void {
  switch (controller) {
    case "memory":
      return limitMemory(version, path, limits);
    case "cpu":
      return limits.cpuPercent === undefined ? undefined : limitCpu(version, path, limits.cpuPercent);
    case "pids":
      return limits.pids === undefined ? undefined : limitPids(path, limits.pids);
  }
}
