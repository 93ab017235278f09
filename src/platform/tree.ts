/**
 * Who is in the whole tree of a bot, and when it is proven that nobody is.
 *
 * A group kill misses what called setsid(2), a walk by parent misses what was orphaned, a look for the environment misses what
 * cleared it: so membership is the union of cgroup, parents, session, environment marks and what was a member before.
 */
import { Census } from "./census.ts";
import { cgroupPids, isUnpopulated } from "./cgroup.ts";
import { isLineEnded, isTreeEnded } from "./descent.ts";
import { isAlive, readStat, type ProcessId, type ProcessStat } from "./proc.ts";
import { ownPids } from "./subreaper.ts";

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
  /**
   * What a session of the main process's number is once that process has ended. `watched`, which it is when nothing is said: its own, as
   * nobody has had the number since. `unwatched`: its own, or that of a stranger who had the pid after it, for time has passed without
   * us; so it proves nothing (see `listLeaderless`). `over`: a stranger's, as its own is proven gone.
   */
  readonly session?: "watched" | "unwatched" | "over";
}

/** A living process of the tree; `UNSEEN` is the pid of one that has none here. */
export type Member = ProcessStat;

/** Stands for the pid of a member that lives and is in another PID namespace, which the kernel lists as 0 (cgroups(7)). No process has it. */
export const UNSEEN = 0;
/** Looks that must agree on such a member: one that ends between the kernel's list and its name is listed so too. */
const UNSEEN_LOOKS = 3;

/** Living processes that carry one of the marks or are in the cgroup, with their descendants and the sessions that they lead. */
export function listMarked(environ: readonly string[], cgroup: string | undefined): Member[] {
  return listTree({ environ, cgroup, root: undefined, known: [] });
}

/**
 * Living members of the tree (zombies are not), by pid, as of the census or of now. Never this process, its ancestors or PID 1.
 * What lives in the cgroup under no pid of ours is one member, `UNSEEN`: it is not nobody.
 * Throws when the processes cannot be listed: that is not an empty tree.
 */
export function listTree(marks: TreeMarks, census: Census = new Census()): Member[] {
  const { root } = marks;
  const fenced = new Set(fencedPids(marks.cgroup));
  const first = root === undefined ? withPid(marks, fenced, census) : withRoot(marks, root, fenced, census);
  const members = new Set(first.filter(({ pid }) => !census.ancestors.has(pid)));
  if (members.size > 0) addDescendants(members, census);
  const seen = [...members].sort((a, b) => a.pid - b.pid);
  return fenced.has(UNSEEN) ? [unseenMember("in another PID namespace"), ...seen] : seen;
}

/** Whether something lives in the cgroup, or below it, that has no pid here. Throws when an existing one cannot be read. */
export function holdsUnseen(cgroup: string | undefined): boolean {
  return fencedPids(cgroup).includes(UNSEEN);
}

/**
 * Living processes of the session that the main process opened, which has ended, where nothing tells them for members: they may be what it
 * left, or that of a stranger who had the pid after it. None where the pid has another holder, for then the session was gone.
 */
export function listLeaderless(marks: TreeMarks, now?: Census): Member[] {
  const { root, session = "watched" } = marks;
  if (root === undefined || session === "over") return [];
  const leader = readStat(root.pid);
  // A zombie may be reaped before anybody is ended.
  if (leader !== undefined && (isAlive(leader) || leader.startTicks !== root.startTicks)) return [];
  const census = now ?? new Census();
  const left = sessionOf(root, census);
  if (left.length === 0) return [];
  const members = new Set(listTree(marks, census).map(({ pid }) => pid));
  return left.filter(({ pid }) => !members.has(pid) && !census.ancestors.has(pid));
}

/** Whether nobody is left of the session that the main process opened: it never comes back, and who has its number later is a stranger. */
export function isSessionOver(root: ProcessId, now?: Census): boolean {
  if (stillLives(root.pid, root.startTicks)) return false;
  const census = now ?? new Census();
  const holder = census.stats.get(root.pid);
  return (holder !== undefined && holder.startTicks !== root.startTicks) || sessionOf(root, census).length === 0;
}

/** The main process among them, where it lives. */
function sessionOf(root: ProcessId, { stats }: Census): Member[] {
  return [...stats.values()].filter((stat) => stat.session === root.pid && stat.startTicks >= root.startTicks);
}

