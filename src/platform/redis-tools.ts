/** Redis' own programs, where they are installed: its checker of dumps, its client that fetches one, and a server on scratch. */
import { NotJudgedError } from "../core/not-judged.ts";
import { closeSync, openSync } from "node:fs";
import type { RedisPlace } from "../core/redis-url.ts";
import { sleep, systemClock } from "./clock.ts";
import { runCommand } from "./command.ts";
import { RedisConnection } from "./redis.ts";

/** Packages of Debian, Ubuntu and Fedora that have the programs. */
const TOOLS_PACKAGE = "redis-tools (Debian, Ubuntu) or redis";
const SERVER_PACKAGE = "redis-server (Debian, Ubuntu) or redis";
/** A dump of many gigabytes is fetched and loaded in less. */
const TRANSFER_TIMEOUT_MS = 3_600_000;
/** Between two looks at a server that is loading. */
const POLL_MS = 50;
/** Text of a program that is kept: its last lines say what was wrong. */
const MAX_TEXT = 8_192;

/**
 * Starts a server whose life ends with our end of its standard input, however we end; the kernel takes it first when memory
 * runs out. A shell between us makes that so: it alone reaps the server, so that it never kills another's process.
 */
const LEASH = `echo 1000 > /proc/$$/oom_score_adj; "$@" & exec > /dev/null 2>&1; read -r _; kill -9 $!; wait $!`;

export interface DumpReport {
  readonly ok: boolean;
  /** Keys of the dump, expired ones too; `undefined` where the checker does not say. */
  readonly keys: number | undefined;
  /** Its last words. */
  readonly text: string;
}

