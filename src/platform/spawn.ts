/** Starts a bot: own session, its own environment and nothing of ours, output straight into its log file. */
import { closeSync, constants, existsSync, fchmodSync, fchownSync, mkdirSync, openSync, statSync } from "node:fs";
import { withdrawOomProtection } from "./oom-score.ts";
import { startTicksOf } from "./proc.ts";
import type { ProcessId } from "./proc.ts";
import { openOwnChild, signalName } from "./process-handle.ts";
import type { ProcessHandle, SignalName } from "./process-handle.ts";
import { holdBack } from "./process-limits.ts";
import { findProgram, presumeProgram } from "./program.ts";
import { botPids, ownPids } from "./subreaper.ts";
import { switchUser } from "./user.ts";
import type { User } from "./user.ts";

export { lookupUser } from "./user.ts";
export type { User } from "./user.ts";

export interface SpawnRequest {
  readonly command: readonly string[];
  readonly cwd: string;
  /** The whole environment: nothing is added, and PATH is the one that the command is searched in. */
  readonly env: Readonly<Record<string, string>>;
  readonly user?: User;
  /** Program and arguments put before the command, still with our rights; it ends in an exec, so the pid stays. */
  readonly before?: readonly string[];
  /** Log file for stdout and stderr, appended to; made with mode 0640. */
  readonly outputPath: string;
  /** Where stdout and stderr go instead of the log file; the descriptors stay the caller's. */
  readonly output?: OutputDescriptors | undefined;
  /** Folder of the cgroup to start in, fresh from `createBotCgroup` (one that was killed kills what is started in it); made when it is gone. */
  readonly cgroup?: string;
  /** Called once, never before `spawnChild` has returned. */
  readonly onExit: (result: ExitResult) => void;
}

export interface OutputDescriptors {
  readonly stdout: number;
  readonly stderr: number;
}

export interface ExitResult {
  /** Exit code, `null` after a signal. */
  readonly code: number | null;
  /** Name of the signal that ended the process, `null` after an exit. */
  readonly signal: string | null;
}

export interface SpawnedChild extends ProcessId {
  /** `undefined` without FFI or when no descriptor was left; `signal` then checks the start time. */
  readonly pidfd: number | undefined;
  /** Signals this process and never one that got its pid later; `false` when it is gone. A stop signal is to be followed by SIGCONT. */
  readonly signal: (name: SignalName) => boolean;
}

export type SpawnOutcome =
  /** `outputError`: why the output goes to /dev/null and not to the log file. */
  | { readonly kind: "spawned"; readonly child: SpawnedChild; readonly outputError?: string }
  /** `permanent`: the same start fails for ever (no such command, no permission), as opposed to a machine short of something. */
  | { readonly kind: "failed"; readonly reason: string; readonly permanent: boolean };

/** Failures that no waiting cures (execve(2)). */
const PERMANENT_CODES: ReadonlySet<string> = new Set([
  "ENOENT",
  "EPERM",
  "EACCES",
  "ENOEXEC",
  "ENOTDIR",
  "ELOOP",
  "E2BIG",
  "EINVAL",
  "EISDIR",
]);

/** Starts the command. Never throws. */
export function spawnChild(request: SpawnRequest): SpawnOutcome {
  const presumed = presume(request);
  const outcome = presumed === undefined ? undefined : spawnAt(request, presumed);
  if (outcome?.kind === "spawned") return outcome;
  const program = findProgram(request);
  if (program.kind === "missing") return { kind: "failed", reason: program.reason, permanent: true };
  // Not the program's want: and what passes may have begun a process, which is being killed.
  if (outcome !== undefined && (!outcome.permanent || program.path === presumed)) return outcome;
  return spawnAt(request, program.path);
}

/** A program that is started without a look at it; not where another one is started first, whose exit code would be all that is heard of it. */
function presume(request: SpawnRequest): string | undefined {
  const { user, before = [] } = request;
  return user === undefined && before.length === 0 ? presumeProgram(request) : undefined;
}

function spawnAt(request: SpawnRequest, path: string): SpawnOutcome {
  const output = request.output === undefined ? openOutput(request.outputPath, request.user) : NO_FILE;
  try {
    const child = start(request, path, request.output ?? { stdout: output.fd, stderr: output.fd });
    return { kind: "spawned", child, ...(output.error === undefined ? {} : { outputError: output.error }) };
  } catch (cause) {
    return describeFailure(request, cause);
  } finally {
    if (output.fd !== undefined) closeSync(output.fd);
  }
}

