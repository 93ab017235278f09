/** Everything that asks something of the daemon itself, at moments of each other: upgrades, reloads, stops, orders to close. */
import { existsSync } from "node:fs";
import { until } from "../harness.ts";
import { holdLockout, openEmergency } from "./emergency-faults.ts";
import { oneOf, type Fault } from "./fault.ts";
import type { World } from "./world.ts";

/** An upgrade takes a quarter of a second: check, answer, exec. */
const UPGRADE_MS = 400;
const ASKS = 8;
/** Between two signals in an emergency, ms. */
const ASK_MS = 300;

/** By signal and twice by request; at most one is made, and the answers of the others are cut off or refuse. */
function askThrice({ rig }: World): Promise<unknown> {
  const ask = (): Promise<unknown> =>
    rig.request("/v1/upgrade", { method: "POST", body: JSON.stringify({ binary: rig.binary }) }).catch(() => undefined);
  const asked = [ask(), ask()];
  process.kill(rig.daemon.pid, "SIGUSR1");
  return Promise.all(asked);
}

async function untilItAnswers({ rig }: World): Promise<void> {
  await until("the daemon answers", () => rig.status().catch(() => undefined));
}

export const upgradeFaults: readonly Fault[] = [
  {
    name: "upgrade of the daemon, asked for thrice, and a bot killed in it",
    async strike(world, [which, when]) {
      const pid = await world.pidOf(world.pick(which ?? 0));
      const asked = askThrice(world);
      await Bun.sleep((when ?? 0) * UPGRADE_MS);
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended by itself.
      }
      await asked;
      await untilItAnswers(world);
    },
  },
  {
    name: "upgrade of the daemon, killed in it",
    async strike(world, [when]) {
      const asked = askThrice(world);
      await Bun.sleep((when ?? 0) * UPGRADE_MS);
      await world.replaceDaemon();
      await asked;
    },
  },
  {
    name: "upgrade of the daemon, told to stop in it",
    async strike(world, [when]) {
      const asked = askThrice(world);
      await Bun.sleep((when ?? 0) * UPGRADE_MS);
      await world.rig.endDaemon("SIGTERM");
      await asked;
      await world.rig.run();
    },
  },
  {
    name: "emergency, with upgrades, reloads and further orders at moments of it",
    async strike(world, rolls) {
      await openEmergency(world, { slow: (rolls[0] ?? 0) < 0.7 });
      for (let asked = 0; asked < ASKS; asked += 1) {
        const roll = ((rolls[asked % rolls.length] ?? 0) * (asked + 3)) % 1;
        process.kill(world.rig.daemon.pid, oneOf(["SIGUSR1", "SIGHUP", "SIGUSR2"] as const, roll));
        // Safe: one after the other, that is what it is about.
        // oxlint-disable-next-line no-await-in-loop
        await Bun.sleep(roll * ASK_MS);
      }
      await untilItAnswers(world);
      await holdLockout(world);
    },
  },
  {
    name: "emergency, the daemon told to stop twice in it",
    async strike(world, [slow, when]) {
      await openEmergency(world, { slow: (slow ?? 0) < 0.7 });
      await until("the lockout is on disk", () => existsSync(world.rig.state("bots/trader/lock.json")));
      await Bun.sleep((when ?? 0) * UPGRADE_MS);
      process.kill(world.rig.daemon.pid, "SIGTERM");
      await world.rig.endDaemon("SIGTERM");
      await world.rig.run();
      await holdLockout(world);
    },
  },
];
