/**
 * The whole tree of a bot: who is in it, and how it is killed to the last process.
 *
 * A group kill misses what called setsid(2), a walk by parent misses what was orphaned, a look for the environment misses what
 * cleared it: so membership is the union of cgroup, parents, session, environment marks and what was a member before.
 */
import { existsSync } from "node:fs";
import { cgroupPids, freezeCgroup, isUnpopulated, killCgroup } from "./cgroup.ts";
import { sleep } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { isAlive, listPids, readEnvironText, readStat } from "./proc.ts";
import type { ProcessId, ProcessStat } from "./proc.ts";
import { isLineEnded, isTreeEnded } from "./descent.ts";
import { guardKill, type KillGuard } from "./kill-guard.ts";
import { killOutright } from "./outright.ts";
import { signalProcess } from "./process-handle.ts";
import { ownPids, reapOrphans } from "./subreaper.ts";

/** By what a member of the tree is recognised; any one of them suffices. */
export interface TreeMarks {
  /** `NAME=value` strings that only this bot's processes are started with, as `INVOCATION_ID=…`. */
  readonly environ: readonly string[];
  /** Folder of the bot's cgroup, or `undefined` where there is none. */
  readonly cgroup: string | undefined;
  /** The main process; it may be dead by now. */
  readonly root: ProcessId | undefined;
  /** Members seen before: they stay members while they live. */
  readonly known: readonly ProcessId[];
  /**
   * Orphans that came to this process count too, whatever they have shed: true only where no other bot's can come. It is
   * what catches, without a cgroup, a child that left session and environment and then lost its parent.
   */
  readonly orphans?: boolean;
  /**
   * All of it was begun by the main process, which this very process started: then its cgroup and the line of descent
   * prove by themselves that nothing lives. Never true of what an earlier supervisor has left.
   */
  readonly begunHere?: boolean;
}

/** A living process of the tree. */
export type Member = ProcessStat;

export interface KillOptions {
  readonly clock: Clock;
  /** Enumerations followed by a kill; default 5. */
  readonly rounds?: number;
  /** Total time for the killed to disappear, ms; default 2000. */
  readonly graceMs?: number;
  /**
   * Called at most once, when the tree is stopped and before it is killed; not where nothing lives. Short, and it must not throw: the
   * bot neither trades nor dies meanwhile. Should we die in it, the cgroup is killed all the same.
   */
  readonly whileStanding?: () => void;
}

/** A forker needs two rounds to lose against stop-then-kill; more only help on a machine that schedules us late. */
const DEFAULT_ROUNDS = 5;
const DEFAULT_GRACE_MS = 2_000;
/** Time between looks at the dying, ms: doubled from the first to the last. */
const FIRST_POLL_MS = 1;
const LAST_POLL_MS = 50;
/** Pause before the look that confirms an empty tree, ms: several times the length of an exec. */
const CONFIRM_MS = 10;
/** Time between two looks at the kernel's books meanwhile, ms. */
const CONFIRM_STEP_MS = 1;
/** Time that a tree which was killed outright has before it is looked for, ms: longer than most need to die. */
const OUTRIGHT_MS = 100;
/** Re-reads of /proc for processes that were born during the look, and rounds of SIGSTOP against forkers. */
const MAX_RESCANS = 5;
const MAX_STOP_ROUNDS = 8;

/**
 * All living processes at one time, read once for many questions. What is asked of it later is answered as of then: good
 * for a daemon's start with many bots, as whatever was born since has a parent in it.
 */
export class Census {
  readonly stats: ReadonlyMap<number, ProcessStat> = scan();
  readonly #environ = new Map<number, string | undefined>();
  readonly #withVariable = new Map<string, readonly number[]>();
  #ancestors: ReadonlySet<number> | undefined;

