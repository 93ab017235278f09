/** What one version of the daemon gives to the next in the same process: the lock, by its descriptor, and what no file on disk says of the bots. */
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import type { RestartLog } from "../../core/budget.ts";
import { initialState } from "../../core/lifecycle.ts";
import type { ExitInfo, Policy, State, StateKind } from "../../core/lifecycle-types.ts";
import type { Identity } from "../../core/identity.ts";
import { knownCounts } from "../../core/restart-reason.ts";
import {
  HANDOVER_VERSION,
  notWaitedFor,
  readHandover,
  type CarriedBot,
  type HandedOver,
  type Waiting,
} from "../../core/upgrade.ts";
import type { Clock } from "../../platform/clock.ts";
import { FIRST_OWN_FD, takeDescriptor } from "../../platform/exec.ts";
import { takeLateSignal, type LateSignal } from "../../platform/late-signals.ts";
import { libc } from "../../platform/libc.ts";
import { isLive } from "../../platform/proc.ts";
import { killTree } from "../../platform/kill-tree.ts";
import { ownUntilGone } from "../../platform/subreaper.ts";
import { runningWorkers } from "../../platform/worker.ts";
import type { KeptWorkers } from "./kept-workers.ts";
import type { StartTurn } from "./start-turn.ts";
import type { Bot } from "./bot.ts";

/** Holds `FORM LOCK DATA`: version of the form, descriptor of the lock, descriptor of what is handed over. */
export const HANDOVER_VARIABLE = "SUPERVISOR_HANDOVER";
/** Some 300 bytes a bot: more than any machine supervises. */
const MAX_HANDOVER_BYTES = 8 * 1024 ** 2;

export interface Handover extends HandedOver {
  readonly lockFd: number;
  /** Came when the version before us could not obey it any more. */
  readonly late: LateSignal | undefined;
}

/** Takes what an earlier version in this process left to us; `undefined` for an ordinary start. Answers once. */
export function takeHandover(env: Record<string, string | undefined>): Handover | undefined {
  const text = env[HANDOVER_VARIABLE];
  delete env[HANDOVER_VARIABLE];
  const [form = 0, lockFd = 0, dataFd = 0] = /^\d+ \d+ \d+$/.test(text ?? "")
    ? (text ?? "").split(" ").map(Number)
    : [];
  if (form !== HANDOVER_VERSION || Math.min(lockFd, dataFd) < FIRST_OWN_FD || !takeDescriptor(dataFd)) return undefined;
  try {
    const read = readHandover(readAll(dataFd), process.pid);
    if (read === undefined) return undefined;
    closeSync(dataFd);
    return { ...read, lockFd, late: lateOf(read) };
  } catch {
    // A variable that somebody made up: an ordinary start finds everything on disk.
    return undefined;
  }
}

function lateOf({ umask, noting = umask }: HandedOver): LateSignal | undefined {
  return umask === undefined || noting === undefined ? undefined : takeLateSignal({ umask, noting });
}

function readAll(fd: number): string {
  const { size } = fstatSync(fd);
  const bytes = Buffer.alloc(Math.min(size, MAX_HANDOVER_BYTES));
  return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, 0));
}

/**
 * What runs of the version before us: ends the probes' commands, which nobody would end at their timeout, and goes on with the workers,
 * which would pass for orphans of a bot, and end with it, as would what killed ones have left. Call it as a subreaper.
 */
export function takeProcesses({ commands, workers, left }: Handover, clock: Clock, kept: KeptWorkers): void {
  for (const root of commands) void killTree({ environ: [], cgroup: undefined, root, known: [] }, { clock });
  const nowMs = clock.monotonicMs();
  for (const { leftMs, memoryBytes, ...root } of workers)
    kept.keep({ ...root, endsAtMs: nowMs + leftMs, memory: memoryBytes });
  ownUntilGone(left, clock);
}

/** What the next version is to know of the workers that run. */
export function carriedWorkers(clock: Clock): HandedOver["workers"] {
  const nowMs = clock.monotonicMs();
  return [...runningWorkers].map(({ pid, startTicks, endsAtMs, memory, work }) => ({
    pid,
    startTicks,
    leftMs: endsAtMs - nowMs,
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    ...(work === undefined ? {} : { work }),
  }));
}

