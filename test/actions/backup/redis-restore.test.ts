/** Restores of real Redis servers by their files: with and without the append-only file, with a password, killed, and failing. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { restoreBackup } from "../../../src/actions/backup/restore.ts";
import { settleRestores } from "../../../src/actions/backup/restore-journal.ts";
import { startServerOf } from "../../../src/actions/backup/restore-server.ts";
import { restoreJobSchema, type RestoreJob } from "../../../src/core/restore-job.ts";
import type { JobTarget } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import type { RedisConnection } from "../../../src/platform/redis.ts";
import { eventually } from "../../platform/until.ts";
import { fillRedis, missing, PASSWORD, RedisRig } from "./redis-rig.ts";

const WHY = missing === undefined ? "" : ` (skipped: ${missing} is not installed)`;
const SERVER = { skip: missing !== undefined, timeout: 120_000 };
const DIE = join(import.meta.dirname, "..", "..", "fixtures", "restore-and-die.ts");

class RedisRestoreRig extends RedisRig {
  readonly stateDir = join(this.folder, "state");

  /** The server of the rig as a service that scripts stop and start. */
  target(settings: readonly string[], more: object = {}): JobTarget & { kind: "redis" } {
    const pidFile = join(this.folder, "pid");
    const own = ["--port", "0", "--unixsocket", this.socket, "--dir", this.data, "--save", "", "--pidfile", pidFile];
    const words = [...own, "--daemonize", "yes", "--enable-debug-command", "yes", ...settings];
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const [stop, start] = [join(this.folder, "stop.sh"), join(this.folder, "start.sh")];
    writeFileSync(stop, `pid=$(cat ${pidFile}) && kill $pid && while [ -e /proc/$pid ]; do sleep 0.02; done\n`);
    // As a service manager does it: one that runs is started.
    const running = `[ -e ${pidFile} ] && [ -e "/proc/$(cat ${pidFile})" ] && exit 0`;
    writeFileSync(start, `${running}\nexec redis-server ${quoted} > /dev/null 2>&1\n`);
    const password = settings.includes("--requirepass") ? { password: PASSWORD } : {};
    const url = `redis+unix://${this.socket}`;
    return { kind: "redis", name: "cache", url, stop: ["sh", stop], start: ["sh", start], ...password, ...more };
  }

  async startService({ start = [], password }: JobTarget & { kind: "redis" }): Promise<RedisConnection> {
    Bun.spawnSync(["mkdir", "-p", this.data]);
    Bun.spawnSync(start);
    return this.answering(password);
  }

  answering(password?: string): Promise<RedisConnection> {
    return eventually("the server answers", () => this.connect(password).catch(() => undefined));
  }

  restoreJob(target: JobTarget, more: Partial<RestoreJob> = {}): RestoreJob {
    return restoreJobSchema.parse({
      version: 1,
      target,
      from: { kind: "backup", folder: this.store, id: this.stored("cache").id },
      into: { kind: "live" },
      bots: [],
      stateDir: this.stateDir,
      socket: join(this.folder, "no.sock"),
      ...more,
    });
  }

  restore(job: RestoreJob): Promise<number> {
    return restoreBackup(job, { write: (line) => void this.lines.push(line), clock: systemClock });
  }

  async stopService({ stop = [] }: JobTarget & { kind: "redis" }): Promise<void> {
    Bun.spawnSync(stop);
  }

  get asides(): readonly string[] {
    return readdirSync(this.data).filter((name) => name.startsWith("pre-restore-"));
  }
}

/** Of all keys and values of all databases. */
const digest = async (server: RedisConnection): Promise<unknown> => server.command("DEBUG", "DIGEST");