  /** The environment of one of them, as `readEnvironText` gives it. */
  environ(pid: number): string | undefined {
    if (!this.#environ.has(pid)) this.#environ.set(pid, readEnvironText(pid));
    return this.#environ.get(pid);
  }

  /** This process, PID 1 and everybody between: killing one of them would take us along. */
  get ancestors(): ReadonlySet<number> {
    this.#ancestors ??= ancestors();
    return this.#ancestors;
  }

  /** Those whose environment has a variable of this name; looked for once for each name. */
  withVariable(name: string): readonly number[] {
    const known = this.#withVariable.get(name);
    if (known !== undefined) return known;
    const found = [...this.stats.keys()].filter((pid) => this.environ(pid)?.includes(`\0${name}=`));
    this.#withVariable.set(name, found);
    return found;
  }
}

/** Held weakly: it is of no use for longer than a start takes. */
let latest: { readonly census: WeakRef<Census>; readonly atMs: number } | undefined;

/** A census that is at most `maxAgeMs` old: many bots that are started together share one. */
export function recentCensus(clock: Clock, maxAgeMs: number): Census {
  const nowMs = clock.monotonicMs();
  const ageMs = latest === undefined ? Number.NaN : nowMs - latest.atMs;
  const recent = ageMs >= 0 && ageMs <= maxAgeMs ? latest?.census.deref() : undefined;
  if (recent !== undefined) return recent;
  const census = new Census();
  latest = { census: new WeakRef(census), atMs: nowMs };
  return census;
}

/** Living processes that carry one of the marks or are in the cgroup, with their descendants. */
export function listMarked(environ: readonly string[], cgroup: string | undefined): Member[] {
  return listTree({ environ, cgroup, root: undefined, known: [] });
}

/**
 * Living members of the tree (zombies are not), by pid, as of the census or of now. Never this process, its ancestors or PID 1.
 * Throws when the processes cannot be listed: that is not an empty tree.
 */
export function listTree(marks: TreeMarks, census: Census = new Census()): Member[] {
  const { stats } = census;
  const excluded = census.ancestors;
  const inside = membership(marks, census);
  const members = new Set([...stats.values()].filter((stat) => !excluded.has(stat.pid) && inside(stat)));
  if (members.size > 0) addDescendants(members, census);
  return [...members].sort((a, b) => a.pid - b.pid);
}

/**
 * Whether the kernel's own books prove at once that nothing of the tree lives; `false` proves nothing. Where there is no
 * cgroup, a look at all processes takes its place.
 */
export function isProvenGone(marks: TreeMarks): boolean {
  if (marks.begunHere !== true) return false;
  try {
    if (marks.known.some(({ pid, startTicks }) => stillLives(pid, startTicks))) return false;
    if (marks.cgroup !== undefined) return isTreeEnded(marks);
    return isLineEnded(marks) && listTree(marks).length === 0;
  } catch {
    // What cannot be read proves nothing.
    return false;
  }
}

/**
 * Kills the tree and returns the survivors; an empty answer is the proof of death (two enumerations in a row found nobody).
 * Never throws: where processes cannot be listed, the answer holds one stand-in of pid 0 that says why.
 */
export async function killTree(marks: TreeMarks, options: KillOptions): Promise<Member[]> {
  const guard = guardOf(marks.cgroup);
  try {
    return await killGuarded(marks, options);
  } finally {
    guard?.sendAway();
  }
}

async function killGuarded(marks: TreeMarks, options: KillOptions): Promise<Member[]> {
  const { clock, rounds = DEFAULT_ROUNDS, graceMs = DEFAULT_GRACE_MS } = options;
  let startMs = clock.monotonicMs();
  // The dying have their time from the kill on, however long that was held up.
  const whileStanding = once(() => {
    options.whileStanding?.();
    startMs = clock.monotonicMs();
  });
  const seen = new Map<number, ProcessId>();
  const current = (): Member[] => {
    const members = listTree({ ...marks, known: [...marks.known, ...seen.values()] });
    for (const { pid, startTicks } of members) seen.set(pid, { pid, startTicks });
    return members;
  };
  let provenEmpty = killOutright(marks, whileStanding) && (await untilProvenGone(marks, clock));
  if (provenEmpty) {
    freezeCgroup(marks.cgroup ?? "", false);
    return [];
  }
  for (let round = 1; round <= rounds; round += 1) {
    try {
      provenEmpty = isProvenGone(marks);
      if (provenEmpty) break;
      const members = stopAll(current, marks.cgroup);
      provenEmpty = members.length === 0 && (await confirmEmpty(marks, current, clock));
      if (provenEmpty) break;
      if (members.length > 0) whileStanding();
      killAll(members, marks.cgroup);
      await waitUntilGone(members, clock, startMs + (graceMs * round) / rounds);
    } catch {
      // No descriptor or memory left for /proc: the next round may have one, and the last look decides.
      await sleep(clock, graceMs / rounds);
    }
  }
  if (marks.cgroup !== undefined) freezeCgroup(marks.cgroup, false);
  reapQuietly();
  return provenEmpty ? [] : await lastLook(marks, current, clock);
}

function once(deed: () => void): () => void {
  let left: (() => void) | undefined = deed;
  return () => {
    const now = left;
    left = undefined;
    now?.();
  };
}

/** Only where somebody is to be frozen: the sweep after a clean end needs no guard. */
function guardOf(cgroup: string | undefined): KillGuard | undefined {
  return cgroup === undefined || isUnpopulated(cgroup) || !existsSync(cgroup) ? undefined : guardKill(cgroup);
}

/** Waits a moment for the kernel's books to prove the end; they do once the runtime has waited for the main process. */
async function untilProvenGone(marks: TreeMarks, clock: Clock): Promise<boolean> {
  const endMs = clock.monotonicMs() + OUTRIGHT_MS;
  while (!isProvenGone(marks)) {
    if (clock.monotonicMs() >= endMs) return false;
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, CONFIRM_STEP_MS);
  }
  return true;
}

