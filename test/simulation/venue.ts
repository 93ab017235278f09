/** The simulated close: a worker process of its own, one at a time on each account, which a dying daemon leaves behind. */
import type { CloseOutcome } from "../../src/core/close-job.ts";
import type { Dice } from "./dice.ts";
import type { Machine } from "./machine.ts";
import { newOwner, type Owner } from "./virtual-time.ts";

/** Longest time that one worker works, ms. */
export const WORK_MS = 8_000;

export type WorkerEnd = CloseOutcome | "died";

interface Worker {
  readonly account: string;
  readonly marks: readonly string[];
  readonly onEnd: (end: WorkerEnd) => void;
}

export class Venue {
  readonly #machine: Machine;
  readonly #dice: Dice;
  readonly #queues = new Map<string, Worker[]>();
  #owner: Owner = newOwner();
  /** Accounts on which a worker sends orders now. */
  readonly trading = new Set<string>();
  /** Whether workers may fail. */
  hostile = true;

  constructor(machine: Machine, dice: Dice) {
    this.#machine = machine;
    this.#dice = dice;
  }

  /** Workers of an account that live, the waiting ones included. */
  workers(account: string): number {
    return this.#queues.get(account)?.length ?? 0;
  }

  start(worker: Worker): void {
    const queue = this.#queues.get(worker.account) ?? [];
    this.#queues.set(worker.account, queue);
    queue.push(worker);
    if (queue.length === 1) this.#begin(worker);
  }

  /** The machine lost its power, and the workers with it. */
  powerCut(): void {
    this.#owner.alive = false;
    this.#owner = newOwner();
    this.#queues.clear();
    this.trading.clear();
  }

  #begin(worker: Worker): void {
    const { time } = this.#machine;
    time.in(this.#dice.between(1, 200), this.#owner, () => {
      // The worker looks for itself and refuses beside a bot that lives.
      if (this.#machine.marked(worker.marks).length > 0) return this.#end(worker, "refused");
      this.trading.add(worker.account);
      time.in(this.#dice.between(1, WORK_MS), this.#owner, () => this.#end(worker, this.#draw()));
      return undefined;
    });
  }

  #draw(): WorkerEnd {
    if (!this.hostile || this.#dice.chance(0.6)) return "flat";
    return this.#dice.pick(["residual", "unreadable", "refused", "keyRefused", "internal", "foreign", "died"]);
  }

  #end(worker: Worker, end: WorkerEnd): void {
    this.trading.delete(worker.account);
    const queue = this.#queues.get(worker.account);
    queue?.shift();
    const next = queue?.[0];
    if (next !== undefined) this.#begin(next);
    worker.onEnd(end);
  }
}