/** Puts what is handed over into a file in memory; its descriptor. Throws when there is none to be had. */
export function packHandover(handed: Omit<HandedOver, "handover">): number {
  const fd = libc()?.memfdCreate(Buffer.from("supervisor-handover\0")) ?? -1;
  if (fd < 0) throw new Error("cannot make a file in memory: memfd_create(2) failed");
  const bytes = Buffer.from(JSON.stringify({ handover: HANDOVER_VERSION, ...handed } satisfies HandedOver));
  if (bytes.length > MAX_HANDOVER_BYTES) throw new Error("cannot hand over: too many bots");
  writeSync(fd, bytes, 0, bytes.length, 0);
  return fd;
}

/** Why this bot cannot be handed over now; `undefined` when it can. */
export function obstacleOf({ loop: { state }, plan, owed }: Pick<Bot, "loop" | "plan" | "owed">): string | undefined {
  // The next version knows of a lockout and a close what is on disk.
  if (owed !== undefined) return `of bot ${plan.name}: ${owed}`;
  switch (state.kind) {
    case "running":
    case "stopped":
    case "halted":
    case "locked":
    case "backoff":
      return state.closeClock === "due" ? `the closeAfter of ${plan.name} is over` : undefined;
    case "starting":
    case "stopping":
    case "recovering":
    case "stuck":
      return `bot ${plan.name} is ${state.kind}`;
  }
}

/** What the next version is to know of the bot; `undefined` in a state that is not handed over. */
export function carriedBot(
  bot: Pick<Bot, "plan" | "loop" | "lastExitAt"> & {
    readonly turn: Pick<StartTurn, "isDue" | "keptDown" | "staysDown">;
  },
  clock: Clock,
): CarriedBot | undefined {
  const { loop, lastExitAt, turn } = bot;
  const { state } = loop;
  const { kind, generation, attempt, restarts, restartsBy, log, lastExit } = state;
  if (!isCarried(kind)) return undefined;
  const nowMs = clock.monotonicMs();
  const leftMs = (timer: "closeAfter" | "backoff"): number | undefined => {
    const dueAtMs = loop.dueAtMs(timer);
    return dueAtMs === undefined ? undefined : Math.max(0, dueAtMs - nowMs);
  };
  return {
    closeAfterLeftMs: leftMs("closeAfter") ?? null,
    ...(kind === "backoff" ? { backoffLeftMs: leftMs("backoff") ?? 0 } : {}),
    kind,
    account: bot.plan.account,
    generation,
    reason: kind === "halted" ? state.reason : (turn.keptDown ?? ""),
    wanted: state.wanted || turn.isDue,
    ...(turn.staysDown ? { staysDown: true } : {}),
    attempt,
    restarts,
    restartsBy: { ...restartsBy },
    restartAgesMs: agesOf(log, nowMs),
    lastExit: lastExit === undefined ? null : { ...lastExit, at: lastExitAt?.toISOString() ?? null },
  };
}

/** Restarts that one version tells the next of: of a budget of more than these, the newest. */
const MAX_AGES = 1_001;

/** The ages of the newest restarts, oldest first, ms. */
function agesOf(log: RestartLog, nowMs: number): number[] {
  const ages: number[] = [];
  for (const { atMs, count } of log.toReversed())
    for (let i = 0; i < count && ages.length < MAX_AGES; i += 1) ages.push(nowMs - atMs);
  return ages.toReversed();
}

/** What must not be lost of a bot that is down; empty when nothing counts. */
export function waitingOf({ plan: { name, account }, loop: { state } }: Pick<Bot, "plan" | "loop">): Waiting[] {
  if (state.kind === "backoff") return [{ name, account, until: "restart" }];
  const counts = (state.kind === "halted" || state.kind === "stopped") && state.closeClock === "counting";
  return counts ? [{ name, account, until: "closeAfter" }] : [];
}

/** What the new program has shown that it goes on with. */
export interface Judgement {
  readonly takesBackoff: boolean;
  /** The bots that ran, each with the number of its start, and those that waited. */
  readonly judged: ReadonlyMap<string, number | undefined>;
}

interface Seen extends Pick<Bot, "plan" | "loop"> {
  readonly generation: { readonly child: { readonly pid: number; readonly startTicks: number } } | undefined;
}

