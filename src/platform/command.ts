/** Runs a short command of the user's (exec probe, hook) to its end or its timeout; afterwards nothing of it is left running. */
import type { Clock } from "./clock.ts";
import { sleep } from "./clock.ts";
import { holdBack } from "./process-limits.ts";
import { signalName } from "./process-handle.ts";
import { readStat } from "./proc.ts";
import type { ProcessId } from "./proc.ts";
import { findProgram } from "./program.ts";
import { ownPids } from "./subreaper.ts";
import { killTree } from "./kill-tree.ts";
import { lookupUser, switchUser } from "./user.ts";
import type { User } from "./user.ts";

export interface CommandRequest {
  readonly command: readonly string[];
  readonly cwd: string;
  /** The whole environment; nothing is added. */
  readonly env: Readonly<Record<string, string>>;
  /** User to run as, by name or looked up before. */
  readonly user?: string | User;
  readonly timeoutMs: number;
  /** Ends the command as the timeout does. */
  readonly signal?: AbortSignal;
  readonly clock: Clock;
  /** First bytes of stdout and stderr together that are kept; the rest is read and thrown away. Default 512. */
  readonly maxOutputBytes?: number;
  readonly stdin?: string;
  /** Keeps nothing of stderr. */
  readonly stdoutOnly?: boolean;
}

export type CommandResult =
  /** `signal`: name of the signal that ended it, else `null`; `code` is `null` after a signal. */
  | {
      readonly kind: "exited";
      readonly code: number | null;
      readonly signal: string | null;
      readonly output: string;
      readonly durationMs: number;
    }
  /** Killed at the timeout, or when the request's signal aborted. */
  | { readonly kind: "timeout"; readonly output: string }
  /** Not started. */
  | { readonly kind: "failed"; readonly reason: string };

/** Enough for the first lines of an error message (Pebble's number). */
const DEFAULT_OUTPUT_BYTES = 512;
/** Wait for the ends of stdout and stderr once the command itself has exited: a child of its may hold them for ever. */
const HELD_PIPE_WAIT_MS = 1_000;
/** Total wait for the killed to disappear, ms. */
const KILL_GRACE_MS = 1_000;

/** Commands that run now: an upgrade hands them over, as nobody else would end them at their timeout. */
export const runningCommands = new Set<ProcessId>();

/** Runs the command in its own session. Never rejects; resolves about 2 s after the timeout at the latest. */
export async function runCommand(request: CommandRequest): Promise<CommandResult> {
  if (request.signal?.aborted === true) return { kind: "timeout", output: "" };
  const user = typeof request.user === "string" ? lookupUser(request.user) : request.user;
  if (typeof request.user === "string" && user === undefined) {
    return { kind: "failed", reason: `cannot start ${request.command[0] ?? ""}: there is no user ${request.user}` };
  }
  const { command, cwd, env } = request;
  const program = findProgram({ command, cwd, env, ...(user === undefined ? {} : { user }) });
  if (program.kind === "missing") return { kind: "failed", reason: program.reason };
  try {
    return await follow(request, start(request, program.path, user));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return { kind: "failed", reason: `cannot start ${command[0] ?? ""}: ${why}` };
  }
}

type Running = ReturnType<typeof start>;

function start(request: CommandRequest, path: string, user: User | undefined) {
  const { prefix: switching, spawnOptions } = switchUser(user);
  const late = switching.length === 0 ? { env: request.env, step: [] } : holdBack(request.env);
  const prefix = [...switching, ...late.step];
  const child = Bun.spawn({
    cmd: [...prefix, path, ...request.command.slice(1)],
    ...(prefix.length === 0 ? { argv0: request.command[0] ?? path } : {}),
    cwd: request.cwd,
    env: { ...late.env },
    ...spawnOptions,
    detached: true,
    stdio: [request.stdin === undefined ? "ignore" : Buffer.from(request.stdin), "pipe", "pipe"],
    onExit: (ended) => void ownPids.delete(ended.pid),
  });
  ownPids.add(child.pid);
  return child;
}

async function follow(request: CommandRequest, child: Running): Promise<CommandResult> {
  const { clock } = request;
  const startedAtMs = clock.monotonicMs();
  const root = identify(child.pid);
  if (root !== undefined) runningCommands.add(root);
  const output = new OutputHead(request.maxOutputBytes ?? DEFAULT_OUTPUT_BYTES);
  const errors = request.stdoutOnly === true ? new OutputHead(0) : output;
  const pipes = [output.collect(child.stdout), errors.collect(child.stderr)];
  const timer = new AbortController();
  const stop = request.signal === undefined ? timer.signal : AbortSignal.any([request.signal, timer.signal]);
  const timedOut = sleep(clock, request.timeoutMs, stop).then(() => "timeout" as const);
  const first = await Promise.race([child.exited.then(() => "exited" as const), timedOut]);
  timer.abort();
  const durationMs = clock.monotonicMs() - startedAtMs;
  if (first === "timeout" && child.exitCode === null && child.signalCode === null) {
    await killCommand(child, root, clock);
  }
  if (root !== undefined) runningCommands.delete(root);
  await settle(pipes, clock);
  output.close();
  errors.close();
  if (first === "timeout") return { kind: "timeout", output: output.text() };
  const signal = signalName(child.signalCode);
  return { kind: "exited", code: signal === null ? child.exitCode : null, signal, output: output.text(), durationMs };
}

/** The whole session and its descendants; where /proc says nothing, at least the group. */
async function killCommand(child: Running, root: ProcessId | undefined, clock: Clock): Promise<void> {
  if (root !== undefined) {
    await killTree({ environ: [], cgroup: undefined, root, known: [] }, { clock, graceMs: KILL_GRACE_MS });
  } else {
    child.kill("SIGKILL");
  }
}

function identify(pid: number): ProcessId | undefined {
  try {
    return readStat(pid);
  } catch {
    return undefined;
  }
}

async function settle(pipes: readonly Promise<void>[], clock: Clock): Promise<void> {
  const ended = new AbortController();
  const all = Promise.all(pipes).then(() => ended.abort());
  await Promise.race([all, sleep(clock, HELD_PIPE_WAIT_MS, ended.signal)]);
}

/** The first bytes of several streams, in the order of their arrival; all are read on so that the command never blocks. */
class OutputHead {
  readonly #maxBytes: number;
  readonly #chunks: Uint8Array[] = [];
  readonly #cancels: (() => Promise<void>)[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  async collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const reader = stream.getReader();
    this.#cancels.push(() => reader.cancel());
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) this.#keep(next.value);
    } catch {
      // A broken or cancelled pipe ends the output; the exit status is what counts.
    }
  }

  /** Gives up pipes that somebody else still holds. */
  close(): void {
    for (const cancel of this.#cancels) void cancel().catch(() => undefined);
  }

  text(): string {
    // A character cut in two at the end would read as U+FFFD.
    return Buffer.concat(this.#chunks)
      .toString("utf8")
      .replace(/\uFFFD$/, "");
  }

  #keep(chunk: Uint8Array): void {
    const kept = chunk.subarray(0, this.#maxBytes - this.#bytes);
    if (kept.length === 0) return;
    this.#bytes += kept.length;
    this.#chunks.push(kept.slice());
  }
}