const NO_FILE = { fd: undefined, error: undefined };

function start(
  request: SpawnRequest,
  path: string,
  { stdout, stderr }: { readonly [S in keyof OutputDescriptors]: number | undefined },
): SpawnedChild {
  const { command, cwd, env, user, cgroup, onExit, before = [] } = request;
  const { prefix: switching, spawnOptions } = switchUser(user);
  const late = switching.length === 0 ? { env, step: [] } : holdBack(env);
  const prefix = [...before, ...switching, ...late.step];
  let handle: ProcessHandle | undefined;
  let returned = false;
  const child = insideCgroup(cgroup, () =>
    Bun.spawn({
      cmd: [...prefix, path, ...command.slice(1)],
      ...(prefix.length === 0 ? { argv0: command[0] ?? path } : {}),
      cwd,
      env: late.env,
      ...spawnOptions,
      ...(cgroup === undefined ? {} : { cgroup }),
      detached: true,
      stdio: ["ignore", stdout ?? "ignore", stderr ?? "ignore"],
      onExit: (ended, code, signal) => {
        ownPids.delete(ended.pid);
        botPids.delete(ended.pid);
        handle?.close();
        const result = { code: signal === null ? code : null, signal: signalName(signal) };
        if (returned) onExit(result);
        else queueMicrotask(() => onExit(result));
      },
    }),
  );
  ownPids.add(child.pid);
  botPids.add(child.pid);
  // First: the kernel answers this once the exec is over, and until then the processor may be the child's.
  const id = { pid: child.pid, startTicks: identify(child) };
  withdrawOomProtection(child.pid);
  handle = openOwnChild(id);
  returned = true;
  return { ...id, pidfd: handle?.pidfd, signal: (name) => handle?.signal(name) ?? false };
}

/** Makes the cgroup when it turns out to be gone; it hardly ever is, and a restart waits for the look. */
function insideCgroup<T>(cgroup: string | undefined, spawn: () => T): T {
  try {
    return spawn();
  } catch (cause) {
    if (cgroup === undefined || existsSync(cgroup)) throw cause;
    mkdirSync(cgroup, { recursive: true });
    return spawn();
  }
}

/** A process that we cannot name we could not prove dead later: it is killed at once, and the start counts as failed. */
function identify(child: { pid: number; kill(signal: "SIGKILL"): void }): number {
  try {
    return startTicksOf(child.pid) ?? 0;
  } catch (cause) {
    child.kill("SIGKILL");
    throw cause;
  }
}

/** Descriptor of the log file; where it cannot be had the bot still starts, into /dev/null. */
function openOutput(path: string, user: User | undefined): { fd: number | undefined; error: string | undefined } {
  try {
    // A FIFO without a reader would block us in open(2) for ever.
    const there = statSync(path, { throwIfNoEntry: false });
    if (there?.isFIFO() === true) throw new Error("it is a FIFO");
    const fresh = there === undefined;
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o640);
    if (fresh) fchmodSync(fd, 0o640);
    // The bot's user owns the file, so that a bot can open /dev/stdout and /dev/stderr, which are this file to it.
    if (fresh && user !== undefined && process.getuid?.() === 0) fchownSync(fd, user.uid, user.gid);
    return { fd, error: undefined };
  } catch (cause) {
    return { fd: undefined, error: `cannot open log file ${path}: ${messageOf(cause)}` };
  }
}

function describeFailure({ command, cgroup }: SpawnRequest, cause: unknown): SpawnOutcome {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "";
  const name = command[0] ?? "";
  const message = messageOf(cause);
  if (cgroup !== undefined && message.includes(cgroup)) {
    return {
      kind: "failed",
      reason: `cannot start ${name}: cannot join cgroup ${cgroup}: ${message}`,
      permanent: false,
    };
  }
  const why = code === "ENOEXEC" ? "it is neither a program for this machine nor a script with a #! line" : message;
  return { kind: "failed", reason: `cannot start ${name}: ${why}`, permanent: PERMANENT_CODES.has(code) };
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
