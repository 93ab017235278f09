/** The append-only file of a real Redis server as a source: consistent while it is rewritten, proven at every level, and refused when it is none. */
import { execFileSync } from "node:child_process";
import { createReadStream, mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { eventually } from "../../platform/until.ts";
import { decodeStream } from "../../../src/actions/backup/encode.ts";
import { exportBackup } from "../../../src/actions/backup/export.ts";
import { redisProver } from "../../../src/actions/backup/redis.ts";
import { proveAof } from "../../../src/actions/backup/redis-aof.ts";
import { readPart } from "../../../src/actions/backup/repository.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import type { JobTarget } from "../../../src/core/backup-job.ts";
import { exportJobSchema } from "../../../src/core/restore-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import type { RedisConnection } from "../../../src/platform/redis.ts";
import { fillRedis, missing, RedisRig } from "./redis-rig.ts";

vi.setConfig({ testTimeout: 120_000 });
const SERVER = { concurrent: true, skip: missing !== undefined };
const WHY = missing === undefined ? "" : ` (skipped: ${missing} is not installed)`;

const targetOf = (rig: RedisRig): JobTarget => ({
  ...rig.redis,
  kind: "redis",
  url: `redis+unix://${rig.socket}`,
  format: "aof",
});

const rawOf = (rig: RedisRig) => {
  const { folder, manifest } = rig.stored("cache");
  return decodeStream(manifest, { read: readPart.bind(undefined, folder), identity: undefined });
};

/** Orders that are counted in one transaction with their entry, until it is told to stop; how many were acknowledged. */
class Writer {
  acknowledged = 0;
  #over = false;
  readonly #work: Promise<void>;

  constructor(server: RedisConnection) {
    this.#work = this.#write(server);
  }

  async #write(server: RedisConnection): Promise<void> {
    /* oxlint-disable no-await-in-loop -- Safe: each order follows the one before. */
    while (!this.#over) {
      const next = this.acknowledged + 1;
      for (const words of [["MULTI"], ["INCR", "count"], ["RPUSH", "orders", `order ${next}`], ["EXEC"]])
        await server.command(...words);
      this.acknowledged = next;
    }
    /* oxlint-enable no-await-in-loop */
  }

  stop(): Promise<void> {
    this.#over = true;
    return this.#work;
  }
}

test(
  `makeBackup() of an append-only file holds whole transactions up to its instant, while the file is rewritten again and again${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const server = await rig.start("--appendonly", "yes");
    await fillRedis(server, 2_000);
    const writer = new Writer(await rig.connect());
    const over = new AbortController();
    const rewriting = (async () => {
      let rewrites = 0;
      /* oxlint-disable no-await-in-loop -- Safe: each rewrite is asked for once the one before is answered. */
      for (; !over.signal.aborted; rewrites += 1) {
        // One that is under way already is answered with an error.
        await server.command("BGREWRITEAOF").catch(() => undefined);
        await eventually("the rewrite ends", async () => {
          // Redis tells nobody when one has ended.
          const state = await server.info("persistence");
          return ["aof_rewrite_in_progress", "aof_rewrite_scheduled"].every((key) => state.get(key) === "0");
        });
      }
      /* oxlint-enable no-await-in-loop */
      return rewrites;
    })();
    try {
      for (let n = 0; n < 3; n += 1) {
        const before = writer.acknowledged;
        // oxlint-disable-next-line no-await-in-loop -- Safe: one backup after the other.
        expect(await rig.backUp(rig.job(targetOf(rig), { verify: "L1" }))).toBe(0);
        const after = writer.acknowledged;
        const backup = rig.repository("cache").list().backups.at(-1);
        if (backup === undefined) throw new Error("there is no backup");
        const { folder, manifest } = backup;
        const place = join(rig.folder, `proof-${n}`);
        mkdirSync(place);
        const raw = decodeStream(manifest, { read: readPart.bind(undefined, folder), identity: undefined });
        // oxlint-disable-next-line no-await-in-loop -- Safe: one backup after the other.
        await proveAof(raw, place, async (restored) => {
          const count = Number(await restored.command("GET", "count"));
          expect(await restored.command("LLEN", "orders")).toBe(count);
          expect(await restored.command("LINDEX", "orders", "-1")).toBe(`order ${count}`);
          expect(count).toBeGreaterThanOrEqual(before);
          // One more may have been written and not acknowledged.
          expect(count).toBeLessThanOrEqual(after + 1);
          expect(await restored.command("EXISTS", "key:1999")).toBe(1);
        });
      }
    } finally {
      over.abort();
      expect(await rewriting).toBeGreaterThan(0);
      await writer.stop();
    }
  },
);

test(
  `verifyBackup() proves an append-only file at every level, and finds a log that ends within a command${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const server = await rig.start("--appendonly", "yes");
    await fillRedis(server);
    expect(await rig.backUp(rig.job(targetOf(rig)))).toBe(0);
    const { folder, manifest } = rig.stored("cache");
    expect(manifest).toMatchObject({
      raw: { name: "appendonlydir.tar" },
      content: { files: 3 },
      engine: { appendonly: true },
    });
    for (const level of ["L0", "L1", "L2", "L3"] as const) {
      const options = { folder, manifest, level, scratch: rig.folder, identity: undefined, clock: systemClock };
      // oxlint-disable-next-line no-await-in-loop -- Safe: one level after the other.
      expect(await verifyBackup(options)).toMatchObject({ ok: true, level });
    }
    const place = join(rig.folder, "cut");
    mkdirSync(place);
    await proveAof(rawOf(rig), place);
    const log = readdirSync(join(place, "appendonlydir")).find((name) => name.endsWith(".incr.aof")) ?? "";
    const path = join(place, "appendonlydir", log);
    truncateSync(path, statSync(path).size - 3);
    const tar = join(rig.folder, "cut.tar");
    execFileSync("tar", [
      "-cf",
      tar,
      "-C",
      place,
      ...readdirSync(join(place, "appendonlydir")).map((name) => `appendonlydir/${name}`),
    ]);
    await expect(redisProver.parse(createReadStream(tar), manifest)).rejects.toThrow("ends within a command");
    const again = join(rig.folder, "again");
    mkdirSync(again);
    await expect(redisProver.prove(createReadStream(tar), manifest, again, undefined)).rejects.toThrow(
      /redis-check-aof refuses it|does not load/,
    );
  },
);

