/** A daemon in a PID namespace of its own, as in a container: nobody outside takes its pids for those of other processes. */
import { expect, test } from "vitest";
import { lockHolder } from "../../src/platform/lock.ts";
import { children } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

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
      unshare.kill("SIGKILL");
      await unshare.exited;
    }
  },
);
