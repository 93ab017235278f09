/** The simulated machine: processes that are born, killed and slow to die, a disk, and power that can go. */
import type { Dice } from "./dice.ts";
import { Disk } from "./disk.ts";
import { newOwner, type Owner, type VirtualTime } from "./virtual-time.ts";

/** Longest time between a SIGKILL and the end of a process that can be killed, ms. */
const DEATH_MS = 30;
/** Longest time that a process stays in an uninterruptible sleep, ms. */
export const UNKILLABLE_MS = 40_000;

export interface End {
  readonly code: number | null;
  readonly signal: string | null;
  readonly oom: boolean;
}

export interface Process {
  readonly pid: number;
  readonly startTicks: number;
  readonly account: string;
  /** By which the sweep and the notify socket recognise it. */
  readonly environ: readonly string[];
  readonly invocationId: string;
  readonly main: boolean;
  alive: boolean;
  dying: boolean;
  /** SIGKILL waits until then: the process sleeps uninterruptibly. */
  unkillableUntilMs: number;
  /** A stop signal has come. */
  onSignal: (name: string) => void;
  readonly onEnd: Set<(end: End) => void>;
}

export type Birth = Pick<Process, "account" | "environ" | "invocationId" | "main">;

export class Machine {
  readonly time: VirtualTime;
  readonly disk = new Disk();
  readonly owner: Owner = newOwner();
  readonly #dice: Dice;
  readonly #living = new Map<string, Set<Process>>();
  #boots = 1;
  #pids = 100;

  constructor(time: VirtualTime, dice: Dice) {
    this.time = time;
    this.#dice = dice;
  }

  get bootId(): string {
    return `boot-${this.#boots}`;
  }

  /** Living processes that trade on `account`. */
  living(account: string): ReadonlySet<Process> {
    return this.#living.get(account) ?? new Set();
  }

  /** Living processes that carry one of `marks`. */
  marked(marks: readonly string[]): readonly Process[] {
    return [...this.#living.values()].flatMap((all) =>
      [...all].filter(({ environ }) => environ.some((mark) => marks.includes(mark))),
    );
  }

  find(pid: number, startTicks: number): Process | undefined {
    for (const all of this.#living.values())
      for (const each of all) if (each.pid === pid && each.startTicks === startTicks) return each;
    return undefined;
  }

  fork(birth: Birth): Process {
    const born: Process = {
      ...birth,
      pid: (this.#pids += 1),
      startTicks: Math.floor(this.time.nowMs / 10),
      alive: true,
      dying: false,
      unkillableUntilMs: 0,
      onSignal: () => {},
      onEnd: new Set(),
    };
    const kin = this.#living.get(birth.account) ?? new Set();
    this.#living.set(birth.account, kin.add(born));
    return born;
  }

  /** SIGKILL. It is deadly, though not at once. */
  kill(process: Process, end: End = { code: null, signal: "SIGKILL", oom: false }): void {
    if (!process.alive || process.dying) return;
    process.dying = true;
    const sleepMs = Math.max(0, process.unkillableUntilMs - this.time.nowMs);
    this.time.in(sleepMs + this.#dice.between(0, DEATH_MS), this.owner, () => this.end(process, end));
  }

  end(process: Process, end: End): void {
    if (!process.alive) return;
    process.alive = false;
    this.#living.get(process.account)?.delete(process);
    for (const listener of process.onEnd) listener(end);
  }

  /** The power goes: nothing lives, and the disk forgets what was not synced. */
  powerCut(): void {
    for (const all of this.#living.values()) {
      for (const each of all) each.alive = false;
      all.clear();
    }
    this.disk.powerCut();
    this.#boots += 1;
  }
}
