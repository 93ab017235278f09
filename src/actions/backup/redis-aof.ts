/**
 * The append-only file of a Redis server as a source of backups: base, logs and list as they stand at one instant, without a
 * fork of the server. The list is read before and after the files are opened; a log is cut where its last whole command ends.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Header, Parser, type ReadEntry } from "tar";
import type { Manifest } from "../../core/backup-manifest.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import type { RedisConnection } from "../../platform/redis.ts";
import { checkAof, loadDump } from "../../platform/redis-tools.ts";
import { AofScan, readAofList, type AofFile } from "./aof.ts";
import { feed, pathInTar, unpackTar } from "./files.ts";
import { DumpCheck } from "./rdb.ts";
import type { CaptureContext, Captured } from "./source.ts";

/** Name of the stream, by which it is told from a dump. */
export const AOF_NAME = "appendonlydir.tar";
/** Folder in it, whatever the server calls its own. */
const FOLDER = "appendonlydir";
const FILE_MODE = 0o640;
const BLOCK_BYTES = 512;
const CHUNK_BYTES = 1_024 ** 2;
const MAX_LIST_BYTES = 1_024 ** 2;
const POLL_MS = 100;
/** A rewrite of many gigabytes has ended by then. */
const REWRITE_TIMEOUT_MS = 3_600_000;
/** Readings of a list that changes each time. */
const MAX_READINGS = 20;

interface OpenFile extends AofFile {
  readonly fd: number;
  /** What is stored of it: all, or up to the end of its last whole command. */
  readonly bytes: number;
}

/** Where the server has its append-only file. */
export interface AofPlace {
  readonly folder: string;
  /** Setting `appendfilename`. */
  readonly name: string;
}

/** Throws when the server writes none, or its rewrite failed: what lies there may then be that of another time. */
export async function captureAof(
  server: RedisConnection,
  place: AofPlace,
  { signal, now }: Pick<CaptureContext, "signal" | "now">,
  engine: () => Promise<Manifest["engine"]>,
): Promise<Captured> {
  await whenWritten(server, signal);
  const list = join(place.folder, `${place.name}.manifest`);
  const { files, snapshotAt } = openFiles(place.folder, list, now);
  try {
    await refuseUnwritten(server);
    const cut = files.map((file, index) => (index === files.length - 1 ? { ...file, bytes: wholeBytes(file) } : file));
    const described = await engine();
    return {
      kind: "full",
      base: null,
      snapshotAt,
      rawName: AOF_NAME,
      raw: archive(cut, `${place.name}.manifest`, snapshotAt, signal),
      facts: async () => {
        for (const { fd } of files) closeSync(fd);
        return { content: { files: files.length + 1 }, engine: described };
      },
    };
  } catch (cause) {
    for (const { fd } of files) closeSync(fd);
    throw cause;
  }
}

/** While the append-only file has just been switched on, what lies in its folder may be that of another time. */
async function whenWritten(server: RedisConnection, signal: AbortSignal): Promise<void> {
  const untilMs = systemClock.monotonicMs() + REWRITE_TIMEOUT_MS;
  /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
  while (await refuseUnwritten(server)) {
    if (systemClock.monotonicMs() >= untilMs)
      throw new Error(`the server rewrites its append-only file for more than ${REWRITE_TIMEOUT_MS / 60_000} minutes`);
    await sleep(systemClock, POLL_MS, signal);
    signal.throwIfAborted();
  }
  /* oxlint-enable no-await-in-loop */
}

/** Whether a rewrite is under way, or about to be. */
async function refuseUnwritten(server: RedisConnection): Promise<boolean> {
  const info = await server.info("persistence");
  if (info.get("loading") === "1") throw new Error("the server is still loading its data");
  if (info.get("aof_enabled") !== "1")
    throw new Error("the server writes no append-only file (appendonly no); leave out format: aof");
  if (info.get("aof_last_write_status") !== "ok")
    throw new Error("the server cannot write its append-only file; its log says why (often: a full disk)");
  if (info.get("aof_last_bgrewrite_status") !== "ok")
    throw new Error("the last rewrite of the append-only file failed; its log says why, BGREWRITEAOF tries again");
  return info.get("aof_rewrite_in_progress") === "1" || info.get("aof_rewrite_scheduled") === "1";
}

