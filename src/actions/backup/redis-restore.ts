/**
 * Restores a Redis server by its files: proven on a server of our own, put where the server reads them at its start, and
 * counted and compared in the server itself before the old ones are given up. The server must be down for the exchange.
 */
import { createWriteStream, chownSync, mkdirSync, realpathSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { JobTarget } from "../../core/backup-job.ts";
import { parseRedisUrl, type RedisPlace } from "../../core/redis-url.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { RedisConnection } from "../../platform/redis.ts";
import { loadDump } from "../../platform/redis-tools.ts";
import { Failure } from "./failure.ts";
import { checkedDump } from "./rdb.ts";
import type { Reading } from "./reading.ts";
import { AOF_NAME, proveAof, saveDump } from "./redis-aof.ts";
import { compareRedis, inspectRedis, type RedisContents } from "./redis-contents.ts";
import { installRdb, layoutOf, type RedisLayout } from "./redis-install.ts";
import { refuseScarceMemory } from "./redis.ts";
import type { RestoreKind } from "./restore-kinds.ts";
import { runServerCommand } from "./restore-server.ts";
import { readable } from "./unpack.ts";

type RedisTarget = Extract<JobTarget, { kind: "redis" }>;

/** Longest wait for a server that is to answer or to be gone. */
const TURN_MS = 60_000;
/** A server that loads many gigabytes. */
const LOAD_MS = 3_600_000;
const POLL_MS = 50;

interface Running {
  readonly folder: string | undefined;
  readonly layout: RedisLayout;
}

/** Throws `Failure` when nobody can tell where the server has its data, or it runs and may not be stopped. */
export async function redisKind(target: RedisTarget, reading: Reading): Promise<RestoreKind> {
  const { url, stop, start, password } = target;
  const place = parseRedisUrl(url);
  if (place === undefined) throw new Failure("source", `${url} is not the address of a Redis server`);
  const running = await lookAt(place, password);
  if (running !== undefined && (stop === undefined || start === undefined))
    throw new Failure(
      "bots",
      `the server at ${url} runs, and its files are exchanged while it is down: stop it, or say how under the target's stop and start`,
    );
  const layout = running?.layout ?? layoutOf({ engine: reading.engine ?? { name: "Redis", version: "7" } });
  const folder = folderOf(target, running, reading);
  const dump = join(folder, layout.dbfilename ?? "dump.rdb");
  const live = layout.appendonly ? join(folder, layout.appenddirname ?? "appendonlydir") : dump;
  const server = new Server(target, place, running !== undefined);
  let expected: RedisContents | undefined;
  return {
    // A dump beside an append-only file is not read, and would be taken for the newest state by people.
    places: [{ live, sidecars: layout.appendonly ? [dump] : [] }],
    watched: () => (server.isDown ? [folder, dump, live] : []),
    folder,
    unpack: async (given, scratchOf) => {
      const scratch = scratchOf(live);
      expected = await unpackRedis(given, scratch, layout);
    },
    fresh: (path, scratch) => join(scratch, basename(path)),
    check: async () => {
      if (expected !== undefined) await server.proveAfterStart(expected);
    },
    stop: () => server.stop(),
    start: () => server.start(),
    ...(start === undefined || running === undefined ? {} : { startCommand: start }),
  };
}

/** `undefined`: nobody answers there. Throws `Failure` for a server that refuses us. */
async function lookAt(place: RedisPlace, password: string | undefined): Promise<Running | undefined> {
  let server: RedisConnection;
  try {
    server = await RedisConnection.open(place, password);
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw Failure.of("source", cause);
  }
  try {
    const setting = async (name: string): Promise<string | undefined> => {
      const reply = await server.command("CONFIG", "GET", name);
      return Array.isArray(reply) && reply.length === 2 ? String(reply[1]) : undefined;
    };
    const version = (await server.info("server")).get("redis_version");
    const [folder, appendonly, dbfilename] = [
      await setting("dir"),
      await setting("appendonly"),
      await setting("dbfilename"),
    ];
    const [appenddirname, appendfilename] = [await setting("appenddirname"), await setting("appendfilename")];
    return {
      folder,
      layout: { appendonly: appendonly === "yes", version, dbfilename, appenddirname, appendfilename },
    };
  } catch (cause) {
    throw new Failure("source", `the server does not say where its data is: ${messageOf(cause)}`, { cause });
  } finally {
    server.close();
  }
}

function isAbsent(cause: unknown): boolean {
  return /ECONNREFUSED|ENOENT|closed the connection/.test(messageOf(cause));
}

function folderOf(target: RedisTarget, running: Running | undefined, { engine }: Reading): string {
  const known = target.folder ?? running?.folder ?? engine?.["dir"];
  if (typeof known !== "string")
    throw new Failure(
      "source",
      "nobody says where the server keeps its data: start it, or name the folder under the target's folder",
    );
  if (statSync(known, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new Failure(
      "source",
      `the server's folder ${known} is not on this machine; use --to FOLDER and take the dump there`,
    );
  return realpathSync(known);
}

/** The dump as it is to lie in the server's folder, in `scratch`; what a server of our own found in it. */
async function unpackRedis(reading: Reading, scratch: string, layout: RedisLayout): Promise<RedisContents> {
  const { uid, gid } = statSync(dirname(scratch));
  const proof = join(scratch, "proof");
  mkdirSync(proof, { mode: 0o700 });
  const contents = await proveDump(reading, join(proof, "dump.rdb"));
  if (process.getuid?.() === 0) chownSync(scratch, uid, gid);
  try {
    installRdb(scratch, join(proof, "dump.rdb"), layout);
  } catch (cause) {
    throw Failure.of("store", cause);
  }
  return contents;
}

/**
 * Writes the dump to `file`, which is named dump.rdb, and loads it into a server of our own; of an append-only file that server
 * writes the dump, which fits every server, whether it has such a file or not. Throws `Failure`.
 */
export async function proveDump(reading: Reading, file: string): Promise<RedisContents> {
  try {
    if (reading.rawName === AOF_NAME) return await dumpOfAof(reading, dirname(file));
    await pipeline(checkedDump(readable(reading)), createWriteStream(file, { mode: 0o600 }));
    refuseScarceMemory(Number(reading.engine?.["usedMemoryBytes"] ?? reading.rawBytes));
    let contents: RedisContents | undefined;
    const { keys, expired } = await loadDump(dirname(file), async (server) => {
      contents = await inspectRedis(server);
    });
    const wanted = reading.content?.keys;
    if (wanted !== undefined && wanted !== keys + expired)
      throw new Error(`it holds ${keys + expired} keys instead of ${wanted}`);
    if (contents === undefined) throw new Error("the server on scratch said nothing of it");
    return contents;
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const failure = Failure.of("verify", cause);
    throw new Failure(failure.stage, `${reading.label} does not load: ${messageOf(cause)}`, { cause });
  }
}

async function dumpOfAof(reading: Reading, folder: string): Promise<RedisContents> {
  refuseScarceMemory(Number(reading.engine?.["usedMemoryBytes"] ?? reading.rawBytes));
  let contents: RedisContents | undefined;
  await proveAof(readable(reading), folder, async (server) => {
    contents = await inspectRedis(server);
    await saveDump(server);
  });
  rmSync(join(folder, "appendonlydir"), { recursive: true, force: true });
  if (contents === undefined) throw new Error("the server on scratch said nothing of it");
  return contents;
}

/** The server that is restored, by the commands of the config. */
class Server {
  readonly #target: RedisTarget;
  readonly #place: RedisPlace;
  #up: boolean;
  #wasStopped = false;

  constructor(target: RedisTarget, place: RedisPlace, up: boolean) {
    this.#target = target;
    this.#place = place;
    this.#up = up;
  }

  get isDown(): boolean {
    return !this.#up;
  }

  async stop(): Promise<void> {
    if (!this.#up || this.#target.stop === undefined) return;
    this.#wasStopped = true;
    await this.#run("stop", this.#target.stop);
    await this.#until("is still there", TURN_MS, async () => (await this.#answers()) === "absent");
    this.#up = false;
  }

  /** Only one that we have stopped. */
  async start(): Promise<void> {
    if (this.#up || !this.#wasStopped || this.#target.start === undefined) return;
    // One that did not start is not stopped again: whoever uses the folder all the same is found by that.
    await this.#run("start", this.#target.start);
    this.#up = true;
    await this.#until("does not answer", TURN_MS, async () => (await this.#answers()) !== "absent");
    await this.#until("does not finish loading", LOAD_MS, async () => (await this.#answers()) === "ready");
  }

  /** One that was down before stays so. */
  async proveAfterStart(expected: RedisContents): Promise<void> {
    if (!this.#wasStopped) return;
    await this.start();
    const server = await RedisConnection.open(this.#place, this.#target.password, "latin1");
    try {
      await compareRedis(server, expected);
    } finally {
      server.close();
    }
  }

  async #answers(): Promise<"absent" | "loading" | "ready"> {
    try {
      (await RedisConnection.open(this.#place, this.#target.password)).close();
      return "ready";
    } catch (cause) {
      return messageOf(cause).includes("LOADING") ? "loading" : "absent";
    }
  }

  async #until(what: string, patienceMs: number, isSo: () => Promise<boolean>): Promise<void> {
    const untilMs = systemClock.monotonicMs() + patienceMs;
    /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
    while (!(await isSo())) {
      if (systemClock.monotonicMs() >= untilMs)
        throw new Error(`the server at ${this.#target.url} ${what} after ${patienceMs / 1_000} s`);
      await sleep(systemClock, POLL_MS);
    }
    /* oxlint-enable no-await-in-loop */
  }

  async #run(what: string, command: readonly string[]): Promise<void> {
    const fault = await runServerCommand(command, systemClock);
    if (fault !== undefined) throw new Error(`cannot ${what} the server at ${this.#target.url}: ${fault}`);
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