describe.concurrent(`restoreBackup() of a Redis server${WHY}`, () => {
  test.each([
    ["with the append-only file", ["--appendonly", "yes"]],
    ["of which the append-only file was stored", ["--appendonly", "yes"], { format: "aof" }],
    [
      "of which an append-only file of another name, written as commands, was stored",
      ["--appendonly", "yes", "--appendfilename", "own.log", "--aof-use-rdb-preamble", "no"],
      { format: "aof" },
    ],
    ["without the append-only file", ["--appendonly", "no"]],
    [
      "with a password and files of other names",
      ["--appendonly", "yes", "--appenddirname", "logs", "--dbfilename", "other.rdb", "--requirepass", PASSWORD],
    ],
  ])("%s brings back every key, and keeps what was there", SERVER, async (_, settings, more?: object) => {
    await using rig = new RedisRestoreRig();
    const target = rig.target(settings, more);
    const server = await rig.startService(target);
    try {
      await fillRedis(server);
      expect(await rig.backUp(rig.job(target, { verify: "L2" }))).toBe(0);
      const before = await digest(server);
      await server.command("FLUSHALL");
      await server.command("SET", "bad", "data");
      expect(await rig.restore(rig.restoreJob(target))).toBe(0);
      const restored = await rig.answering(target.password);
      expect(await digest(restored)).toBe(before);
      restored.close();
      expect(rig.asides.length).toBe(1);
      expect(readdirSync(rig.data).filter((name) => name.startsWith(".restore-"))).toEqual([]);
    } finally {
      await rig.stopService(target);
    }
  });

  test(
    "leaves the old data and a running server when the restored one does not hold what it must",
    SERVER,
    async () => {
      await using rig = new RedisRestoreRig();
      const target = rig.target(["--appendonly", "no"]);
      const server = await rig.startService(target);
      try {
        await fillRedis(server, 20);
        expect(await rig.backUp(rig.job(target))).toBe(0);
        await server.command("SET", "newer", "data");
        // It starts with another file than it was asked for.
        const other = join(rig.folder, "wrong.sh");
        writeFileSync(
          other,
          `sed 's/redis-server/redis-server --dbfilename elsewhere.rdb/' ${target.start?.[1]} | sh\n`,
        );
        await server.command("SAVE");
        const code = await rig.restore(rig.restoreJob({ ...target, start: ["sh", other] }));
        expect([code, rig.failure()?.reason]).toEqual([8, expect.stringContaining("instead of")]);
        expect(existsSync(join(rig.data, "dump.rdb"))).toBe(true);
        await rig.stopService(target);
        const back = await rig.startService(target);
        expect(await back.command("GET", "newer")).toBe("data");
      } finally {
        await rig.stopService(target);
      }
    },
  );
});

describe.concurrent(`restoreBackup() of a Redis server, or beside one${WHY}`, () => {
  test("refuses a server that runs and may not be stopped, and touches nothing", SERVER, async () => {
    await using rig = new RedisRestoreRig();
    const target = rig.target(["--appendonly", "no"]);
    const server = await rig.startService(target);
    try {
      await fillRedis(server, 5);
      expect(await rig.backUp(rig.job(target))).toBe(0);
      const { stop: _, ...without } = target;
      expect(await rig.restore(rig.restoreJob(without))).toBe(3);
      expect(rig.failure()?.reason).toContain("stop and start");
      expect(await server.command("GET", "key:1")).toBe("x".repeat(50));
    } finally {
      await rig.stopService(target);
    }
  });

  test("puts a plain dump into a folder after a server on scratch has loaded it", SERVER, async () => {
    await using rig = new RedisRestoreRig();
    const target = rig.target(["--appendonly", "no"]);
    const server = await rig.startService(target);
    try {
      await fillRedis(server, 5);
      expect(await rig.backUp(rig.job(target))).toBe(0);
      const out = join(rig.folder, "out");
      expect(await rig.restore(rig.restoreJob(target, { into: { kind: "folder", path: out } }))).toBe(0);
      expect(readdirSync(out)).toEqual(["dump.rdb"]);
      const again = join(rig.folder, "again");
      const from = { kind: "file", path: join(out, "dump.rdb") } as const;
      expect(await rig.restore(rig.restoreJob(target, { from, into: { kind: "folder", path: again } }))).toBe(0);
    } finally {
      await rig.stopService(target);
    }
  });
});

describe.concurrent(`restoreBackup() of a Redis server that is broken off${WHY}`, () => {
  test.each(["unpacked", "stopped", "moved:1", "swapped", "checked"])(
    "killed after %s leaves the old data or the new, and the server is started again",
    SERVER,
    async (step) => {
      await using rig = new RedisRestoreRig();
      const target = rig.target(["--appendonly", "yes"]);
      const server = await rig.startService(target);
      try {
        await fillRedis(server, 20);
        expect(await rig.backUp(rig.job(target))).toBe(0);
        const restored = await digest(server);
        await server.command("SET", "newer", "data");
        const old = await digest(server);
        const child = Bun.spawn([process.execPath, DIE, step], {
          stdin: Buffer.from(JSON.stringify(rig.restoreJob(target))),
          stdout: "ignore",
          stderr: "inherit",
        });
        await child.exited;
        expect(child.signalCode).toBe("SIGKILL");
        for (const settled of settleRestores(rig.stateDir, systemClock)) {
          expect(settled.outcome).not.toBe("failed");
          expect(await startServerOf(settled, systemClock)).toBe(undefined);
        }
        const back = await rig.answering();
        expect([old, restored]).toContain(await digest(back));
        back.close();
      } finally {
        await rig.stopService(target);
      }
    },
  );
});