/** All files of one list: a rewrite that ends meanwhile deletes what we have open, and changes the list. */
function openFiles(
  folder: string,
  list: string,
  now: () => Date,
): { readonly files: readonly OpenFile[]; readonly snapshotAt: Date } {
  for (let reading = 1; ; reading += 1) {
    const before = readList(list);
    const snapshotAt = now();
    const opened = before === undefined ? undefined : openAll(folder, readAofList(before));
    if (opened !== undefined && readList(list) === before) {
      if (!opened.some(({ base }) => base)) refuseAll(opened, "its list names no base");
      return { files: opened, snapshotAt };
    }
    for (const { fd } of opened ?? []) closeSync(fd);
    if (reading === MAX_READINGS)
      throw new Error(
        before === undefined
          ? `there is no ${list}; only Redis 7 and newer has one, where it can be read`
          : `the files of ${list} changed at each of ${MAX_READINGS} readings`,
      );
  }
}

/** `undefined` when one of them is gone. */
function openAll(folder: string, files: readonly AofFile[]): readonly OpenFile[] | undefined {
  const opened: OpenFile[] = [];
  try {
    for (const file of files) {
      const known = file.base ? /\.base\.(rdb|aof)$/.test(file.name) : file.name.endsWith(".aof");
      if (!known)
        throw new Error(`the base ${file.name} is of an older version; let the server rewrite it (BGREWRITEAOF)`);
      const fd = openSync(join(folder, file.name), constants.O_RDONLY | constants.O_NOFOLLOW);
      opened.push({ ...file, fd, bytes: fstatSync(fd).size });
    }
    return opened;
  } catch (cause) {
    for (const { fd } of opened) closeSync(fd);
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw cause;
  }
}

function refuseAll(files: readonly OpenFile[], why: string): never {
  for (const { fd } of files) closeSync(fd);
  throw new Error(`cannot read the append-only file: ${why}`);
}

function readList(path: string): string | undefined {
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > MAX_LIST_BYTES) throw new Error(`${path} is too large for a list`);
    return text;
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw cause;
  }
}