test(`makeBackup() of an append-only file leaves out half a command at its end${WHY}`, SERVER, async () => {
  await using rig = new RedisRig();
  const server = await rig.start("--appendonly", "yes");
  await fillRedis(server, 20);
  await eventually("the file holds all of it", async () => {
    // While it is being flushed, the server answers before it has written.
    const state = await server.info("persistence");
    return ["aof_buffer_length", "aof_pending_bio_fsync"].every((key) => state.get(key) === "0");
  });
  const folder = join(rig.data, "appendonlydir");
  const log = readdirSync(folder).find((name) => name.endsWith(".incr.aof")) ?? "";
  writeFileSync(join(folder, log), "*3\r\n$3\r\nSET\r\n$4\r\nha", { flag: "a" });
  expect(await rig.backUp(rig.job(targetOf(rig), { verify: "L2" }))).toBe(0);
});

test(`makeBackup() of an append-only file fails with 3 when the server writes none${WHY}`, SERVER, async () => {
  await using rig = new RedisRig();
  await rig.start("--appendonly", "no");
  expect(await rig.backUp(rig.job(targetOf(rig)))).toBe(3);
  expect(rig.failure()?.reason).toContain("appendonly no");
});

test(
  `makeBackup() of an append-only file that has just been switched on is that of now, not of what lay there${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const server = await rig.start("--appendonly", "yes");
    await server.command("SET", "old", "1");
    await server.command("CONFIG", "SET", "appendonly", "no");
    await server.command("DEL", "old");
    await server.command("SET", "new", "1");
    await server.command("CONFIG", "SET", "appendonly", "yes");
    expect(await rig.backUp(rig.job(targetOf(rig)))).toBe(0);
    const place = join(rig.folder, "proof");
    mkdirSync(place);
    await proveAof(rawOf(rig), place, async (restored) => {
      expect(await restored.command("EXISTS", "old")).toBe(0);
      expect(await restored.command("EXISTS", "new")).toBe(1);
    });
  },
);

test(`exportBackup() writes an append-only file as a tar, and to no name of a dump${WHY}`, SERVER, async () => {
  await using rig = new RedisRig();
  const server = await rig.start("--appendonly", "yes");
  await fillRedis(server, 5);
  expect(await rig.backUp(rig.job(targetOf(rig)))).toBe(0);
  const from = { kind: "backup", folder: rig.store, id: rig.stored("cache").id };
  const to = (name: string): Promise<number> =>
    exportBackup(exportJobSchema.parse({ version: 1, target: targetOf(rig), from, file: join(rig.folder, name) }), {
      write: (line) => void rig.lines.push(line),
    });
  expect(await to("copy.rdb")).toBe(3);
  expect(await to("copy.tar.gz")).toBe(0);
  const names = execFileSync("tar", ["-tzf", join(rig.folder, "copy.tar.gz")]).toString();
  expect(names).toMatch(
    /^appendonlydir\/\S+\.base\.rdb\nappendonlydir\/\S+\.incr\.aof\nappendonlydir\/\S+\.manifest\n$/,
  );
});
