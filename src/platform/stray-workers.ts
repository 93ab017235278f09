/** Workers that outlive who started them: the mark by which they are known then, and who of them nobody watches any more. */
import { statSync } from "node:fs";
import { Census } from "./census.ts";
import { isForeignNamespace, pidNamespace } from "./pid-namespace.ts";
import { isLive, processAgeSeconds, readEnvironText, readProc, readStat, type ProcessId } from "./proc.ts";

/** In the environment of a worker: who watches it (pid, start time, PID namespace) and what kind of work it is, the work, and the state folder, a line each. */
const MARK_VARIABLE = "SUPERVISOR_WORK";

interface WorkMark {
  /** State folder of the supervisor whose work it is. */
  readonly stateDir: string;
  /** As in `WorkerRequest`. */
  readonly work: string;
  /** What its action alone does not say; one word, absent: nothing. */
  readonly kind?: "incremental" | undefined;
}

export interface StrayWorker extends ProcessId {
  readonly work: string;
}

/** For the environment of a worker that this process watches. */
export function workMark({ stateDir, work, kind }: WorkMark): Record<string, string> {
  const own = readStat(process.pid);
  if (own === undefined) return {};
  return { [MARK_VARIABLE]: `${own.pid} ${own.startTicks} ${pidNamespace()} ${kind ?? ""}\n${work}\n${stateDir}` };
}

/** Workers of this state folder whose watcher is dead. Throws when processes cannot be listed. */
export function strayWorkers(stateDir: string): readonly StrayWorker[] {
  const census = new Census();
  return census.withVariable(MARK_VARIABLE).flatMap((pid) => {
    const stat = census.stats.get(pid);
    const mark = markIn(census.environ(pid) ?? "");
    if (stat === undefined || mark?.stateDir !== stateDir || !isUnwatched(mark.watcher)) return [];
    // What it has started may have its environment; and who is somebody else's says of itself what he likes.
    const isOurs = stat.session === pid && actionOf(pid) !== undefined && ownerOf(pid) === process.geteuid?.();
    return isOurs ? [{ pid, startTicks: stat.startTicks, work: mark.work }] : [];
  });
}

/** What the worker does, by its command line, as "backup"; `undefined` for what is no worker. */
export function actionOf(pid: number): string | undefined {
  const words = (readProc(`/proc/${pid}/cmdline`) ?? "").split("\0");
  const at = words.indexOf("__action");
  return at < 0 ? undefined : words[at + 1];
}

/** As in `WorkMark`, of a worker that lives. */
export function kindOf(pid: number): WorkMark["kind"] {
  return markIn(readEnvironText(pid) ?? "")?.kind;
}

/** When the process was started, by this machine's clock; `undefined` where /proc does not tell. */
export function startTimeOf({ startTicks }: ProcessId, now: Date): Date | undefined {
  const ageSeconds = processAgeSeconds(startTicks);
  return ageSeconds === undefined ? undefined : new Date(now.getTime() - ageSeconds * 1_000);
}

interface Watcher extends ProcessId {
  readonly namespace: string | undefined;
}

function markIn(environ: string): (WorkMark & { readonly watcher: Watcher }) | undefined {
  const start = `\0${MARK_VARIABLE}=`;
  const from = environ.indexOf(start) + start.length;
  const [head = "", work = "", ...folder] = environ.slice(from, environ.indexOf("\0", from)).split("\n");
  const [pid = 0, startTicks = 0] = head.split(" ").map(Number);
  if (!(pid > 0) || !(startTicks >= 0) || work === "") return undefined;
  const [, , namespace, kind] = head.split(" ");
  return {
    stateDir: folder.join("\n"),
    work,
    watcher: { pid, startTicks, namespace },
    ...(kind === "incremental" ? { kind } : {}),
  };
}

/** Nobody knows who lives in another namespace. */
function isUnwatched({ pid, startTicks, namespace }: Watcher): boolean {
  return !isForeignNamespace(namespace) && !isLive(pid, startTicks);
}

function ownerOf(pid: number): number | undefined {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
}