/** The server may be at writing a command, or has written half a transaction. */
function wholeBytes({ fd, bytes, name }: OpenFile): number {
  if (isDump(name)) return bytes;
  const scan = new AofScan();
  try {
    for (const chunk of chunksOf(fd, bytes)) scan.add(chunk);
  } catch (cause) {
    throw new Error(`${name} is damaged: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  return scan.wholeBytes;
}

function isDump(name: string): boolean {
  return name.endsWith(".rdb");
}

/** Files first, the list last: what is unpacked by hand has a list of what is there only when all is there. */
async function* archive(
  files: readonly OpenFile[],
  listName: string,
  at: Date,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (const { name, fd, bytes } of files) {
    yield headerOf(name, bytes, at);
    for (const chunk of chunksOf(fd, bytes)) {
      signal.throwIfAborted();
      yield chunk;
    }
    yield padding(bytes);
  }
  const list = Buffer.from(files.map(({ line }) => `${line}\n`).join(""));
  yield headerOf(listName, list.length, at);
  yield list;
  yield padding(list.length);
  yield Buffer.alloc(2 * BLOCK_BYTES);
}

function headerOf(name: string, size: number, mtime: Date): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const header = new Header({ path: `${FOLDER}/${name}`, mode: FILE_MODE, uid: 0, gid: 0, size, mtime, type: "File" });
  if (header.encode(block)) throw new Error(`the name ${name} does not fit a tar`);
  return block;
}

function padding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

/** Throws when the file has become shorter. */
function* chunksOf(fd: number, bytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytes - at));
    const got = readSync(fd, chunk, 0, chunk.length, at);
    if (got === 0) throw new Error("the append-only file has become shorter while it was read");
    at += got;
    yield chunk.subarray(0, got);
  }
}

type FileCheck = Pick<DumpCheck, "add" | "end">;

/** L1: the checksum of the base, every command of the logs, and a list that names what is there. Throws what is wrong. */
export async function parseAof(raw: AsyncIterable<Uint8Array>, { content }: Pick<Manifest, "content">): Promise<void> {
  const names: string[] = [];
  const faults: string[] = [];
  let list: string | undefined;
  const onReadEntry = (entry: ReadEntry): void => {
    const name = pathInTar(entry.path).replace(`${FOLDER}/`, "");
    names.push(name);
    const text: Buffer[] = [];
    const check = name.endsWith(".manifest") ? keeping(text) : isDump(name) ? new DumpCheck() : logCheck();
    const tried = (deed: () => void): void => {
      try {
        deed();
      } catch (cause) {
        // The stream is read to its end all the same: its own checksum says more.
        faults.push(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
      }
    };
    let bad = false;
    entry.on("data", (chunk: Buffer) => {
      if (bad) return;
      tried(() => check.add(chunk));
      bad = faults.length > 0;
    });
    entry.on("end", () => {
      if (!bad) tried(() => check.end());
      if (name.endsWith(".manifest")) list = Buffer.concat(text).toString();
    });
  };
  await feed(raw, new Parser({ strict: true, onReadEntry }));
  if (faults[0] !== undefined) throw new Error(faults[0]);
  if (list === undefined) throw new Error("it holds no list of an append-only file");
  const missing = readAofList(list).find(({ name }) => !names.includes(name));
  if (missing !== undefined) throw new Error(`it does not hold ${missing.name}, which its list names`);
  if (content.files !== names.length)
    throw new Error(`it holds ${names.length} files instead of ${content.files ?? "none"}`);
}

function keeping(text: Buffer[]): FileCheck {
  let bytes = 0;
  return {
    add: (chunk) => {
      bytes += chunk.length;
      if (bytes > MAX_LIST_BYTES) throw new Error("it is too large for a list");
      text.push(Buffer.from(chunk));
    },
    end: () => undefined,
  };
}

function logCheck(): FileCheck {
  const scan = new AofScan();
  return {
    add: (chunk) => scan.add(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)),
    end: () => {
      if (scan.wholeBytes !== scan.bytes) throw new Error(`it ends within a command, at byte ${scan.wholeBytes}`);
    },
  };
}

/** L2: unpacked into `folder`, read by redis-check-aof where it is installed, and loaded into a server of our own. Throws what is wrong. */
export async function proveAof(
  raw: AsyncIterable<Uint8Array>,
  folder: string,
  inspect?: (server: RedisConnection) => Promise<void>,
): Promise<void> {
  await unpackTar(raw, folder, { preserveOwner: false });
  const list = (await readdir(join(folder, FOLDER))).find((name) => name.endsWith(".manifest"));
  if (list === undefined) throw new Error("it holds no list of an append-only file");
  const report = await checkAof(join(folder, FOLDER, list));
  if (report?.ok === false) throw new Error(`redis-check-aof refuses it: ${report.text}`);
  await loadDump(folder, inspect, list.slice(0, -".manifest".length));
}

/** Lets a server on scratch write what it holds as `dump.rdb` of its folder. Throws what it says. */
export async function saveDump(server: RedisConnection): Promise<void> {
  await server.command("BGSAVE");
  const untilMs = systemClock.monotonicMs() + REWRITE_TIMEOUT_MS;
  /* oxlint-disable no-await-in-loop -- Safe: each round is a wait. */
  while ((await server.info("persistence")).get("rdb_bgsave_in_progress") !== "0") {
    if (systemClock.monotonicMs() >= untilMs) throw new Error("the server on scratch did not finish its dump");
    await sleep(systemClock, POLL_MS);
  }
  /* oxlint-enable no-await-in-loop */
  if ((await server.info("persistence")).get("rdb_last_bgsave_status") !== "ok")
    throw new Error("the server on scratch could not write its dump: is the disk full?");
}
