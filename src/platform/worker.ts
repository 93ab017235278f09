/** A worker: this same program in a process of its own, with a deadline, its job on stdin and its report as lines on descriptor 3. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { beatMsOf, BEAT_VARIABLE, HANG_BOUNDS, UNHEARD, type HangBounds } from "../core/hang.ts";
import { createBotCgroup, favour, placeOfWork, removeCgroup } from "./cgroup.ts";
import { sleep, systemClock } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { watchHang } from "./hang-watch.ts";
import { LineSplitter } from "./line-splitter.ts";
import { signalName } from "./process-handle.ts";
import { isLive, readProc, readStat } from "./proc.ts";
import type { ProcessId } from "./proc.ts";
import { ownPids, ownUntilGone } from "./subreaper.ts";
import { killTree } from "./kill-tree.ts";
import { setOomScoreAdj } from "./oom-score.ts";

export interface WorkerRequest {
  /** Arguments of the program, as `["__action", "close-positions"]`. */
  readonly args: readonly string[];
  /** Written to stdin, which then ends: secrets belong here, where no other user can read them. */
  readonly job: string;
  /** The worker is killed this long after its start, ms. */
  readonly deadlineMs: number;
  /** Resident memory of its own, mapped files left out, above which it is killed, bytes; looked at each second. */
  readonly memory?: number;
  /**
   * It is killed when it no longer moves on, well before its deadline. Where it has `hungMs`, it is not waited for when a dead disk holds it
   * then: whoever begins another one looks at `isAtWork`. Absent: its deadline is short.
   */
  readonly hang?: HangBounds;
  /** A name, under which whoever begins another one finds it by `isUndying`: neither is this one waited for where a dead disk holds it. */
  readonly givesUp?: string;
  /** Told once, with its pid, when it was killed and does not die. */
  readonly onUndying?: (pid: number) => void;
  /** What it works on, for `isAtWork`; absent: nobody asks. */
  readonly work?: string | undefined;
  /** Called for each whole line on descriptor 3, without its newline; longer lines than 1 MiB are dropped. */
  readonly onLine: (line: string) => void;
  readonly clock?: Clock;
  /** Added to the minimal environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** File that stderr is appended to, up to 16 MiB; without it, beyond that, or when it cannot be opened, stderr is lost. */
  readonly stderrPath?: string;
  /**
   * cgroup of its own, made for it and removed after it: it then shares neither limits nor an end for want of memory with us or a bot.
   * It has the largest share of the processor. Where it cannot be had, the worker is started where we are; without one, it is
   * started in the place of work (cgroup.ts).
   */
  readonly cgroup?: string | undefined;
  /** How willingly the kernel ends it for want of memory, -1000 to 1000, where we may say so (oom-score.ts); default: as us. */
  readonly oomScore?: number;
  /** Program to start instead of our own, for tests. */
  readonly program?: readonly string[];
}

/** A worker that runs, with the bounds that it has. */
export interface RunningWorker extends ProcessId {
  /** Monotonic time at which it is killed, ms. */
  readonly endsAtMs: number;
  /** As in `WorkerRequest`. */
  readonly memory: number | undefined;
  readonly work?: string | undefined;
}

/** Workers that run now: an upgrade hands them over, as they are nobody's orphans, and nobody else would end them at their deadline. */
export const runningWorkers = new Set<RunningWorker>();

/** A worker of ours, or of the version before us, is at it. */
export function isAtWork(work: string): boolean {
  return [...runningWorkers].some((each) => each.work === work);
}

/** What was killed and does not die, by its pid. */
const undead = new Map<number, string>();

/** A worker that `givesUp` under this name was given up, and is not gone yet. */
export function isUndying(name: string): boolean {
  return [...undead.values()].includes(name);
}

export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: string | null;
  /** Killed at its deadline. */
  readonly timedOut: boolean;
  /** Killed for its memory. */
  readonly outgrown: boolean;
  /** Why it was killed as one that hangs; absent: it was not. */
  readonly hung?: string;
}

export interface Worker {
  readonly pid: number;
  /** Resolves when the worker is gone (where it has `hungMs` or `givesUp`: or cannot be killed), and its last line was handed on; never rejects. */
  readonly done: Promise<WorkerEnd>;
  /** Kills the worker and whatever it started. */
  readonly kill: () => void;
}

/** Variables of ours that a worker gets. Not BUN_OPTIONS or BUN_BE_BUN, which run other code, and nothing of systemd's. */
const PASSED_VARIABLES = ["PATH", "HOME", "LANG", "TMPDIR"];
const MAX_LINE_BYTES = 1_048_576;
/** A file of stderr gets no more from here on: a worker that crashes at each look at an account would fill the disk in time. */
const MAX_STDERR_BYTES = 16 * 1_048_576;
const MEMORY_CHECK_MS = 1_000;
/** Wait for the end of descriptor 3 once the worker is gone: a grandchild may hold it. */
const HELD_PIPE_WAIT_MS = 1_000;
/** Time to die of SIGKILL, ms. Who waits for a dead disk does so once that answers, without another step of its own, and is not waited for. */
const UNDYING_WAIT_MS = 5_000;
/** Page of /proc/PID/stat: 4 KiB on x86-64 and on the arm64 kernels that Bun supports by default. */
const PAGE_BYTES = 4_096;

