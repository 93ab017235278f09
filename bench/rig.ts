/** What every benchmark stands on: a scratch folder, the processes started in it, and the ends of both. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Status } from "../src/core/status.ts";

const root = join(import.meta.dirname, "..");
/** Longest wait for anything that should happen at once, ms; a loaded machine may be slow, but not this slow. */
const PATIENCE_MS = 30_000;
/** Time between two looks of `until`, ms. */
const POLL_MS = 2;
/** Time a process has to end after SIGTERM before it is killed, ms. */
const END_MS = 10_000;

export type Child = Bun.Subprocess<"ignore", "ignore" | "pipe", "ignore">;

export interface Options {
  /** A smoke run: few rounds, short waits. */
  readonly quick: boolean;
  /** What the paper exchange of `close` speaks. */
  readonly venue: "binance" | "okx";
  /** The binary under test. */
  readonly supervisor: string;
}

/** Environment of everything that is started: no variable of this shell may change what is measured. */
export const ENV: Readonly<Record<string, string>> = {
  PATH: process.env["PATH"] ?? "/usr/bin:/bin",
  HOME: "/",
  LANG: "C",
};

/**
 * Folders of rigs that have ended. They go when everything is measured: for half a minute ext4 does not give away the inodes
 * of removed files, and steps over each of them whenever a file is made, which then costs ten times what it should.
 */
const spent: string[] = [];
process.once("exit", () => {
  for (const folder of spent) rmSync(folder, { recursive: true, force: true });
});

export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "supervisor-bench-"));
  readonly #children: Child[] = [];

  /** A folder below the scratch folder. */
  folderFor(name: string): string {
    const path = join(this.folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Starts a process that ends with the rig at the latest. */
  spawn(cmd: string[], env: Readonly<Record<string, string>> = {}, stdout: "ignore" | "pipe" = "ignore"): Child {
    const child = Bun.spawn({ cmd, cwd: this.folder, env: { ...ENV, ...env }, stdio: ["ignore", stdout, "ignore"] });
    this.#children.push(child);
    return child;
  }

  /** Starts a program of this folder from source. */
  spawnSource(file: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Child {
    return this.spawn([process.execPath, join(root, "bench", file), ...args], env, "pipe");
  }

  /** Builds `file` of this folder the way the supervisor is built; path of the binary. */
  compile(file: string): string {
    const output = join(this.folder, file.replace(/\.ts$/, ""));
    const flags = ["--compile", "--minify", "--bytecode", "--format=esm"];
    const cmd = [process.execPath, "build", ...flags, "--outfile", output, join(root, "bench", file)];
    const { exitCode, stderr } = Bun.spawnSync(cmd, { cwd: this.folder });
    if (exitCode !== 0) throw new Error(`cannot compile ${file}: ${stderr.toString().trim()}`);
    return output;
  }

  /** Ends every process, newest first; the folder is removed at the end of the run. */
  async end(): Promise<void> {
    for (const child of this.#children.toReversed()) await endChild(child);
    spent.push(this.folder);
  }
}

/** Runs `work` with a rig and ends what it started, however it ends. */
export async function withRig<T>(work: (rig: Rig) => Promise<T>): Promise<T> {
  const rig = new Rig();
  try {
    return await work(rig);
  } finally {
    await rig.end();
  }
}

/** SIGTERM, and SIGKILL for what does not end by it: the supervisor needs the first to end its bots. */
export async function endChild(child: Child): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
  const overdue = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await child.exited;
  clearTimeout(overdue);
}

/** Waits until `probe` has an answer. Throws after 30 s. */
export async function until<T>(what: string, probe: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const giveUpAtMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (performance.now() > giveUpAtMs) throw new Error(`cannot go on: ${what} did not happen within 30 s`);
    await Bun.sleep(POLL_MS);
  }
}

/** The first line that a child prints. */
export async function firstLine(child: Child): Promise<string> {
  const { stdout } = child;
  if (!(stdout instanceof ReadableStream)) throw new Error("cannot read the child: its output is not a pipe");
  const reader = stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("cannot read the child: it ended without a line");
    text += decoder.decode(value, { stream: true });
  }
  reader.releaseLock();
  return text.split("\n", 1)[0] ?? "";
}

/** A running `supervisor run` with one bot, named `bot`. */
export interface Daemon {
  readonly process: Child;
  readonly config: string;
  readonly call: (method: "GET" | "POST", path: string, body?: unknown) => Promise<unknown>;
  readonly status: () => Promise<Status>;
}

export interface Site {
  readonly name: string;
  readonly bot: Readonly<Record<string, unknown>>;
  /** Further bots. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** `started`: the bot may be gone again. */
  readonly until?: "running" | "started";
}

/** Starts a daemon whose one bot has the given fields, and waits until the bot runs. */
export async function startDaemon(
  rig: Rig,
  { supervisor }: Options,
  { name, bot, extra = {}, until: reached = "running" }: Site,
): Promise<Daemon> {
  const folder = rig.folderFor(name);
  const config = join(folder, "supervisor.yaml");
  // JSON is YAML 1.2.
  writeFileSync(config, JSON.stringify({ version: 1, bots: { bot, ...extra } }));
  const child = rig.spawn([supervisor, "run", "--config", config]);
  const unix = join(folder, ".supervisor", "run", "control.sock");
  const call = async (method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> => {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`http://supervisor${path}`, { unix, method, ...sent });
    return await response.json();
  };
  // Safe: GET /v1/status answers with the status object.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const status = async (): Promise<Status> => (await call("GET", "/v1/status")) as Status;
  await until(`the bot of ${config} runs`, async () => {
    if (child.exitCode !== null) throw new Error(`cannot start ${supervisor}: it ended with ${child.exitCode}`);
    const seen = await status().catch(() => undefined);
    const first = seen?.bots[0];
    if (reached === "started") return (first?.generation ?? 0) > 0 ? true : undefined;
    return first?.state === "running" ? true : undefined;
  });
  return { process: child, config, call, status };
}
