/** `bun run bench`: measures the built binary beside baselines of the same run and prints Markdown; `--quick` is a smoke run, `--okx` closes on OKX instead of Binance. */
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { benchBlackbox } from "./blackbox.ts";
import { benchBackup } from "./backup.ts";
import { benchClose } from "./close.ts";
import { benchDump } from "./dump.ts";
import { benchIdle } from "./idle.ts";
import { benchLoad } from "./load.ts";
import { machine, table, type Row } from "./measure.ts";
import { benchNotify } from "./notify.ts";
import { benchPeers } from "./peers.ts";
import { benchPostgres } from "./postgres.ts";
import { benchRestart } from "./restart.ts";
import { withRig, type Options, type Rig } from "./rig.ts";
import { benchSdk } from "./sdk.ts";
import { benchStart } from "./start.ts";
import { benchStore } from "./store.ts";
import { benchWorker } from "./worker.ts";

type Bench = (rig: Rig, options: Options) => Promise<readonly Row[]>;

/** `named`: takes many minutes or needs programs that are not everywhere, and runs only when it is asked for by name. */
const benches: Readonly<Record<string, { readonly title: string; readonly run: Bench; readonly named?: true }>> = {
  start: { title: "Start of a process, from spawn to its end", run: benchStart },
  idle: { title: "Idle daemon with one bot", run: benchIdle },
  restart: { title: "Restart, from SIGKILL of the bot to the first act of the next", run: benchRestart },
  peers: { title: "Beside other supervisors", run: benchPeers, named: true },
  load: { title: "Under load", run: benchLoad, named: true },
  blackbox: { title: "The bot's black box", run: benchBlackbox },
  dump: { title: "Crash dump of a hung bot", run: benchDump },
  sdk: { title: "The bot's SDK", run: benchSdk, named: true },
  store: { title: "The bot's state store", run: benchStore },
  backup: { title: "Backup of SQLite under a writer", run: benchBackup, named: true },
  postgres: { title: "Backups of PostgreSQL", run: benchPostgres, named: true },
  notify: { title: "Burst of 20 000 notify datagrams", run: benchNotify },
  worker: { title: "The close worker, from its spawn to its exit", run: benchWorker },
  close: { title: "From the death that spends the restart budget to the flat account", run: benchClose },
};

async function main(args: readonly string[]): Promise<number> {
  const built = join(import.meta.dirname, "..", "dist", "supervisor");
  const names = args.filter((arg) => arg !== "--quick" && arg !== "--okx");
  const unknown = names.find((name) => !Object.hasOwn(benches, name));
  if (unknown !== undefined) {
    console.error(
      `cannot measure "${unknown}"; use: bun run bench [--quick] [--okx] [${Object.keys(benches).join("|")}]…`,
    );
    return 2;
  }
  if (!existsSync(built)) {
    console.error(`cannot measure ${built}: it does not exist; run: bun run build`);
    return 2;
  }
  await withRig(async (rig) => {
    // A copy: a build that happens meanwhile must not change what is measured.
    const supervisor = join(rig.folder, "supervisor");
    copyFileSync(built, supervisor);
    const version = Bun.spawnSync([supervisor, "version"]).stdout.toString().trim();
    console.log(`${version}\n${machine()}\n${new Date().toISOString()}`);
    const venue = args.includes("--okx") ? "okx" : "binance";
    const options: Options = { quick: args.includes("--quick"), venue, supervisor };
    for (const [name, { title, run, named }] of Object.entries(benches)) {
      if (names.length > 0 ? !names.includes(name) : named === true) continue;
      console.log(`\n### ${title}\n\n${table(await withRig((own) => run(own, options)))}`);
    }
  });
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
