/** A daemon in a PID namespace of its own, as in a container: nobody outside takes its pids for those of other processes. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { detectCgroup } from "../../src/platform/cgroup.ts";
import { lockHolder } from "../../src/platform/lock.ts";
import { children, isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { canHideCgroups, HIDE_CGROUPS, Rig, until } from "./harness.ts";

/** It ends with the daemon, and the daemon with it. */
const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const refused = Bun.spawnSync([...UNSHARE, "true"], { stderr: "ignore" }).exitCode !== 0;

test.skipIf(refused)(
  "commands outside name the daemon as it is called there (skipped where PID namespaces are refused)",
  async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    const unshare = Bun.spawn([...UNSHARE, rig.binary, "run"], {
      cwd: rig.folder,
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      await until("the daemon answers", () => rig.status().catch(() => undefined));
      await rig.botIn("running");
      const [daemon = 0] = children(unshare.pid);
      const { pid: inside } = (await rig.status()).supervisor;
      expect(inside).not.toBe(daemon);
      expect(lockHolder(rig.state("supervisor.lock"))).toBe(daemon);
      expect((await rig.cli("doctor")).out).toContain(`pid ${daemon} answers`);
      const status = await rig.cli("status");
      expect(status.out).toContain(`pid ${inside} `);
      expect(status.err).toContain("here they name other processes or none");
      expect((await rig.cli("run")).err).toContain(`the supervisor with pid ${daemon} has it`);
      expect((await rig.cli("upgrade")).code).toBe(0);
      expect(await rig.botIn("running")).toMatchObject({ adopted: true, generation: 1 });
      process.kill(daemon, "SIGSTOP");
      const silent = await rig.cli("stop", "bot");
      process.kill(daemon, "SIGCONT");
      expect(silent.err).toContain(`kill -CONT ${daemon}`);
      process.kill(daemon, "SIGTERM");
      await unshare.exited;
    } finally {
      await endNamespace(unshare);
    }
  },
);

/** Its first process ends after all others (pid_namespaces(7)), and after the program that made the namespace. */
async function endNamespace(unshare: Pick<Bun.Subprocess, "pid" | "kill" | "exited">): Promise<void> {
  const first = children(unshare.pid);
  unshare.kill("SIGKILL");
  await unshare.exited;
  await until("its namespace has ended", () => !first.some((pid) => isLive(pid)));
}

/** A PID namespace whose first process outlives the supervisor in it, as the init of a container does. */
function runBeside(rig: Rig, run: readonly string[]) {
  const cmd = [...UNSHARE, "sh", "-c", '"$@" & wait; : > ended; exec sleep 600', "sh", ...run];
  const unshare = Bun.spawn(cmd, { cwd: rig.folder, stdio: ["ignore", "ignore", "ignore"] });
  return {
    daemon: (): number => children(children(unshare.pid)[0] ?? 0)[0] ?? 0,
    async [Symbol.asyncDispose]() {
      await endNamespace(unshare);
    },
  };
}

/** `run` in another namespace, of which the first one's processes cannot be seen. */
function runElsewhere(rig: Rig, run: readonly string[]) {
  return Bun.spawn([...UNSHARE, ...run], { cwd: rig.folder, stdio: ["ignore", "ignore", "pipe"] });
}

/** Leaves a bot alive whose supervisor is dead; its pid, and that of the bot, as they are here. */
async function orphaned(rig: Rig, first: ReturnType<typeof runBeside>): Promise<number> {
  await until("the first daemon answers", () => rig.status().catch(() => undefined));
  await rig.botIn("running");
  const daemon = first.daemon();
  const [bot = 0] = children(daemon);
  expect(isLive(bot)).toBe(true);
  process.kill(daemon, "SIGKILL");
  await until("its namespace lives on without it", () => existsSync(rig.path("ended")));
  return bot;
}

test.skipIf(refused || detectCgroup().base === undefined)(
  "a bot whose supervisor died in another PID namespace is ended through its cgroup before it is started anew",
  async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    const run = [rig.binary, "run"];
    await using first = runBeside(rig, run);
    const bot = await orphaned(rig, first);
    const second = runElsewhere(rig, run);
    try {
      await until("the second daemon has started it", async () => {
        const status = await rig.status().catch(() => undefined);
        return status?.bots[0]?.state === "running" && status.bots[0].generation === 2;
      });
      expect(isLive(bot)).toBe(false);
    } finally {
      await endNamespace(second);
    }
  },
);

test.skipIf(refused || !canHideCgroups)(
  "a bot that may live in another PID namespace is refused where no cgroup tells, and goes on once that is known",
  async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } }, hideCgroups: true });
    const run = [...HIDE_CGROUPS, rig.binary];
    await using first = runBeside(rig, run);
    const bot = await orphaned(rig, first);
    const second = runElsewhere(rig, run);
    const [code, err] = [await second.exited, await new Response(second.stderr).text()];
    expect(err).toContain(
      "of which nothing can be seen from here: it may be alive there; starting it could run it twice",
    );
    expect(err).toContain(rig.state("bots/bot/identity.json"));
    expect(code).toBe(2);
    expect(isLive(bot)).toBe(true);
    // From here all of them are seen.
    await rig.run();
    await until("it is started anew", async () => (await rig.botIn("running")).generation === 2);
    expect(isLive(bot)).toBe(false);
  },
);