/** Why the bot is not any more what the new program has judged; `undefined` when it is. */
export function changeOf(bot: Seen, { judged, takesBackoff }: Judgement): string | undefined {
  const { name } = bot.plan;
  const { kind, generation } = bot.loop.state;
  if (kind === "running") {
    const child = bot.generation?.child;
    // The runtime may have waited for it already and not told us yet: after the exec nobody could tell how it ended.
    if (child === undefined || !isLive(child.pid, child.startTicks)) return `bot ${name} has just ended`;
    return judged.get(name) === generation ? undefined : `bot ${name} has just been started`;
  }
  if (kind === "backoff" && !takesBackoff) return notWaitedFor(name);
  return judged.has(name) || waitingOf(bot).length === 0 ? undefined : `bot ${name} has just ended`;
}

function isCarried(kind: StateKind): kind is CarriedBot["kind"] {
  return !["starting", "stopping", "recovering", "stuck"].includes(kind);
}

/** `closeAfter` does not go on counting under a config that has no emergency section any more, or in maintenance. */
export function carriedUnder({ emergency }: Policy, carried: CarriedBot | undefined): CarriedBot | undefined {
  const counts = emergency !== undefined && emergency.suspended !== true;
  return carried === undefined || counts ? carried : { ...carried, closeAfterLeftMs: null };
}

/** What counts towards a restart or a close of one account is nothing to another one, which the config may give the bot by now. */
export function carriedFor(account: string, earlier: string | undefined, carried: CarriedBot | undefined) {
  const owner = carried?.account ?? earlier;
  if (carried === undefined || owner === undefined || owner === account) return { carried, dropped: undefined };
  const { backoffLeftMs, closeAfterLeftMs, ...rest } = carried;
  const counted = backoffLeftMs !== undefined || closeAfterLeftMs !== null;
  const dropped = `its account was ${owner} and is ${account} by now: what was left of backoff and closeAfter does not count any more; look at ${owner}`;
  return { carried: { ...rest, closeAfterLeftMs: null }, dropped: counted ? dropped : undefined };
}

interface Past {
  readonly before: Identity | undefined;
  /** The last start in the log of starts, for when the identity is lost. */
  readonly lastGeneration: number;
  readonly carried: CarriedBot | undefined;
  readonly clock: Clock;
  /** What about the bot is in doubt, so that it rests. */
  readonly held?: string | undefined;
  /** A lockout holds: it is more than what halted the bot, which it would begin as otherwise. */
  readonly locked?: boolean;
  readonly config?: { readonly autostart: boolean };
}

/** The state in which a bot's loop begins: what the earlier version handed over, else what the identity on disk says. */
export function firstState({ before, lastGeneration, carried, clock, held, locked = false, config }: Past): State {
  const known = {
    ...initialState,
    generation: before?.generation ?? lastGeneration,
    restarts: before?.restarts ?? 0,
    restartsBy: knownCounts(before?.restartsBy, before?.restarts ?? 0),
  };
  if (held !== undefined)
    return { ...known, kind: "halted", reason: held, wanted: carried?.wanted ?? config?.autostart === true };
  if (carried === undefined) return known;
  const nowMs = clock.monotonicMs();
  // Of one that runs, the identity says which start it is.
  const generation = (carried.kind === "running" ? undefined : carried.generation) ?? known.generation;
  const { kind, reason, attempt, restarts, restartAgesMs, wanted, lastExit, closeAfterLeftMs } = carried;
  const restored: State = {
    ...known,
    generation,
    closeClock: closeAfterLeftMs === null ? "off" : "counting",
    attempt,
    restarts,
    restartsBy: knownCounts(carried.restartsBy, restarts),
    log: restartAgesMs.map((ageMs) => ({ atMs: nowMs - ageMs, count: 1 })),
    // Safe: the causes of every version are a superset of those before it, and an unknown one is only shown.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    lastExit: lastExit === null ? undefined : ({ ...lastExit } as ExitInfo),
  };
  return kind === "halted" && !locked ? { ...restored, kind, reason, wanted } : restored;
}

/** When the bot last ended, by what was handed over. */
export function lastExitOf(carried: CarriedBot | undefined): Date | undefined {
  const at = carried?.lastExit?.at;
  return typeof at === "string" ? new Date(at) : undefined;
}