/** All processes by pid. Read again while new ones appear, so that a forker does not slip through between two reads. */
function scan(): Map<number, ProcessStat> {
  const stats = new Map<number, ProcessStat>();
  const read = new Set<number>();
  for (let pass = 0; pass < MAX_RESCANS; pass += 1) {
    const fresh = listPids().filter((pid) => !read.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      read.add(pid);
      const stat = readStat(pid);
      if (stat !== undefined && isAlive(stat)) stats.set(pid, stat);
    }
  }
  return stats;
}

function membership(marks: TreeMarks, census: Census): (stat: ProcessStat) => boolean {
  const { stats } = census;
  const fenced = new Set(marks.cgroup === undefined ? [] : cgroupPids(marks.cgroup));
  const known = new Map(marks.known.map(({ pid, startTicks }) => [pid, startTicks]));
  if (marks.root !== undefined) known.set(marks.root.pid, marks.root.startTicks);
  const needles = marks.environ.map((entry) => `\0${entry}\0`);
  const carriesMark = (stat: ProcessStat): boolean => {
    // Nobody is older than the process that everybody descends from; this spares reading most environments.
    if (needles.length === 0 || (marks.root !== undefined && stat.startTicks < marks.root.startTicks)) return false;
    const text = census.environ(stat.pid);
    return text !== undefined && needles.some((needle) => text.includes(needle));
  };
  return (stat) =>
    fenced.has(stat.pid) ||
    known.get(stat.pid) === stat.startTicks ||
    inSessionOf(marks.root, stat, stats) ||
    (marks.orphans === true && isAdopted(stat)) ||
    carriesMark(stat);
}

/**
 * Whether the process is of the session that the main process opened. The session's number stays taken while a member
 * lives, so with the leader dead it is still ours if the orphan went to where our orphans go: to us or to PID 1.
 */
function inSessionOf(root: ProcessId | undefined, stat: ProcessStat, stats: ReadonlyMap<number, ProcessStat>): boolean {
  if (root === undefined || stat.session !== root.pid || stat.startTicks < root.startTicks) return false;
  const leader = stats.get(root.pid);
  if (leader !== undefined) return leader.startTicks === root.startTicks;
  return stat.ppid === process.pid || stat.ppid === 1;
}

/** A child of ours that we did not start: its parent died and we are its subreaper. */
function isAdopted({ pid, ppid }: ProcessStat): boolean {
  return ppid === process.pid && !ownPids.has(pid);
}

function addDescendants(members: Set<ProcessStat>, { stats, ancestors: excluded }: Census): void {
  const byParent = Map.groupBy(stats.values(), (stat) => stat.ppid);
  // A Set iterates over what is added meanwhile, so this is the whole closure; each process is added once.
  for (const member of members) {
    for (const child of byParent.get(member.pid) ?? []) if (!excluded.has(child.pid)) members.add(child);
  }
}

