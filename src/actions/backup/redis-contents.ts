/** What a Redis server holds, so that another that was given the same dump can be compared with it: counts, and some keys by their bytes. */
import { createHash } from "node:crypto";
import type { RedisConnection } from "../../platform/redis.ts";

/** Keys of each database that are compared by their bytes. */
const SAMPLES = 100;

interface Database {
  readonly keys: number;
  /** Of them, those that end at a time: some may have ended since. */
  readonly expires: number;
}

export interface RedisContents {
  readonly version: string;
  readonly databases: ReadonlyMap<string, Database>;
  /** SHA-256 of the serialized value, by key, by database. Keys as latin1, which has every byte. */
  readonly samples: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/** The connection must speak latin1. */
export async function inspectRedis(server: RedisConnection): Promise<RedisContents> {
  const databases = await databasesOf(server);
  const samples = new Map<string, ReadonlyMap<string, string>>();
  /* oxlint-disable no-await-in-loop -- Safe: it is one connection. */
  for (const name of databases.keys()) samples.set(name, await sampleOf(server, name));
  /* oxlint-enable no-await-in-loop */
  return { version: await versionOf(server), databases, samples };
}

/** Throws what differs. */
export async function compareRedis(server: RedisConnection, expected: RedisContents): Promise<void> {
  const found = await databasesOf(server);
  for (const name of new Set([...expected.databases.keys(), ...found.keys()])) {
    const [want, have] = [expected.databases.get(name), found.get(name)];
    const lasting = (of: Database | undefined): number => (of?.keys ?? 0) - (of?.expires ?? 0);
    if (lasting(have) !== lasting(want) || (have?.keys ?? 0) > (want?.keys ?? 0))
      throw new Error(`${name} of the server has ${have?.keys ?? 0} keys instead of ${want?.keys ?? 0}`);
  }
  // How a value is serialized is each version's own.
  if ((await versionOf(server)) !== expected.version) return;
  for (const [name, keys] of expected.samples)
    for (const [key, sum] of keys)
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is one connection.
      if ((await sumOf(server, name, key)) !== sum)
        throw new Error(
          `a key of ${name} of the server has another value than the backup: ${JSON.stringify(key.slice(0, 60))}`,
        );
}

async function sampleOf(server: RedisConnection, name: string): Promise<ReadonlyMap<string, string>> {
  const sums = new Map<string, string>();
  /* oxlint-disable no-await-in-loop -- Safe: it is one connection. */
  for (let n = 0; n < SAMPLES; n += 1) {
    await server.command("SELECT", name.replace("db", ""));
    const key = await server.command("RANDOMKEY");
    if (typeof key !== "string" || sums.has(key) || (await server.command("PTTL", key)) !== -1) continue;
    const sum = await sumOf(server, name, key);
    if (sum !== undefined) sums.set(key, sum);
  }
  /* oxlint-enable no-await-in-loop */
  return sums;
}

async function sumOf(server: RedisConnection, name: string, key: string): Promise<string | undefined> {
  await server.command("SELECT", name.replace("db", ""));
  const value = await server.command("DUMP", key);
  return typeof value === "string" ? createHash("sha256").update(value, "latin1").digest("hex") : undefined;
}

/** Those that hold something, by their names as INFO has them (`db0`). */
async function databasesOf(server: RedisConnection): Promise<ReadonlyMap<string, Database>> {
  const databases = new Map<string, Database>();
  for (const [name, value] of await server.info("keyspace")) {
    const [, keys, expires] = /^keys=(\d+),expires=(\d+)/.exec(value) ?? [];
    if (/^db\d+$/.test(name)) databases.set(name, { keys: Number(keys ?? 0), expires: Number(expires ?? 0) });
  }
  return databases;
}

async function versionOf(server: RedisConnection): Promise<string> {
  return (await server.info("server")).get("redis_version") ?? "unknown";
}
