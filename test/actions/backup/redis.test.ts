/** Backups of a real Redis server, and what a server makes of them afterwards; skipped with the reason where it is not installed. */
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { decodeStream } from "../../../src/actions/backup/encode.ts";
import { installRdb, layoutOf } from "../../../src/actions/backup/redis-install.ts";
import { redisProver } from "../../../src/actions/backup/redis.ts";
import { readPart } from "../../../src/actions/backup/repository.ts";
import { verifyBackup } from "../../../src/actions/backup/verify.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import type { RedisConnection } from "../../../src/platform/redis.ts";
import { eventually } from "../../platform/until.ts";
import { fillRedis, missing, PASSWORD, RedisRig } from "./redis-rig.ts";

/** They wait for their servers more than they work. */
const SERVER = { concurrent: true, skip: missing !== undefined };
const WHY = missing === undefined ? "" : ` (skipped: ${missing} is not installed)`;
const FIXTURES = join(import.meta.dirname, "..", "..", "fixtures");

const verify = (rig: RedisRig, level: "L0" | "L1" | "L2") => {
  const { folder, manifest } = rig.stored("cache");
  return verifyBackup({ folder, manifest, level, scratch: rig.folder, identity: undefined, clock: systemClock });
};

async function unpack(rig: RedisRig): Promise<string> {
  const { folder, manifest } = rig.stored("cache");
  const pieces: Uint8Array[] = [];
  const raw = decodeStream(manifest, { read: readPart.bind(undefined, folder), identity: undefined });
  for await (const piece of raw) pieces.push(piece);
  const file = join(rig.folder, "unpacked.rdb");
  writeFileSync(file, Buffer.concat(pieces));
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => void server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => void server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("there is no port");
  return address.port;
}

/** A server with 504 keys and a backup of it, made before the key `soon` was over; `undefined`: it was not. */
async function backedUpWhileSet(lifeMs: number): Promise<{ rig: RedisRig; server: RedisConnection } | undefined> {
  const rig = new RedisRig();
  const server = await rig.start();
  await fillRedis(server);
  await server.command("SET", "soon", "over", "PX", String(lifeMs));
  const overAtMs = performance.now() + lifeMs;
  expect(await rig.backUp(rig.job(rig.redis))).toBe(0);
  if (performance.now() < overAtMs) return { rig, server };
  await rig[Symbol.asyncDispose]();
  return undefined;
}

test(
  `makeBackup() of a Redis server counts the keys of all databases and stands every level, when some of them are over by then, too${WHY}`,
  SERVER,
  async () => {
    // A machine that does much else may take longer for the dump than the key lasts.
    const { rig, server } = (await backedUpWhileSet(2_500)) ?? (await backedUpWhileSet(20_000)) ?? {};
    if (rig === undefined || server === undefined) throw new Error("the backup took 20 s");
    await using _ = rig;
    const { manifest } = rig.stored("cache");
    expect(manifest).toMatchObject({ type: "redis", kind: "full", content: { keys: 504 } });
    expect(manifest.engine).toMatchObject({ name: "Redis", appendonly: false, databases: { db0: 503, db3: 1 } });
    await eventually("the key is over", async () => (await server.command("EXISTS", "soon")) === 0 || undefined);
    for (const level of ["L0", "L1", "L2"] as const)
      expect(await verify(rig, level)).toMatchObject({ ok: true, detail: null });
    expect(readdirSync(rig.repository("cache").folder).toSorted()).toEqual([".lock", manifest.id]);
  },
);

test(
  `makeBackup() of a Redis server goes over TCP with a password that is nowhere in what is stored or said${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const port = await freePort();
    const server = await rig.start("--requirepass", PASSWORD, "--port", String(port), "--bind", "127.0.0.1");
    await fillRedis(server, 5);
    const url = `redis://default@127.0.0.1:${port}`;
    const job = rig.job({ kind: "redis", name: "cache", url, password: "wrong" });
    expect(await rig.backUp(job)).toBe(3);
    expect(rig.failure()?.reason).toContain("WRONGPASS");
    expect(await rig.backUp(rig.job({ kind: "redis", name: "cache", url }))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({ stage: "source", reason: expect.stringContaining("NOAUTH") });
    expect(await rig.backUp(rig.job({ kind: "redis", name: "cache", url, password: PASSWORD }))).toBe(0);
    expect(JSON.stringify([rig.lines, rig.stored("cache").manifest])).not.toContain(PASSWORD);
  },
);

test(
  `makeBackup() of a Redis server fetches the dump with redis-cli where the server's file cannot be read${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const hidden = ["--rename-command", "CONFIG", "", "--repl-diskless-sync-delay", "0"];
    const server = await rig.start("--requirepass", PASSWORD, ...hidden);
    await fillRedis(server, 100);
    const target = { ...rig.redis, password: PASSWORD };
    expect(await rig.backUp(rig.job(target, { verify: "L2" }))).toBe(0);
    expect(rig.stored("cache").manifest.content.keys).toBe(103);
  },
);

test(
  `makeBackup() of a Redis server keeps one instant while others write, whatever the server does with its file afterwards${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    const server = await rig.start("--appendonly", "yes");
    await fillRedis(server, 2_000);
    const writer = await rig.connect();
    const over = new AbortController();
    const written = (async () => {
      for (let n = 0; !over.signal.aborted; n += 1) await writer.command("SET", `new:${n}`, "x");
    })();
    try {
      expect(await rig.backUp(rig.job(rig.redis, { verify: "L2" }))).toBe(0);
    } finally {
      over.abort();
      await written;
      writer.close();
    }
    const { content, engine } = rig.stored("cache").manifest;
    expect(content.keys).toBeGreaterThanOrEqual(2_003);
    expect(engine["appendonly"]).toBe(true);
  },
);