function ancestors(): Set<number> {
  const found = new Set<number>([0, 1]);
  for (let pid = process.pid; !found.has(pid);) {
    found.add(pid);
    pid = readStat(pid)?.ppid ?? 1;
  }
  return found;
}

/** Stops the tree first, so that it does not fork faster than we enumerate: by the freezer, else SIGSTOP until nobody new appears. */
function stopAll(current: () => Member[], cgroup: string | undefined): Member[] {
  if (cgroup !== undefined) freezeCgroup(cgroup, true);
  const stopped = new Set<number>();
  let members = current();
  for (let round = 0; round < MAX_STOP_ROUNDS; round += 1) {
    const fresh = members.filter((member) => !stopped.has(member.pid));
    if (fresh.length === 0) break;
    for (const member of fresh) {
      stopped.add(member.pid);
      signalProcess(member, "SIGSTOP");
    }
    members = current();
  }
  return members;
}

function killAll(members: readonly Member[], cgroup: string | undefined): void {
  if (cgroup !== undefined) killCgroup(cgroup);
  for (const group of wholeGroups(members)) {
    try {
      // One call for the group is atomic against its forks: a fork with a pending SIGKILL does not happen.
      process.kill(-group, "SIGKILL");
    } catch {
      // Already empty; each member is still killed on its own below.
    }
  }
  for (const member of members) signalProcess(member, "SIGKILL");
  if (cgroup !== undefined) freezeCgroup(cgroup, false);
}

/** Process groups that consist of members only; a group with a stranger in it is not killed as a whole. */
function wholeGroups(members: readonly Member[]): number[] {
  const inside = new Set(members.map((member) => member.pid));
  const groups = new Set(members.map((member) => member.pgrp));
  for (const pid of listPids()) {
    const stat = inside.has(pid) ? undefined : readStat(pid);
    if (stat !== undefined && isAlive(stat)) groups.delete(stat.pgrp);
  }
  groups.delete(readStat(process.pid)?.pgrp ?? 0);
  return [...groups].filter((group) => group > 1);
}

async function waitUntilGone(members: readonly ProcessId[], clock: Clock, deadlineMs: number): Promise<void> {
  let pollMs = FIRST_POLL_MS;
  const alive = (): boolean => members.some(({ pid, startTicks }) => stillLives(pid, startTicks));
  while (alive()) {
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0) return;
    await sleep(clock, Math.min(pollMs, leftMs));
    pollMs = Math.min(pollMs * 2, LAST_POLL_MS);
  }
}

function stillLives(pid: number, startTicks: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.startTicks === startTicks && isAlive(stat);
}

function reapQuietly(): void {
  try {
    reapOrphans();
  } catch {
    // A zombie more or less decides nothing; the daemon's tick reaps it later.
  }
}

/**
 * A second look after a pause: a process in the middle of an exec has no environment to be recognised by. The pause ends
 * early when the kernel's books prove the end, as they do once the runtime has waited for the main process.
 */
async function confirmEmpty(marks: TreeMarks, current: () => Member[], clock: Clock): Promise<boolean> {
  const endMs = clock.monotonicMs() + CONFIRM_MS;
  do {
    // Safe: a wait between two looks.
    // oxlint-disable-next-line no-await-in-loop
    await sleep(clock, marks.begunHere === true ? CONFIRM_STEP_MS : CONFIRM_MS);
    if (isProvenGone(marks)) return true;
  } while (clock.monotonicMs() < endMs);
  return current().length === 0;
}

async function lastLook(marks: TreeMarks, current: () => Member[], clock: Clock): Promise<Member[]> {
  try {
    const survivors = current();
    return survivors.length === 0 && !(await confirmEmpty(marks, current, clock)) ? current() : survivors;
  } catch (cause) {
    return [unknownMember(cause instanceof Error ? cause.message : String(cause))];
  }
}

/** Stands for "there may be survivors": an answer that is not empty and names no process. */
function unknownMember(comm: string): Member {
  return {
    pid: 0,
    startTicks: 0,
    comm,
    state: "?",
    ppid: 0,
    pgrp: 0,
    session: 0,
    utimeTicks: 0,
    stimeTicks: 0,
    threads: 0,
    rssPages: 0,
  };
}
