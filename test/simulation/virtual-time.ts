/** Virtual time: every timer of the simulated machine in one queue, run in due order; equal times run in the order of arming. */
import type { Clock } from "../../src/platform/clock.ts";

/** Where the wall clock starts. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** Whose work a timer is: a daemon or the machine. While the owner stands still its timers wait; when it is dead they are gone. */
export interface Owner {
  alive: boolean;
  frozenUntilMs: number;
  /** Timers that wait now: nobody may hoard them. */
  waiting: number;
}

export const newOwner = (): Owner => ({ alive: true, frozenUntilMs: 0, waiting: 0 });

interface Item {
  /** When it can run: `dueMs`, or the end of a standstill. */
  atMs: number;
  readonly dueMs: number;
  readonly seq: number;
  readonly owner: Owner;
  run: (() => void) | undefined;
}

export class VirtualTime {
  nowMs = 0;
  /** What the wall clock is off by; it may be stepped, and nothing that decides may notice. */
  wallOffsetMs = EPOCH_MS;
  readonly #heap: Item[] = [];
  #seq = 0;

  /** Runs `run` at `atMs` as the work of `owner`; the returned function cancels it. */
  at(atMs: number, owner: Owner, run: () => void): () => void {
    const item: Item = { atMs, dueMs: atMs, seq: this.#seq++, owner, run };
    owner.waiting += 1;
    this.#push(item);
    return () => {
      if (item.run !== undefined) owner.waiting -= 1;
      item.run = undefined;
    };
  }

  in(delayMs: number, owner: Owner, run: () => void): () => void {
    return this.at(this.nowMs + delayMs, owner, run);
  }

  /** The clock as `owner` sees it. */
  clockOf(owner: Owner): Clock {
    return {
      monotonicMs: () => this.nowMs,
      wallTime: () => new Date(this.wallOffsetMs + this.nowMs),
      after: (delayMs, callback) => this.in(Math.max(0, delayMs), owner, callback),
    };
  }

  /** Runs what is due next; false when nothing waits. */
  step(): boolean {
    for (let item = this.#pop(); item !== undefined; item = this.#pop()) {
      const { run, owner } = item;
      if (run === undefined || !owner.alive) continue;
      if (owner.frozenUntilMs > Math.max(item.atMs, this.nowMs)) {
        item.atMs = owner.frozenUntilMs;
        this.#push(item);
        continue;
      }
      item.run = undefined;
      owner.waiting -= 1;
      this.nowMs = Math.max(this.nowMs, item.atMs);
      run();
      return true;
    }
    return false;
  }

  #push(item: Item): void {
    const heap = this.#heap;
    let at = heap.push(item) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !before(item, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = item;
  }

  #pop(): Item | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
      if (left === undefined) break;
      const goesRight = right !== undefined && before(right, left);
      const child = goesRight ? right : left;
      if (!before(child, last)) break;
      heap[at] = child;
      at = goesRight ? 2 * at + 2 : 2 * at + 1;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Item, b: Item): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs;
  return a.dueMs === b.dueMs ? a.seq < b.seq : a.dueMs < b.dueMs;
}
