/** Limits that come, change and go: by a reload, and while no daemon lives; and whether status says of them what the kernel has. */
import type { BotStatus } from "../../../src/core/status.ts";
import { canLimit, limitOf, v1CgroupOf } from "../kernel-limits.ts";
import { oneOf, type Fault } from "./fault.ts";
import type { World } from "./world.ts";

const MIB = 1_024 ** 2;
/** As `limitOf` tells a limit of CPU time: µs in a tenth of a second for one percent of a core. */
const US_PER_PERCENT = 1_000;

/** Limits of one bot; none is one that it comes near to. */
export interface SeededLimits {
  readonly memoryMib?: number;
  readonly cpuPercent?: number;
  readonly pids?: number;
}

const CHOICES: readonly SeededLimits[] = [
  {},
  { memoryMib: 256 },
  { memoryMib: 192, pids: 400 },
  { cpuPercent: 180 },
  { cpuPercent: 160, pids: 300 },
  { memoryMib: 224, cpuPercent: 190, pids: 350 },
];

/** Bots whose limits change. */
const CHANGED = ["beater", "parent"] as const;

/** The section of the config; `undefined` without any. */
export function limitsSection({ memoryMib, cpuPercent, pids }: SeededLimits): object | undefined {
  const section = {
    ...(memoryMib === undefined ? {} : { memory: `${memoryMib}MiB` }),
    ...(cpuPercent === undefined ? {} : { cpu: `${cpuPercent}%` }),
    ...(pids === undefined ? {} : { pids }),
  };
  return Object.keys(section).length === 0 ? undefined : section;
}

/** What status says of the limits and the kernel does not; "" when there is nothing. */
export function limitLieOf({ pid, resources, definition }: BotStatus, wanted: SeededLimits): string {
  if (!canLimit || pid === null || resources === null) return "";
  const own = (controller: "memory" | "cpu" | "pids"): number | undefined =>
    v1CgroupOf(pid, controller)?.includes("/bot-") === true ? limitOf(pid, controller) : undefined;
  const memory = own("memory");
  if ((resources.memoryLimitBytes ?? undefined) !== memory)
    return `memoryLimitBytes is ${resources.memoryLimitBytes}, and the kernel has ${memory}`;
  if (definition === "outdated") return "";
  const { memoryMib, cpuPercent, pids } = wanted;
  const expected = {
    memory: memoryMib === undefined ? undefined : memoryMib * MIB,
    cpu: cpuPercent === undefined ? undefined : cpuPercent * US_PER_PERCENT,
    pids,
  };
  const kernel = { memory, cpu: own("cpu"), pids: own("pids") };
  if (Bun.deepEquals(kernel, expected)) return "";
  return `it is current with limits ${JSON.stringify(expected)}, and the kernel has ${JSON.stringify(kernel)}`;
}

function change(world: World, [first, second]: readonly number[]): void {
  world.limit(oneOf(CHANGED, first), oneOf(CHOICES, second));
}

export const limitFaults: readonly Fault[] = [
  {
    name: "kill the daemon, and change the limits of a bot while it is dead",
    strike: (world, rolls) => world.replaceDaemon(() => change(world, rolls)),
  },
  {
    name: "kill the daemon twice, and change the limits of a bot each time",
    async strike(world, [first = 0, second = 0]) {
      await world.replaceDaemon(() => change(world, [first, second]));
      await world.replaceDaemon(() => change(world, [second, first]));
    },
  },
  {
    name: "change the limits of a bot and upgrade",
    async strike(world, rolls) {
      const { rig } = world;
      change(world, rolls);
      const { code, err } = await rig.cli("upgrade", "--binary", rig.binary, "--no-backup");
      if (code !== 0) throw new Error(`cannot upgrade: ${err}`);
    },
  },
  {
    name: "change the limits of a bot and reload",
    async strike(world, rolls) {
      change(world, rolls);
      const { code, err } = await world.rig.cli("reload");
      if (code !== 0) throw new Error(`cannot reload: ${err}`);
    },
  },
];
