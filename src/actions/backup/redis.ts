/**
 * Redis as a source of backups: a dump of all databases that the server writes at our request, read through a descriptor
 * that outlives the file's next replacement, and proven by its checksum, by Redis' checker and by a server on scratch.
 */
import { NotJudgedError } from "../../core/not-judged.ts";
import { closeSync, constants, createReadStream, createWriteStream, openSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Manifest } from "../../core/backup-manifest.ts";
import { parseRedisUrl, type RedisPlace } from "../../core/redis-url.ts";
import { formatSize } from "../../core/size.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { freeMemoryBytes } from "../../platform/machine.ts";
import { RedisConnection, RedisReplyError } from "../../platform/redis.ts";
import { checkDump, fetchDump, loadDump } from "../../platform/redis-tools.ts";
import { drain } from "./encode.ts";
import { AOF_NAME, captureAof, parseAof, proveAof, type AofPlace } from "./redis-aof.ts";
import { checkedDump } from "./rdb.ts";
import type { CaptureContext, Captured, Prover, Source } from "./source.ts";

const CHUNK_BYTES = 1_024 ** 2;
/** Between two looks at a server that writes its dump. */
const POLL_MS = 100;
/** A dump of many gigabytes is written in less; a rewrite of the append-only file may have to end first. */
const SAVE_TIMEOUT_MS = 3_600_000;
/** The server tells the time of its last dump in seconds: the next one must be in another second. */
const SECOND_WAIT_MS = 2_000;
/** Times of files and the server's clock are not read at the same moment. */
const CLOCK_SLACK_MS = 2_000;
/** Memory of a server on scratch beside its data: buffers and the program. */
const SCRATCH_MEMORY_BYTES = 256 * 1_024 ** 2;
const SCRATCH_MEMORY_FACTOR = 1.2;

/** Of INFO, for the manifest. */
const SECTIONS = ["server", "persistence", "memory", "keyspace"] as const;

type Info = ReadonlyMap<string, string>;

interface Dump {
  readonly fd: number;
  readonly snapshotAt: Date;
}

/**
 * The server at `url`; all of its databases. Without facts, so that each run makes a backup: what the server counts begins
 * anew with each of its saves, and does not tell two of the same second apart. `aof`: not by a dump that it writes, but by its
 * append-only file.
 */
export function redisSource({
  url,
  password,
  format = "rdb",
}: {
  readonly url: string;
  readonly password?: string | undefined;
  readonly format?: "rdb" | "aof" | undefined;
}): Source {
  const place = parseRedisUrl(url);
  if (place === undefined) throw new Error(`${url} is not the address of a Redis server`);
  const withServer = async <Value>(deed: (server: RedisConnection) => Promise<Value>): Promise<Value> => {
    const server = await RedisConnection.open(place, password);
    try {
      return await deed(server);
    } finally {
      server.close();
    }
  };
  return {
    origin: url,
    measure: () =>
      withServer(async (server) => {
        if (format === "aof")
          return {
            rawBytes: Number((await server.info("persistence")).get("aof_current_size") ?? 0),
            temporaryBytes: 0,
          };
        const rawBytes = Number((await server.info("memory")).get("used_memory") ?? 0);
        const file = await dumpFile(server, place);
        if (file === undefined) return { rawBytes, temporaryBytes: rawBytes };
        // The server writes its dump beside the one before.
        return { rawBytes, temporaryBytes: 0, beside: { folder: dirname(file), bytes: rawBytes } };
      }),
    capture: (context) =>
      withServer(async (server) =>
        format === "aof"
          ? captureAof(server, await aofPlace(server, place), context, async () =>
              engineOf(await server.info(...SECTIONS), await settingsOf(server)),
            )
          : capture(server, { place, password }, context),
      ),
  };
}

