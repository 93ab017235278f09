/** What must hold before the first order: the account's lock, and the proof that the bot is dead. */
import { dirname } from "node:path";
import { LOCK_GRACE_MS } from "../core/close-job.ts";
import type { CloseJob } from "../core/close-job.ts";
import { CLOSE_HANG_BOUNDS, UNHEARD } from "../core/hang.ts";
import { pidsText } from "../core/pids-text.ts";
import { sleep } from "../platform/clock.ts";
import type { Clock } from "../platform/clock.ts";
import { ensureDir } from "../platform/files.ts";
import { watchHang } from "../platform/hang-watch.ts";
import { killTree } from "../platform/kill-tree.ts";
import { kernelHolder, tryLock } from "../platform/lock.ts";
import type { Lock } from "../platform/lock.ts";
import { Census } from "../platform/census.ts";
import { readStat, type ProcessId } from "../platform/proc.ts";
import { listTree } from "../platform/tree.ts";
import type { CloseIo, Teller } from "./close-io.ts";
import type { CloseRecord, Verdict } from "./close-record.ts";
import { describeError } from "./venue/describe-error.ts";

const LOCK_POLL_MS = 200;

/** A verdict when the bot may live: closing beside a bot that trades opens what was closed. */
export function proveFence(job: CloseJob, clock: Clock, record: CloseRecord): Verdict | undefined {
  const startMs = clock.monotonicMs();
  try {
    const { environ, cgroups, processes } = job.fence;
    const method = cgroups.length > 0 ? "cgroup" : "environment";
    const marks = { environ, root: undefined, known: processes };
    const living = (): number[] => {
      // One for all: the account waits for this, and a list of all processes costs milliseconds.
      const census = new Census();
      const found = [undefined, ...cgroups].flatMap((cgroup) => listTree({ ...marks, cgroup }, census));
      return [...new Set(found.map(({ pid }) => pid))];
    };
    const first = living();
    // Twice, for a process that forked while the first look passed by.
    const pids = first.length > 0 ? first : living();
    record.fence = { proven: pids.length === 0, method, pids, ms: Math.round(clock.monotonicMs() - startMs) };
    if (pids.length === 0) return undefined;
    return { outcome: "refused", reason: `the bot still lives as ${pidsText(pids, "pid ")}; nothing was sent` };
  } catch (error) {
    record.fence = { proven: false, pids: [], ms: Math.round(clock.monotonicMs() - startMs) };
    const reason = `the bot's death cannot be proven: ${describeError(error, job.venue)}; nothing was sent`;
    return { outcome: "refused", reason };
  }
}

/** The account's lock; `undefined` when there can be none (a lost lock must not keep positions open), `held` when somebody else kept it too long. */
export async function lockAccount(
  job: CloseJob,
  io: CloseIo,
  record: CloseRecord,
  tell: Teller,
): Promise<Lock | "held" | undefined> {
  const { clock } = io;
  const giveUpAtMs = clock.monotonicMs() + job.venue.timeoutMs + LOCK_GRACE_MS;
  const holder = new Holder(job.accountLock, clock, tell);
  try {
    ensureDir(dirname(job.accountLock));
    for (let told = false; ; told = true) {
      const lock = tryLock(job.accountLock);
      if (lock !== undefined) return lock;
      if (clock.monotonicMs() >= giveUpAtMs || io.signal?.aborted === true) return "held";
      if (!told) tell("closing", "another close of the account is running; waiting for it");
      holder.look();
      // Safe: a wait between two looks.
      // oxlint-disable-next-line no-await-in-loop
      await sleep(clock, LOCK_POLL_MS, io.signal);
    }
  } catch {
    record.countError("lock");
    return undefined;
  } finally {
    holder.leave();
  }
}

/**
 * The close that holds the lock. One that was stopped (SIGSTOP) is ended as a daemon ends its own: where that one is dead, it would keep
 * the positions open for as long as nobody looks. The kernel says who it is, and drops the lock once it is dead.
 */
class Holder {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #tell: Teller;
  #pid: number | undefined;
  #leave: (() => void) | undefined;

  constructor(path: string, clock: Clock, tell: Teller) {
    this.#path = path;
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Watches whoever holds it now. Never throws: who cannot be looked at is waited for all the same. */
  look(): void {
    const pid = this.#now();
    if (pid === this.#pid) return;
    this.leave();
    this.#pid = pid;
    const root = pid === undefined ? undefined : identify(pid);
    if (root === undefined) return;
    const [clock, tell] = [this.#clock, this.#tell];
    const onHang = (why: string): void => {
      if (this.#now() !== root.pid) return;
      tell("closing", `the other close, pid ${root.pid}: ${why}`);
      void killTree({ environ: [], cgroup: undefined, root, known: [] }, { clock });
    };
    this.#leave = watchHang({ root, clock, bounds: CLOSE_HANG_BOUNDS, heard: () => UNHEARD, onHang });
  }

  #now(): number | undefined {
    try {
      return kernelHolder(this.#path);
    } catch {
      return undefined;
    }
  }

  leave(): void {
    this.#leave?.();
    this.#leave = undefined;
  }
}

function identify(pid: number): ProcessId | undefined {
  try {
    return readStat(pid);
  } catch {
    return undefined;
  }
}
