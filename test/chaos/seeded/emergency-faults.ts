/** Emergencies of the trader, undisturbed and disturbed: the account ends flat, the lockout holds, a person ends it. */
import { existsSync } from "node:fs";
import { SPOILED_CONTENTS, WRONG_KINDS } from "../damage.ts";
import { until } from "../harness.ts";
import { HOLDINGS, ordersSent } from "../paper.ts";
import { findProcess } from "../processes.ts";
import { oneOf, type Fault } from "./fault.ts";
import type { World } from "./world.ts";

/** Time that each order of a disturbed close takes, ms. */
const SLOW_ORDER_MS = 1_200;
/** Time that a worker of a close stands still in the middle of it, ms. */
const WORKER_STOP_MS = 1_500;

/** Opens an emergency by signal; `slow` leaves time for a disturbance in the middle of the close. */
export async function openEmergency(world: World, { slow }: { slow: boolean }): Promise<void> {
  await world.paper.control("seed", HOLDINGS);
  if (slow)
    await world.paper.control("fault", {
      kind: "latency",
      match: "POST /fapi/v1/order",
      ms: SLOW_ORDER_MS,
      times: 2,
    });
  const before = ordersSent(world.paper.state());
  world.locked.add("trader");
  process.kill(world.rig.daemon.pid, "SIGUSR2");
  if (slow) await until("the first order is on its way", () => ordersSent(world.paper.state()) > before);
}

/** The lockout holds over a daemon's death and against `start`; then a person ends it. */
export async function holdLockout(world: World, meanwhile?: () => void): Promise<void> {
  await world.untilQuiet();
  await world.check();
  await world.replaceDaemon(meanwhile);
  await world.untilQuiet();
  await world.check();
  const start = await world.rig.cli("start", "trader");
  if (start.code !== 1) throw new Error(`a locked bot could be started: ${start.out}`);
  const arm = await world.rig.cli("arm", "trader", "--reason", "the fault is over", "--accept-positions");
  if (arm.code !== 0) throw new Error(`cannot arm: ${arm.err}`);
  world.locked.delete("trader");
}

function worker(world: World): Promise<number> {
  return until("the close worker runs", () => findProcess(world.rig.folder, "__action", "close-positions"));
}

export const emergencyFaults: readonly Fault[] = [
  {
    name: "emergency",
    async strike(world) {
      await openEmergency(world, { slow: false });
      await holdLockout(world);
    },
  },
  {
    name: "emergency, its worker killed",
    async strike(world) {
      await openEmergency(world, { slow: true });
      process.kill(await worker(world), "SIGKILL");
      await holdLockout(world);
    },
  },
  {
    name: "emergency, its worker stopped (SIGSTOP)",
    async strike(world) {
      await openEmergency(world, { slow: true });
      const pid = await worker(world);
      process.kill(pid, "SIGSTOP");
      await Bun.sleep(WORKER_STOP_MS);
      process.kill(pid, "SIGCONT");
      await holdLockout(world);
    },
  },
  {
    name: "emergency, the daemon killed at a moment of it",
    async strike(world, [roll]) {
      await openEmergency(world, { slow: (roll ?? 0) < 0.5 });
      const lock = world.rig.state("bots/trader/lock.json");
      await until("the lockout is on disk", () => existsSync(lock));
      await Bun.sleep((roll ?? 0) * 1_000);
      await world.replaceDaemon();
      await holdLockout(world);
    },
  },
  {
    name: "emergency, and a copy of the lockout spoiled",
    async strike(world, [which, where, copy]) {
      await openEmergency(world, { slow: false });
      const path = world.rig.state(`bots/trader/${oneOf(["lock.json", "lock.slot"], copy)}`);
      await holdLockout(world, () => oneOf([...SPOILED_CONTENTS, ...WRONG_KINDS], which).spoil(path, where ?? 0));
    },
  },
];