test(
  `makeBackup() of a Redis server says why, and leaves nothing, when there is no server or it cannot write its dump${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    expect(await rig.backUp(rig.job(rig.redis))).toBe(3);
    expect(rig.failure()?.reason).toContain(`cannot connect to ${rig.socket}`);
    const server = await rig.start("--dir", "/proc");
    await fillRedis(server, 1);
    expect(await rig.backUp(rig.job(rig.redis))).toBe(3);
    expect(rig.lines.at(-1)).toMatchObject({ reason: expect.stringContaining("could not write its dump") });
    expect(readdirSync(rig.repository("cache").folder)).toEqual([".lock"]);
  },
);

test.each(["captured", "stored", "published"])(
  `makeBackup() of a Redis server killed after %s leaves whole backups only${WHY}`,
  SERVER,
  async (step) => {
    await using rig = new RedisRig();
    await fillRedis(await rig.start(), 10);
    const job = rig.job(rig.redis);
    const died = Bun.spawnSync([process.execPath, join(FIXTURES, "backup-and-die.ts"), JSON.stringify(job), step], {
      stdout: "ignore",
    });
    expect(died.signalCode).toBe("SIGKILL");
    const { backups, damaged } = rig.repository("cache").list();
    expect([backups.length, damaged.length]).toEqual([step === "published" ? 1 : 0, 0]);
    expect(await rig.backUp(rig.job(rig.redis, { verify: "L2" }))).toBe(0);
  },
);

test(
  `redisProver finds a flipped byte by the dump's own checksum, and keys that are not there${WHY}`,
  SERVER,
  async () => {
    await using rig = new RedisRig();
    await fillRedis(await rig.start(), 10);
    expect(await rig.backUp(rig.job(rig.redis))).toBe(0);
    const bytes = readFileSync(await unpack(rig));
    const { manifest } = rig.stored("cache");
    async function* raw(): AsyncGenerator<Uint8Array> {
      yield bytes;
    }
    await redisProver.parse(raw(), manifest);
    const more = { ...manifest, content: { keys: 99 } };
    await expect(redisProver.parse(raw(), more)).rejects.toThrow("13 keys instead of 99");
    const scratch = join(rig.folder, "scratch");
    mkdirSync(scratch);
    await expect(redisProver.prove(raw(), more, scratch, undefined)).rejects.toThrow("13 keys instead of 99");
    bytes[60] = (bytes[60] ?? 0) ^ 1;
    await expect(redisProver.parse(raw(), manifest)).rejects.toThrow("checksum");
  },
);

test(`redisProver takes its server along when it is killed${WHY}`, SERVER, async () => {
  await using rig = new RedisRig();
  const bin = join(rig.folder, "bin");
  mkdirSync(bin);
  const pidFile = join(rig.folder, "pid");
  // One that never finishes loading.
  writeFileSync(
    join(bin, "redis-server"),
    `#!/bin/sh\necho $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}\nexec sleep 1000\n`,
  );
  chmodSync(join(bin, "redis-server"), 0o755);
  const proof = Bun.spawn([process.execPath, join(FIXTURES, "load-dump.ts"), rig.folder], {
    env: { ...process.env, PATH: `${bin}:${process.env["PATH"]}` },
  });
  const pid = await eventually("the server runs", async () =>
    existsSync(pidFile) ? readFileSync(pidFile, "utf8").trim() : undefined,
  );
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  proof.kill("SIGKILL");
  await proof.exited;
  await eventually("the server is gone", async () => !existsSync(`/proc/${pid}`) || undefined);
});

test.each(["yes", "no"])(
  `installRdb() gives a server with appendonly %s all keys at its start${WHY}`,
  SERVER,
  async (appendonly) => {
    await using rig = new RedisRig();
    await fillRedis(await rig.start("--appendonly", appendonly), 200);
    expect(await rig.backUp(rig.job(rig.redis))).toBe(0);
    await rig.stop();
    const dump = await unpack(rig);
    const { manifest } = rig.stored("cache");
    expect(layoutOf(manifest).appendonly).toBe(appendonly === "yes");

    await using fresh = new RedisRig();
    mkdirSync(fresh.data);
    const made = installRdb(fresh.data, dump, layoutOf(manifest));
    expect(made.every((path) => existsSync(path))).toBe(true);
    const server = await fresh.start("--appendonly", appendonly);
    expect(await server.command("DBSIZE")).toBe(202);
    await server.command("SELECT", "3");
    expect(await server.command("GET", "later")).toBe("over");
    server.close();
    expect(() => installRdb(fresh.data, dump, layoutOf(manifest))).toThrow("it exists");
  },
);

test(`installRdb() refuses a server whose append-only file is a single one`, () => {
  expect(() => installRdb("/nowhere", "/nowhere", { appendonly: true, version: "6.0.16" })).toThrow("Redis 6.0.16");
});