/**
 * Starts a worker in its own session, so that it outlives us: it then gets EPIPE on descriptor 3 and goes on.
 * It is started outside of any bot's cgroup. Throws when it cannot be started.
 */
export function startWorker(request: WorkerRequest): Worker {
  const clock = request.clock ?? systemClock;
  const child = start(request);
  if (request.oomScore !== undefined) setOomScoreAdj(child.pid, request.oomScore);
  const root = identify(child.pid);
  const running =
    root === undefined
      ? undefined
      : { ...root, endsAtMs: clock.monotonicMs() + request.deadlineMs, memory: request.memory, work: request.work };
  if (running !== undefined) runningWorkers.add(running);
  const fate: { timedOut: boolean; outgrown: boolean; hung?: string } = { timedOut: false, outgrown: false };
  const { hang: bounds, givesUp } = request;
  const undying = Promise.withResolvers<void>();
  let isGone = false;
  let stopWaiting: (() => void) | undefined;
  const kill = (): void => {
    // Whoever kills what has ended ends what that has left; it is dead itself, and does not wait for a disk.
    if (!isGone)
      stopWaiting ??= clock.after(UNDYING_WAIT_MS, () => {
        request.onUndying?.(child.pid);
        if (givesUp !== undefined) undead.set(child.pid, givesUp);
        if (givesUp !== undefined || bounds?.hungMs !== undefined) undying.resolve();
      });
    if (root === undefined) child.kill("SIGKILL");
    else void endTree(root, clock, bounds?.hungMs !== undefined);
  };
  const stopWatching = watch(request, clock, child.pid, (why) => {
    fate[why] = true;
    kill();
  });
  let [lineMs, beatMs] = [clock.monotonicMs(), clock.monotonicMs()];
  const lines = readLines(child.stdio[3], {
    onBytes: () => (beatMs = clock.monotonicMs()),
    onLine: (line) => {
      lineMs = clock.monotonicMs();
      request.onLine(line);
    },
  });
  const onHang = (why: string): void => {
    fate.hung = why;
    kill();
  };
  const stopHangWatch = bounds && root && watchHang({ root, clock, bounds, heard: () => ({ lineMs, beatMs }), onHang });
  void child.exited.then(() => {
    isGone = true;
    stopWaiting?.();
    undead.delete(child.pid);
    return running !== undefined && runningWorkers.delete(running);
  });
  const done = Promise.race([child.exited, undying.promise]).then(async () => {
    stopWatching();
    stopHangWatch?.();
    stopWaiting?.();
    // Nobody's end is put off by one that does not die.
    child.unref();
    await lines.end(clock);
    if (request.cgroup !== undefined) removeCgroup(request.cgroup);
    const signal = signalName(child.signalCode);
    return { code: signal === null ? child.exitCode : null, signal, ...fate };
  });
  return { pid: child.pid, done, kill };
}

export interface KeepOptions {
  /** Told once when we have killed it; default: nobody. */
  readonly onKilled?: (end: WorkerEnd) => void;
  /** Told once when it is gone and we have not killed it: nobody hears how it ended; default: nobody. */
  readonly onGone?: () => void;
  /** When it counts as hung; default: `HANG_BOUNDS`. Only what works on something has a deadline that is hours away, and is looked at. */
  readonly hang?: HangBounds | undefined;
}

/**
 * Goes on with a worker that another one started, as an earlier version in this process, or a supervisor that died: it counts as ours
 * until it ends, and is killed when it exceeds a bound. Its report is lost; what it leaves on disk counts.
 */
export function keepWorker(
  { endsAtMs, memory, work, ...root }: RunningWorker,
  clock: Clock,
  { onKilled, onGone, hang = HANG_BOUNDS }: KeepOptions = {},
): void {
  if (!isLive(root.pid, root.startTicks)) return;
  // Somebody else's child is nothing that we reap.
  const isChild = readStat(root.pid)?.ppid === process.pid;
  if (isChild) ownPids.add(root.pid);
  const kept = { ...root, endsAtMs, memory, work };
  runningWorkers.add(kept);
  let fate: Partial<WorkerEnd> | undefined;
  const end = (why: Partial<WorkerEnd>): void => {
    const isFirst = fate === undefined;
    fate ??= why;
    const told = { ...UNENDED, ...fate };
    void endTree(root, clock, work !== undefined).then(() => isFirst && onKilled?.(told));
  };
  const onHang = (hung: string): void => end({ hung });
  const stopHangWatch =
    work === undefined ? undefined : watchHang({ root, clock, bounds: hang, heard: () => UNHEARD, onHang });
  const look = (): void => {
    if (!isLive(root.pid, root.startTicks)) {
      stopHangWatch?.();
      // Its zombie is reaped like every other that the runtime does not wait for.
      if (isChild) ownPids.delete(root.pid);
      runningWorkers.delete(kept);
      if (fate === undefined) onGone?.();
      return;
    }
    if (clock.monotonicMs() >= endsAtMs) end({ timedOut: true });
    else if (memory !== undefined && residentBytes(root.pid) > memory) end({ outgrown: true });
    clock.after(MEMORY_CHECK_MS, look);
  };
  look();
}

