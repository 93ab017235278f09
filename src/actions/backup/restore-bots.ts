/**
 * The bots during a restore: stopped by the daemon when there is one; without one, no daemon may start them meanwhile. It is
 * the worker itself that asks, so that a command that goes away leaves nobody half-way.
 */
import { join } from "node:path";
import * as z from "zod";
import { sleep, type Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { lockHolder, tryLock, type Lock } from "../../platform/lock.ts";
import { isLive } from "../../platform/proc.ts";
import type { RestoreJob } from "../../core/restore-job.ts";
import { Failure } from "./failure.ts";

/** An answer that costs the daemon nothing, ms. */
const READ_MS = 10_000;
/** A stop takes as long as the bot takes; the daemon itself kills it after its stopTimeout. Longest wait, ms. */
const STOP_MS = 3_600_000;
/** A daemon that is being upgraded lives, and nobody listens for a moment: how long that is waited for, and between two tries, ms. */
const PATIENCE_MS = 10_000;
const PAUSE_MS = 100;

/** The daemon that a restore speaks to. */
export interface Asked {
  readonly socket: string;
  readonly stateDir: string;
  readonly clock: Clock;
}

const statusSchema = z.object({ bots: z.array(z.object({ name: z.string(), state: z.string() })) });
const refusalSchema = z.object({ error: z.object({ message: z.string() }) });

/** States in which the process runs or will by itself. */
const UP: readonly string[] = ["starting", "running", "backoff"];
/** States in which the bot must be left alone. */
const UNTOUCHABLE: readonly string[] = ["recovering", "stuck", "stopping"];

export interface Keeper {
  /** Those that are up now. Throws when one of them must be left alone. */
  readonly up: readonly string[];
  readonly stop: () => Promise<void>;
  /** Starts them; returns what failed. Never throws. */
  readonly start: (names: readonly string[]) => Promise<readonly string[]>;
  readonly release: () => void;
}

/** Throws when neither the daemon answers nor its place can be taken. */
export async function keepBots({ bots, socket, stateDir, target }: RestoreJob, clock: Clock): Promise<Keeper> {
  const daemon = { socket, stateDir, clock };
  const status = await askPatiently(daemon, "GET", "/v1/status").catch(() => undefined);
  if (status === undefined) return withoutDaemon(stateDir);
  const states = statusSchema.parse(status.value).bots;
  for (const { name, state } of states)
    if (bots.includes(name) && UNTOUCHABLE.includes(state))
      throw new Failure("bots", `bot ${name} is ${state}: wait until that is over`);
  const up = bots.filter((bot) => states.some(({ name, state }) => name === bot && UP.includes(state)));
  return {
    up,
    stop: async () => {
      for (const bot of up) {
        // Safe: one bot after the other, so that a refusal names the first.
        // oxlint-disable-next-line no-await-in-loop
        const trouble = await order(daemon, bot, "stop", `?restore=${target.name}`);
        if (trouble !== undefined) throw new Failure("bots", trouble);
      }
    },
    start: (names) => startBots(daemon, names, target.name),
    release: () => undefined,
  };
}

/** Those that a restore would stop now; none without a daemon that answers. Never throws. */
export async function upBots(socket: string, bots: readonly string[]): Promise<readonly string[]> {
  const status = await ask(socket, "GET", "/v1/status").catch(() => undefined);
  const states = statusSchema.safeParse(status?.value).data?.bots ?? [];
  return bots.filter((bot) => states.some(({ name, state }) => name === bot && UP.includes(state)));
}

/** Starts bots through the daemon that a restore of the target has stopped; returns what failed. Never throws. */
export async function startBots(daemon: Asked, names: readonly string[], target: string): Promise<readonly string[]> {
  const troubles = await Promise.all(names.map((bot) => order(daemon, bot, "start", `?restore=${target}`)));
  return troubles.filter((trouble) => trouble !== undefined);
}

function withoutDaemon(stateDir: string): Keeper {
  const path = lockOf(stateDir);
  ensureDir(stateDir, 0o711);
  const lock: Lock | undefined = tryLock(path);
  if (lock === undefined)
    throw new Failure(
      "bots",
      `the supervisor with pid ${lockHolder(path) ?? "?"} holds ${path} and does not answer; wait until it does, or end it`,
    );
  return {
    up: [],
    stop: async () => undefined,
    start: async () => [],
    release: () => lock.release(),
  };
}

/** `why`, the restore that asks, is a query that an older daemon reads over. */
async function order(daemon: Asked, bot: string, verb: "start" | "stop", why = ""): Promise<string | undefined> {
  try {
    const { ok, value } = await askPatiently(daemon, "POST", `/v1/bots/${encodeURIComponent(bot)}/${verb}${why}`);
    if (ok) return undefined;
    return refusalSchema.safeParse(value).data?.error.message ?? `cannot ${verb} ${bot}: the supervisor refused`;
  } catch (cause) {
    return `cannot ${verb} ${bot}: ${unansweredText(cause)}`;
  }
}

/** The runtime's own words for a socket without a listener speak of a typo in an address. */
function unansweredText(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ECONNREFUSED" || code === "ECONNRESET" || code === "ENOENT")
    return "the supervisor does not answer any more; supervisor status shows whether it lives";
  return cause instanceof Error ? cause.message : String(cause);
}

/** Stopping and starting twice is the same as once, so that a request whose answer was cut off may be made again. */
async function askPatiently(daemon: Asked, method: "GET" | "POST", path: string): ReturnType<typeof ask> {
  const { socket, stateDir, clock } = daemon;
  const endMs = clock.monotonicMs() + PATIENCE_MS;
  for (;;) {
    try {
      // Safe: one try after the other.
      // oxlint-disable-next-line no-await-in-loop
      return await ask(socket, method, path);
    } catch (cause) {
      const late = cause instanceof Error && cause.name === "TimeoutError";
      if (late || clock.monotonicMs() >= endMs || !livesIn(stateDir)) throw cause;
    }
    // Safe: a wait between two tries.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, PAUSE_MS);
  }
}

/** Whether the process that holds the state folder, by its own word, lives. */
function livesIn(stateDir: string): boolean {
  const pid = lockHolder(lockOf(stateDir));
  try {
    return pid !== undefined && isLive(pid);
  } catch {
    return false;
  }
}

function lockOf(stateDir: string): string {
  return join(stateDir, "supervisor.lock");
}

async function ask(unix: string, method: "GET" | "POST", path: string): Promise<{ ok: boolean; value: unknown }> {
  const signal = AbortSignal.timeout(method === "GET" ? READ_MS : STOP_MS);
  const response = await fetch(`http://supervisor${path}`, { unix, method, timeout: false, signal });
  return { ok: response.ok, value: await response.json() };
}