/** Stands for "somebody lives": a member that no pid of ours names. */
export function unseenMember(comm: string): Member {
  return {
    pid: UNSEEN,
    startTicks: 0,
    comm,
    state: "?",
    ppid: 0,
    ofKernel: false,
    pgrp: 0,
    session: 0,
    utimeTicks: 0,
    stimeTicks: 0,
    threads: 0,
    rssPages: 0,
  };
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

/** The kernel's count of an empty cgroup spares looking through it and all below it. */
function fencedPids(cgroup: string | undefined): readonly number[] {
  if (cgroup === undefined || isUnpopulated(cgroup)) return [];
  let pids = cgroupPids(cgroup);
  for (let look = 1; look < UNSEEN_LOOKS && pids.includes(UNSEEN); look += 1) pids = cgroupPids(cgroup);
  return pids;
}

/**
 * Without a main process, whose session and age speak for others, each is found by its pid. Asked for each bot when many are
 * started: nobody else is looked at, and one search of the environments answers all.
 */
function withPid(
  { environ, known, orphans }: TreeMarks,
  fenced: ReadonlySet<number>,
  census: Census,
): readonly ProcessStat[] {
  const { stats } = census;
  const pids = new Set(fenced);
  for (const entry of environ) for (const pid of census.withEntry(entry)) pids.add(pid);
  for (const { pid, startTicks } of known) if (stats.get(pid)?.startTicks === startTicks) pids.add(pid);
  if (orphans === true) for (const stat of stats.values()) if (isAdopted(stat)) pids.add(stat.pid);
  return [...pids].flatMap((pid) => stats.get(pid) ?? []);
}

function withRoot(
  marks: TreeMarks,
  root: ProcessId,
  fenced: ReadonlySet<number>,
  census: Census,
): readonly ProcessStat[] {
  const { stats } = census;
  const known = new Map(marks.known.map(({ pid, startTicks }) => [pid, startTicks]));
  known.set(root.pid, root.startTicks);
  const needles = marks.environ.map((entry) => `\0${entry}\0`);
  // Nobody is older than the process that everybody descends from; this spares reading most environments.
  const carriesMark = ({ pid, startTicks }: ProcessStat): boolean => {
    if (needles.length === 0 || startTicks < root.startTicks) return false;
    const text = census.environ(pid);
    return text !== undefined && needles.some((needle) => text.includes(needle));
  };
  return [...stats.values()].filter(
    (stat) =>
      fenced.has(stat.pid) ||
      known.get(stat.pid) === stat.startTicks ||
      inSessionOf(root, stat, stats, marks.session) ||
      (marks.orphans === true && isAdopted(stat)) ||
      carriesMark(stat),
  );
}

/**
 * Whether the process is of the session that the main process opened. The session's number stays taken while a member
 * lives, so with the leader dead it is still ours if the orphan went to where our orphans go: to us or to PID 1.
 */
function inSessionOf(
  root: ProcessId,
  stat: ProcessStat,
  stats: ReadonlyMap<number, ProcessStat>,
  session: TreeMarks["session"] = "watched",
): boolean {
  if (stat.session !== root.pid || stat.startTicks < root.startTicks) return false;
  const leader = stats.get(root.pid);
  if (leader !== undefined) return leader.startTicks === root.startTicks;
  return session === "watched" && (stat.ppid === process.pid || stat.ppid === 1);
}

/** A child of ours that we did not start: its parent died and we are its subreaper. */
function isAdopted({ pid, ppid }: ProcessStat): boolean {
  return ppid === process.pid && !ownPids.has(pid);
}

/** All of a session descends from its leader, also who has lost its parent; and while that lives, nobody else has its number. */
function addDescendants(members: Set<ProcessStat>, { stats, ancestors: excluded }: Census): void {
  const byParent = Map.groupBy(stats.values(), (stat) => stat.ppid);
  const bySession = Map.groupBy(stats.values(), (stat) => stat.session);
  // A Set iterates over what is added meanwhile, so this is the whole closure; each process is added once.
  for (const { pid } of members) {
    for (const child of byParent.get(pid) ?? []) if (!excluded.has(child.pid)) members.add(child);
    for (const mate of bySession.get(pid) ?? []) if (!excluded.has(mate.pid)) members.add(mate);
  }
}

/** Whether it is still that process, and no zombie. */
export function stillLives(pid: number, startTicks: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.startTicks === startTicks && isAlive(stat);
}
