/** Trouble with processes: killed, stopped, multiplied, greedy. */
import { writeFileSync } from "node:fs";
import { isLive } from "../../../src/platform/proc.ts";
import { until } from "../harness.ts";
import type { Fault } from "./fault.ts";
import type { World } from "./world.ts";

/** Time that a stopped daemon stands still, ms: more than any watch of the bots' is long. */
const DAEMON_STOP_MS = 5_000;
/** Time that a bot without a heartbeat stands still, ms. */
const BOT_STOP_MS = 1_000;
/** In this time the fork bomb is through, ms. */
const FORKS_MS = 800;
/** Descriptors of a daemon that has too few: those that it has open, and none besides. */
const FEW_DESCRIPTORS = 5;
/** Time that it has too few, ms: longer than a restart of the bot that is killed meanwhile. */
const STARVE_MS = 2_500;

/** The bot has a new process, or its daemon one that knows of no old one. */
export async function untilReplaced(world: World, name: string, pid: number): Promise<void> {
  await until(`${name} is replaced`, async () => {
    const bot = await world.rig.bot(name);
    return bot.state === "running" && bot.pid !== pid;
  });
}

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself meanwhile.
  }
}

/** A file in the folder of the clumsy bot tells it what to do. */
async function ask(world: World, what: "FORKS" | "FLOOD" | "MEMORY"): Promise<void> {
  writeFileSync(world.rig.path(what), "");
  await until(`the clumsy bot takes ${what}`, () => world.rig.read(what) === "" && !isThere(world, what));
}

function isThere(world: World, name: string): boolean {
  return Bun.file(world.rig.path(name)).size > 0 || Bun.spawnSync(["test", "-e", world.rig.path(name)]).exitCode === 0;
}

export const processFaults: readonly Fault[] = [
  {
    name: "kill a bot",
    async strike(world, [roll]) {
      const name = world.pick(roll ?? 0);
      const pid = await world.pidOf(name);
      tryKill(pid, "SIGKILL");
      await untilReplaced(world, name, pid);
    },
  },
  {
    name: "kill a grandchild",
    async strike({ rig }) {
      const pid = await until("the grandchild says its pid", () => Number(rig.read("grandchild")) || undefined);
      tryKill(pid, "SIGKILL");
      await until("the grandchild is gone", () => !isLive(pid));
    },
  },
  { name: "kill the daemon", strike: (world) => world.replaceDaemon() },
  {
    name: "kill the daemon, and a bot while it is dead",
    async strike(world, [roll]) {
      const pid = await world.pidOf(world.pick(roll ?? 0));
      await world.replaceDaemon(() => tryKill(pid, "SIGKILL"));
    },
  },
  {
    name: "kill the daemon twice in a row, at its start",
    async strike(world, [roll]) {
      await world.replaceDaemon(async () => {
        const { pid, exited } = world.rig.spawnDaemon();
        await Bun.sleep((roll ?? 0) * 150);
        tryKill(pid, "SIGKILL");
        await exited;
      });
    },
  },
  {
    name: "stop a bot with a heartbeat (SIGSTOP)",
    async strike(world) {
      const pid = await world.pidOf("beater");
      tryKill(pid, "SIGSTOP");
      await untilReplaced(world, "beater", pid);
    },
  },
  {
    name: "stop another bot (SIGSTOP) for a moment",
    async strike(world) {
      const pid = await world.pidOf("parent");
      tryKill(pid, "SIGSTOP");
      await Bun.sleep(BOT_STOP_MS);
      tryKill(pid, "SIGCONT");
    },
  },
  {
    name: "stop a bot (SIGSTOP), then kill the daemon and go on",
    async strike(world) {
      const pid = await world.pidOf("web");
      tryKill(pid, "SIGSTOP");
      await world.replaceDaemon();
      tryKill(pid, "SIGCONT");
    },
  },
  {
    name: "stop the daemon (SIGSTOP)",
    async strike({ rig }) {
      tryKill(rig.daemon.pid, "SIGSTOP");
      await Bun.sleep(DAEMON_STOP_MS);
      tryKill(rig.daemon.pid, "SIGCONT");
    },
  },
  {
    name: "fork bomb of some hundred processes, then kill its bot",
    async strike(world, [roll]) {
      await ask(world, "FORKS");
      await Bun.sleep((roll ?? 0) * FORKS_MS);
      const pid = await world.pidOf("clumsy");
      tryKill(pid, "SIGKILL");
      await untilReplaced(world, "clumsy", pid);
    },
  },
  { name: "memory hog of 150 MB", strike: (world) => ask(world, "MEMORY") },
  { name: "output flood of 30 MB", strike: (world) => ask(world, "FLOOD") },
  {
    name: "output flood, and the daemon or a rotation killed in it",
    async strike(world, [roll]) {
      await ask(world, "FLOOD");
      await Bun.sleep((roll ?? 0) * 500);
      await world.replaceDaemon();
    },
  },
  {
    name: "descriptor exhaustion of the daemon",
    missing: () => (Bun.which("prlimit") === null ? "prlimit is not installed" : undefined),
    async strike(world, [roll, other]) {
      const { pid } = world.rig.daemon;
      const limits = await Bun.file(`/proc/${pid}/limits`).text();
      const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? "1024";
      const victim = await world.pidOf(world.pick(roll ?? 0));
      Bun.spawnSync(["prlimit", "--pid", String(pid), `--nofile=${FEW_DESCRIPTORS}:`]);
      if ((other ?? 0) < 0.7) tryKill(victim, "SIGKILL");
      await Bun.sleep(STARVE_MS);
      Bun.spawnSync(["prlimit", "--pid", String(pid), `--nofile=${soft}:`]);
      await world.untilQuiet();
      world.forgiveWords();
    },
  },
];