/** Reads a dump with redis-check-rdb: a file, or what `write` hands on. `undefined` when the program is not installed. */
export async function checkDump(
  from: string | { readonly write: (sink: (chunk: Uint8Array) => Promise<void>) => Promise<void> },
): Promise<DumpReport | undefined> {
  const program = Bun.which("redis-check-rdb");
  if (program === null) return undefined;
  // What Bun gives a child as a pipe is a socket, which /dev/stdin cannot open.
  const cmd = typeof from === "string" ? [program, from] : ["/bin/sh", "-c", 'cat | exec "$0" /dev/stdin', program];
  const child = Bun.spawn({ cmd, env: {}, stdio: ["pipe", "pipe", "ignore"] });
  const said = lastWords(child.stdout);
  try {
    if (typeof from !== "string") await from.write(async (chunk) => feed(child.stdin, chunk));
    await end(child.stdin);
    const code = await child.exited;
    const text = await said;
    const keys = /^\[info\] (\d+) keys read$/m.exec(text)?.[1];
    return { ok: code === 0, keys: keys === undefined ? undefined : Number(keys), text: lastLine(text) };
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

/** Reads an append-only file by its list with redis-check-aof; it changes nothing. `undefined` when it is not installed. */
export async function checkAof(list: string): Promise<{ readonly ok: boolean; readonly text: string } | undefined> {
  const program = Bun.which("redis-check-aof");
  if (program === null) return undefined;
  const command = [program, list] as const;
  const result = await runCommand({
    command,
    cwd: "/",
    env: {},
    timeoutMs: TRANSFER_TIMEOUT_MS,
    clock: systemClock,
    maxOutputBytes: MAX_TEXT,
  });
  if (result.kind === "failed") throw new Error(`redis-check-aof does not end: ${result.reason}`);
  return { ok: result.kind === "exited" && result.code === 0, text: lastLine(result.output) };
}

/** Fetches a dump over the network, as a replica does. Throws what redis-cli says, and when it is not installed. */
export async function fetchDump(
  { at, username }: RedisPlace,
  { file, password, cwd }: { readonly file: string; readonly password: string | undefined; readonly cwd: string },
): Promise<void> {
  const program = Bun.which("redis-cli");
  if (program === null) throw new Error(`redis-cli is not installed, which fetches it; install ${TOOLS_PACKAGE}`);
  const where = at.kind === "unix" ? ["-s", at.path] : ["-h", at.host, "-p", String(at.port)];
  const user = username === undefined || password === undefined ? [] : ["--user", username];
  // By its input: arguments can be read by every user of the machine, the environment by every program of this one.
  const secret = password === undefined ? [] : ["--askpass"];
  const result = await runCommand({
    command: [program, ...where, ...user, ...secret, "--rdb", file],
    cwd,
    env: {},
    ...(password === undefined ? {} : { stdin: `${password}\n` }),
    timeoutMs: TRANSFER_TIMEOUT_MS,
    clock: systemClock,
    maxOutputBytes: MAX_TEXT,
  });
  if (result.kind === "exited" && result.code === 0) return;
  throw new Error(`redis-cli --rdb failed: ${result.kind === "failed" ? result.reason : lastLine(result.output)}`);
}

export interface LoadedDump {
  /** Keys that the server has now, and those that it left out at loading since their time was over. */
  readonly keys: number;
  readonly expired: number;
}

/**
 * Loads `dump.rdb` of the folder, or the append-only file `log` in its `appendonlydir`, into a server of its own, reachable only
 * there, and says what it holds; `inspect` may ask it more, by a connection that speaks latin1. Throws what went wrong.
 */
export async function loadDump(
  folder: string,
  inspect?: (server: RedisConnection) => Promise<void>,
  log?: string,
): Promise<LoadedDump> {
  const program = Bun.which("redis-server");
  if (program === null)
    throw new NotJudgedError(
      `redis-server is not installed, which a proof of this level needs; install ${SERVER_PACKAGE}`,
    );
  const settings = { port: "0", unixsocket: "./s", unixsocketperm: "700", dir: folder, dbfilename: "dump.rdb" };
  const options = {
    ...settings,
    save: "",
    appendonly: "no",
    daemonize: "no",
    logfile: "",
    "repl-diskless-load": "disabled",
    ...(log === undefined ? {} : logOptions(log)),
  };
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const server = Bun.spawn({
    cmd: ["/bin/sh", "-c", LEASH, "sh", program, ...words],
    cwd: folder,
    env: {},
    stdio: ["pipe", "pipe", "ignore"],
  });
  const over = new AbortController();
  const said = lastWords(server.stdout);
  // The server was the last to hold it: it is gone.
  void said.then(() => over.abort());
  const fd = openSync(folder, "r");
  try {
    // The address of a socket has at most 107 bytes, a folder's path may have more.
    const path = `/proc/self/fd/${fd}/s`;
    const loaded = await whenLoaded(path, over.signal);
    if (loaded !== undefined && inspect !== undefined) await withServer(path, inspect);
    if (loaded !== undefined) return loaded;
    if (!over.signal.aborted) throw new Error("the server took too long to load it");
    throw new Error(`redis-server does not load it: ${lastFault(await said)}`);
  } finally {
    closeSync(fd);
    await end(server.stdin);
    await server.exited;
  }
}

/** A log that ends within a command is not what was stored. */
function logOptions(log: string): Readonly<Record<string, string>> {
  return {
    appendonly: "yes",
    appenddirname: "appendonlydir",
    appendfilename: log,
    "aof-load-truncated": "no",
    "auto-aof-rewrite-percentage": "0",
  };
}

async function withServer(path: string, deed: (server: RedisConnection) => Promise<void>): Promise<void> {
  const place: RedisPlace = { username: undefined, at: { kind: "unix", path } };
  const server = await RedisConnection.open(place, undefined, "latin1");
  try {
    await deed(server);
  } finally {
    server.close();
  }
}

/** `undefined` when the server is gone, or it took too long. */
async function whenLoaded(path: string, over: AbortSignal): Promise<LoadedDump | undefined> {
  const untilMs = systemClock.monotonicMs() + TRANSFER_TIMEOUT_MS;
  while (!over.aborted && systemClock.monotonicMs() < untilMs) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait.
    const loaded = await readLoaded(path).catch(() => undefined);
    if (loaded !== undefined) return loaded;
    // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait.
    await sleep(systemClock, POLL_MS, over);
  }
  return undefined;
}

/** `undefined` while it is loading. Throws while it does not listen. */
async function readLoaded(path: string): Promise<LoadedDump | undefined> {
  const connection = await RedisConnection.open({ username: undefined, at: { kind: "unix", path } });
  try {
    const info = await connection.info("persistence");
    if (info.get("loading") !== "0") return undefined;
    const [keys, expired] = [info.get("rdb_last_load_keys_loaded"), info.get("rdb_last_load_keys_expired")];
    return keys === undefined || expired === undefined ? undefined : { keys: Number(keys), expired: Number(expired) };
  } finally {
    connection.close();
  }
}

async function lastWords(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) text = (text + decoder.decode(chunk, { stream: true })).slice(-MAX_TEXT);
  return text;
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)?.trim() ?? "";
}

/** The last line that the server marked as a warning. */
function lastFault(log: string): string {
  return lastLine(
    log
      .split("\n")
      .filter((line) => line.includes(" # "))
      .join("\n") || log,
  ).replace(/^.* # /, "");
}

type Sink = { write: (chunk: Uint8Array) => unknown; flush: () => unknown; end: () => unknown };

/** A checker that has found a fault reads no further; what it says then counts, not that the pipe broke. */
async function feed(sink: Sink, chunk: Uint8Array): Promise<void> {
  try {
    sink.write(chunk);
    await sink.flush();
  } catch {
    // Its exit code says it.
  }
}

async function end(sink: Sink): Promise<void> {
  try {
    await sink.end();
  } catch {
    // It was gone already.
  }
}