async function capture(
  server: RedisConnection,
  at: { readonly place: RedisPlace; readonly password: string | undefined },
  context: CaptureContext,
): Promise<Captured> {
  const { fd, snapshotAt } = (await savedDump(server, at.place, context)) ?? (await fetchedDump(at, context));
  const info = await server.info(...SECTIONS);
  const settings = await settingsOf(server);
  return {
    kind: "full",
    base: null,
    snapshotAt,
    rawName: "dump.rdb",
    raw: createReadStream("", { fd, autoClose: false, start: 0, highWaterMark: CHUNK_BYTES }),
    facts: async () => {
      try {
        const keys = await countKeys(`/proc/${process.pid}/fd/${fd}`);
        return { content: keys === undefined ? {} : { keys }, engine: engineOf(info, settings) };
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** Also what a restore must know to put the dump where the server reads it. */
function engineOf(info: Info, settings: Info): Manifest["engine"] {
  const databases = [...info].flatMap(([name, value]) => {
    const keys = /^db(\d+)$/.test(name) ? /^keys=(\d+)/.exec(value)?.[1] : undefined;
    return keys === undefined ? [] : [[name, Number(keys)] as const];
  });
  return {
    name: "Redis",
    version: info.get("redis_version") ?? "unknown",
    /** Of the server when it was asked, which may have gone on since the dump. */
    databases: Object.fromEntries(databases),
    usedMemoryBytes: Number(info.get("used_memory") ?? 0),
    appendonly: info.get("aof_enabled") === "1",
    dbfilename: settings.get("dbfilename") ?? "dump.rdb",
    appenddirname: settings.get("appenddirname") ?? "appendonlydir",
    appendfilename: settings.get("appendfilename") ?? "appendonly.aof",
    ...(settings.has("dir") ? { dir: settings.get("dir") } : {}),
  };
}

/** Lets the server write its dump and opens it; `undefined` when its file cannot be read here. */
async function savedDump(
  server: RedisConnection,
  place: RedisPlace,
  { signal, now }: CaptureContext,
): Promise<Dump | undefined> {
  const file = await dumpFile(server, place);
  if (file === undefined) return undefined;
  const before = statSync(file, { throwIfNoEntry: false });
  const started = await startSave(server, { signal, now });
  const snapshotAt = await savedAfter(server, started, { signal, now });
  const fd = openIfReadable(file);
  if (fd === undefined) return undefined;
  const after = statSync(file, { throwIfNoEntry: false });
  // A container's path may by chance be that of another file of this machine.
  if (after !== undefined && after.ino !== before?.ino && after.mtimeMs >= started.at.getTime() - CLOCK_SLACK_MS)
    return { fd, snapshotAt };
  closeSync(fd);
  return undefined;
}

async function fetchedDump(
  { place, password }: { readonly place: RedisPlace; readonly password: string | undefined },
  { scratch, now }: CaptureContext,
): Promise<Dump> {
  const file = join(scratch, "dump.rdb");
  const snapshotAt = now();
  try {
    await fetchDump(place, { file, password, cwd: scratch });
  } catch (cause) {
    throw new Error(`cannot read the server's dump file here, and ${messageOf(cause)}`, { cause });
  }
  return { fd: openSync(file, constants.O_RDONLY), snapshotAt };
}

interface StartedSave {
  readonly at: Date;
  /** It waits for the end of a rewrite of the append-only file. */
  readonly putOff: boolean;
  /** The server's time of the dump before, in seconds. */
  readonly lastSave: number;
}

/** Begins a dump once none of another's is under way. */
async function startSave(
  server: RedisConnection,
  { signal, now }: Pick<CaptureContext, "signal" | "now">,
): Promise<StartedSave> {
  const untilMs = systemClock.monotonicMs() + SAVE_TIMEOUT_MS;
  /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
  for (;;) {
    signal.throwIfAborted();
    const info = await server.info("persistence");
    if (info.get("loading") === "1")
      throw new Error("the server is still loading its data; it has no dump to give yet");
    const lastSave = Number(info.get("rdb_last_save_time"));
    await nextSecond(server, lastSave);
    const at = now();
    try {
      const reply = await server.command("BGSAVE", "SCHEDULE");
      return { at, putOff: String(reply).includes("scheduled"), lastSave };
    } catch (cause) {
      const busy = cause instanceof RedisReplyError && cause.message.includes("already in progress");
      if (!busy || systemClock.monotonicMs() >= untilMs)
        throw new Error(`the server does not begin a dump: ${messageOf(cause)}`, { cause });
    }
    await sleep(systemClock, POLL_MS, signal);
  }
  /* oxlint-enable no-await-in-loop */
}

/** Waits until the server's clock is beyond the second of its last dump, or is no use. */
async function nextSecond(server: RedisConnection, lastSave: number): Promise<void> {
  const untilMs = systemClock.monotonicMs() + SECOND_WAIT_MS;
  /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
  while (systemClock.monotonicMs() < untilMs) {
    const time = await server.command("TIME");
    if (!Array.isArray(time) || Number(time[0]) > lastSave) return;
    await sleep(systemClock, POLL_MS);
  }
  /* oxlint-enable no-await-in-loop */
}

/** Waits for the dump that was begun and returns the instant whose data it holds; throws when it failed. */
async function savedAfter(
  server: RedisConnection,
  { at, putOff, lastSave }: StartedSave,
  { signal, now }: Pick<CaptureContext, "signal" | "now">,
): Promise<Date> {
  const untilMs = systemClock.monotonicMs() + SAVE_TIMEOUT_MS;
  let begunAt = putOff ? undefined : at;
  /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
  while (systemClock.monotonicMs() < untilMs) {
    signal.throwIfAborted();
    const info = await server.info("persistence");
    const running = info.get("rdb_bgsave_in_progress") !== "0";
    const ok = info.get("rdb_last_bgsave_status") === "ok";
    if (!running && ok && Number(info.get("rdb_last_save_time")) !== lastSave) return begunAt ?? now();
    // A dump that was put off has not begun yet, and the outcome is that of the one before.
    const waiting = info.get("aof_rewrite_in_progress") === "1" && begunAt === undefined;
    if (!running && !ok && !waiting)
      throw new Error(
        "the server could not write its dump; its log says why (often: no memory to fork, or a full disk)",
      );
    if (running) begunAt ??= now();
    await sleep(systemClock, POLL_MS, signal);
  }
  /* oxlint-enable no-await-in-loop */
  throw new Error(`the server did not finish its dump within ${SAVE_TIMEOUT_MS / 60_000} minutes`);
}

/** Throws when it is not to be read here. */
async function aofPlace(server: RedisConnection, place: RedisPlace): Promise<AofPlace> {
  const settings = await settingsOf(server);
  const [dir, folder, name] = ["dir", "appenddirname", "appendfilename"].map((key) => settings.get(key));
  if (!isHere(place) || dir === undefined || !isFolder(dir))
    throw new Error("the append-only file is read where it lies, and the server's folder is not on this machine");
  if (folder === undefined || name === undefined)
    throw new Error("its append-only file is not several files yet, as that of Redis 7 and newer is");
  return { folder: join(dir, folder), name };
}

function isHere({ at }: RedisPlace): boolean {
  return at.kind === "unix" || ["localhost", "::1"].includes(at.host) || at.host.startsWith("127.");
}

/** Path of the dump when the server is on this machine and its folder can be read here. */
async function dumpFile(server: RedisConnection, place: RedisPlace): Promise<string | undefined> {
  if (!isHere(place)) return undefined;
  const settings = await settingsOf(server);
  const [folder, name] = [settings.get("dir"), settings.get("dbfilename")];
  if (folder === undefined || name === undefined) return undefined;
  return isFolder(folder) ? join(folder, name) : undefined;
}

/** Empty when the user may not ask. */
async function settingsOf(server: RedisConnection): Promise<Info> {
  const settings = new Map<string, string>();
  for (const name of ["dir", "dbfilename", "appenddirname", "appendfilename"]) {
    // One at a time: servers before version 7 take one pattern.
    // oxlint-disable-next-line no-await-in-loop
    const reply = await server.command("CONFIG", "GET", name).catch((error: unknown) => {
      if (error instanceof RedisReplyError) return [];
      throw error;
    });
    if (Array.isArray(reply) && reply.length === 2) settings.set(name, String(reply[1]));
  }
  return settings;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function openIfReadable(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY);
  } catch {
    return undefined;
  }
}

/** Keys of a dump, expired ones too, as Redis' checker counts them; `undefined` when it is not installed. */
async function countKeys(path: string): Promise<number | undefined> {
  const report = await checkDump(path);
  if (report?.ok === false) throw new Error(`the server's dump is damaged: ${report.text}`);
  return report?.keys;
}

export const redisProver: Prover = {
  parse: async (raw, manifest) => {
    const { content } = manifest;
    if (manifest.raw.name === AOF_NAME) return parseAof(raw, manifest);
    const dump = checkedDump(raw);
    const report = await checkDump({
      write: async (sink) => {
        for await (const chunk of dump) await sink(chunk);
      },
    });
    // Nothing was read where the checker is not installed; a stream that ended is not read again.
    await drain(dump);
    if (report?.ok === false) throw new Error(`redis-check-rdb refuses it: ${report.text}`);
    compareKeys(content, report?.keys);
  },
  prove: async (raw, { content, engine, raw: { name } }, scratch) => {
    if (name === AOF_NAME) {
      refuseScarceMemory(Number(engine["usedMemoryBytes"] ?? 0));
      return proveAof(raw, scratch);
    }
    await pipeline(checkedDump(raw), createWriteStream(join(scratch, "dump.rdb"), { mode: 0o600 }));
    refuseScarceMemory(Number(engine["usedMemoryBytes"] ?? 0));
    const { keys, expired } = await loadDump(scratch);
    compareKeys(content, keys + expired);
  },
};

function compareKeys({ keys }: Manifest["content"], found: number | undefined): void {
  if (keys !== undefined && found !== undefined && keys !== found)
    throw new Error(`it holds ${found} keys instead of ${keys}`);
}

/** The server on scratch needs as much memory as the other: the bot must not pay for a proof. */
export function refuseScarceMemory(usedBytes: number): void {
  const needed = usedBytes * SCRATCH_MEMORY_FACTOR + SCRATCH_MEMORY_BYTES;
  const free = freeMemoryBytes();
  if (free < needed)
    throw new NotJudgedError(
      `there is no memory to load it: ${formatSize(free)} are free, and ${formatSize(Math.ceil(needed))} are needed; prove it to L1 here and to L2 on another machine`,
    );
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
