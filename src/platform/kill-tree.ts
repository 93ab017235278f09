/**
 * Kills the whole tree of a bot to the last process: outright where its cgroup holds all of it, else stopped first, so that
 * it does not fork faster than it is enumerated, and looked for again until nobody is found.
 */
import { existsSync } from "node:fs";
import { freezeCgroup, isUnpopulated, killCgroup } from "./cgroup.ts";
import { sleep, type Clock } from "./clock.ts";
import { guardKill, type KillGuard } from "./kill-guard.ts";
import { killOutright } from "./outright.ts";
import { isAlive, listPids, readStat, type ProcessId } from "./proc.ts";
import { signalProcess } from "./process-handle.ts";
import { reapOrphans } from "./subreaper.ts";
import {
  holdsUnseen,
  isProvenGone,
  listTree,
  stillLives,
  UNSEEN,
  unseenMember,
  type Member,
  type TreeMarks,
} from "./tree.ts";

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
/** Rounds of SIGSTOP against forkers. */
const MAX_STOP_ROUNDS = 8;

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
    for (const { pid, startTicks } of members) if (pid !== UNSEEN) seen.set(pid, { pid, startTicks });
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
      await waitUntilGone(members, marks.cgroup, clock, startMs + (graceMs * round) / rounds);
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
      signal(member, "SIGSTOP");
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
  for (const member of members) signal(member, "SIGKILL");
  if (cgroup !== undefined) freezeCgroup(cgroup, false);
}

/** One without a pid here is reached through its cgroup alone: to kill(2), 0 means our own group. */
function signal(member: Member, name: "SIGSTOP" | "SIGKILL"): void {
  if (member.pid !== UNSEEN) signalProcess(member, name);
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

async function waitUntilGone(
  members: readonly ProcessId[],
  cgroup: string | undefined,
  clock: Clock,
  deadlineMs: number,
): Promise<void> {
  let pollMs = FIRST_POLL_MS;
  const alive = (): boolean =>
    members.some(({ pid, startTicks }) => (pid === UNSEEN ? holdsUnseen(cgroup) : stillLives(pid, startTicks)));
  while (alive()) {
    const leftMs = deadlineMs - clock.monotonicMs();
    if (leftMs <= 0) return;
    await sleep(clock, Math.min(pollMs, leftMs));
    pollMs = Math.min(pollMs * 2, LAST_POLL_MS);
  }
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
    return [unseenMember(cause instanceof Error ? cause.message : String(cause))];
  }
}
