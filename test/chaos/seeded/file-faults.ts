/** Trouble with files and disks: spoiled while the daemon is dead, full, read-only. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FORBIDDEN, SPOILED_CONTENTS, WRONG_KINDS, type Damage } from "../damage.ts";
import { oneOf, type Fault } from "./fault.ts";
import { untilReplaced } from "./process-faults.ts";
import type { World } from "./world.ts";

const CONTENTS = [...SPOILED_CONTENTS, FORBIDDEN];
const ANY = [...CONTENTS, ...WRONG_KINDS];

/** Largest piece of ballast, bytes. */
const BALLAST_BYTES = 1_048_576;

/** Spoils a file of the state folder between two daemons. */
function spoiled(file: string, damages: readonly Damage[], forgive?: (world: World) => void): Fault {
  return {
    name: `spoiled ${file}`,
    async strike(world, [which, where, bot]) {
      const path = world.rig.state(file.replace("BOT", world.pick(bot ?? 0)));
      await world.replaceDaemon(() => oneOf(damages, which).spoil(path, where ?? 0));
      forgive?.(world);
    },
  };
}

/** Takes every byte that is left on the journal's disk; the ballast's names. */
function fill(folder: string): string[] {
  const names: string[] = [];
  for (let bytes = BALLAST_BYTES; bytes >= 1; bytes = Math.floor(bytes / 2)) {
    for (let n = 0; ; n += 1) {
      const name = join(folder, `ballast-${bytes}-${n}`);
      try {
        names.push(name);
        writeFileSync(name, "x".repeat(bytes));
      } catch {
        break;
      }
    }
  }
  return names;
}

export const fileFaults: readonly Fault[] = [
  spoiled("bots/BOT/identity.json", ANY, (world) => world.forgiveGenerations()),
  spoiled("bots/BOT/output.json", ANY),
  spoiled("bots/BOT/runs.ndjson", ANY),
  spoiled("status.json", ANY),
  spoiled("supervisor.lock", CONTENTS),
  spoiled("run/bots/BOT.level", ANY),
  spoiled("run/control.sock", WRONG_KINDS),
  spoiled("run/bots/BOT.notify", WRONG_KINDS),
  spoiled("run/bots/BOT.sock", WRONG_KINDS),
  spoiled("journal/000001.ndjson", ANY, (world) => world.forgiveJournal()),
  {
    name: "full disk under the journal",
    missing: ({ hasSmallDisk }) => (hasSmallDisk ? undefined : "a small disk cannot be mounted here"),
    async strike(world, [roll]) {
      const ballast = fill(world.rig.state("journal"));
      const name = world.pick(roll ?? 0);
      const pid = await world.pidOf(name);
      process.kill(pid, "SIGKILL");
      await untilReplaced(world, name, pid);
      for (const piece of ballast)
        await Bun.file(piece)
          .delete()
          .catch(() => undefined);
      // The longest pause of a journal that failed, and one line that shows that it writes again.
      await Bun.sleep(5_500);
      world.forgiveJournal();
      await world.rig.cli("restart", "web");
    },
  },
  {
    name: "read-only state folder of the bots",
    missing: ({ hasSmallDisk }) => (hasSmallDisk ? undefined : "a folder cannot be mounted read-only here"),
    async strike(world, [roll]) {
      const folder = world.rig.state("bots");
      Bun.spawnSync(["mount", "--bind", folder, folder]);
      Bun.spawnSync(["mount", "-o", "remount,bind,ro", folder]);
      try {
        const name = world.pick(roll ?? 0);
        const pid = await world.pidOf(name);
        process.kill(pid, "SIGKILL");
        await untilReplaced(world, name, pid);
      } finally {
        Bun.spawnSync(["umount", "-l", folder]);
      }
      // What could not be written stays unwritten until the next start: the identity is of an earlier process.
      world.forgiveGenerations();
    },
  },
];