/** How one that another has started ended is nobody's to hear. */
const UNENDED: WorkerEnd = { code: null, signal: null, timedOut: false, outgrown: false };

/** `patient`: nobody waits for what survives, which cannot act for a bot; what a close or a look at an account has begun could. */
async function endTree(root: ProcessId, clock: Clock, patient: boolean): Promise<void> {
  const survivors = await killTree({ environ: [], cgroup: undefined, root, known: [] }, { clock });
  if (patient) ownUntilGone(survivors, clock);
}

function start(request: WorkerRequest) {
  const { cgroup } = request;
  const own = cgroup === undefined ? placeOfWork() : createBotCgroup(dirname(cgroup), basename(cgroup));
  // What has a cgroup of its own ends a danger to the account: nothing may delay it.
  if (cgroup !== undefined && own !== undefined) favour(own);
  if (own === undefined) return startIn(request, undefined);
  try {
    return startIn(request, own);
  } catch {
    return startIn(request, undefined);
  }
}

function startIn(request: WorkerRequest, cgroup: string | undefined) {
  const stderr = openStderr(request.stderrPath);
  try {
    const child = Bun.spawn({
      ...(cgroup === undefined ? {} : { cgroup }),
      cmd: [...(request.program ?? ownProgram()), ...request.args],
      env: { ...minimalEnvironment(), ...askForBeats(request), ...request.env },
      detached: true,
      stdio: [Buffer.from(request.job), "ignore", stderr ?? "ignore", "socket-fd"],
      onExit: (ended) => void ownPids.delete(ended.pid),
    });
    ownPids.add(child.pid);
    return child;
  } finally {
    if (stderr !== undefined) closeSync(stderr);
  }
}

/** The compiled binary is the whole program; from source the runtime needs the path of the main file. */
export function ownProgram(): string[] {
  const compiled = import.meta.path.startsWith("/$bunfs/");
  const main = Bun.fileURLToPath(new URL("../supervisor/main.ts", import.meta.url));
  return compiled ? [process.execPath] : [process.execPath, main];
}

function minimalEnvironment(): Record<string, string> {
  return Object.fromEntries(
    PASSED_VARIABLES.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function askForBeats({ hang }: WorkerRequest): Record<string, string> {
  return hang?.hungMs === undefined ? {} : { [BEAT_VARIABLE]: String(beatMsOf(hang.hungMs)) };
}

/** Looks after deadline and memory until the returned function is called. */
function watch(
  { deadlineMs, memory }: WorkerRequest,
  clock: Clock,
  pid: number,
  onExcess: (why: "timedOut" | "outgrown") => void,
): () => void {
  const cancelDeadline = clock.after(deadlineMs, () => onExcess("timedOut"));
  if (memory === undefined) return cancelDeadline;
  let cancelCheck: (() => void) | undefined;
  const check = (): void => {
    if (residentBytes(pid) > memory) onExcess("outgrown");
    else cancelCheck = clock.after(MEMORY_CHECK_MS, check);
  };
  check();
  return () => {
    cancelDeadline();
    cancelCheck?.();
  };
}

/** What the kernel can take back at any time, as the pages of mapped files, is no memory that somebody needs (proc_pid_statm(5)). */
function residentBytes(pid: number): number {
  const [, resident = 0, shared = 0] = (readProc(`/proc/${pid}/statm`) ?? "").split(" ").map(Number);
  return (resident - shared) * PAGE_BYTES;
}

function identify(pid: number): ProcessId | undefined {
  try {
    const stat = readStat(pid);
    return stat && { pid, startTicks: stat.startTicks };
  } catch {
    return undefined;
  }
}

/** Reads lines from our end of the pair; `end` waits for the last one, but not for a stranger who holds the other end. */
function readLines(
  fd: number | null | undefined,
  { onBytes, onLine }: { readonly onBytes: () => void; readonly onLine: (line: string) => void },
): { end(clock: Clock): Promise<void> } {
  if (typeof fd !== "number") return { end: () => Promise.resolve() };
  const splitter = new LineSplitter(MAX_LINE_BYTES, onLine);
  const reader = Bun.file(fd).stream().getReader();
  const ended = new AbortController();
  const pump = async (): Promise<void> => {
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        onBytes();
        splitter.push(next.value);
      }
    } catch {
      // A broken pipe ends the report; the exit status is what counts.
    }
    splitter.end();
    ended.abort();
  };
  void pump();
  return {
    async end(clock) {
      await sleep(clock, HELD_PIPE_WAIT_MS, ended.signal);
      await reader.cancel().catch(() => undefined);
      closeSync(fd);
    },
  };
}

function openStderr(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  try {
    const fd = openSync(
      path,
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK,
      0o640,
    );
    const { size } = fstatSync(fd);
    if (size < MAX_STDERR_BYTES) return fd;
    closeSync(fd);
  } catch {
    // It is for people who look back.
  }
  return undefined;
}
