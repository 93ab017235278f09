/**
 * A bot's state as the bot sees it: what must survive is written by another thread, and a promise resolves when both of its
 * copies are on the disk.
 */
import { Worker } from "node:worker_threads";
import type { SavedBreaker } from "../../core/circuit-parts.ts";
import type { SavedLevel } from "../../core/degradation.ts";
import type { SavedBudget } from "../../core/retry-budget.ts";
import type { Cell } from "../../core/state-tables.ts";
import type { LevelStore } from "../levels.ts";
import type { BreakerStore, BudgetStore, IntentLog, KnownIntent, ProposeLevel } from "../ports.ts";
import type { SavedDay, SavedPosition, SavedTrade } from "../../core/books.ts";
import { dayCells, dayOf, positionCells, positionOf, tradeCells, tradeOf } from "./books.ts";
import {
  THREAD_PURPOSE,
  type Ask,
  type Envelope,
  type FromThread,
  type PlainTable,
  type Query,
  type Reply,
  type Snapshot,
  type ThreadInput,
  type ToThread,
} from "./protocol.ts";
import type { OpenReport } from "./report.ts";
import { intentOf, knownIntent } from "./orders.ts";

export interface StateOptions {
  /** Folder of the state, on a local disk; it is made if need be. Default: `SUPERVISOR_STATE_DIR` of the environment. */
  readonly folder?: string;
  /** File with the keys for `secret:*` values, one a line, the current one first; default: systemd's credential `state-key`. */
  readonly keyFile?: string;
  /** Further copies of the database to recover from, for example a restored backup. */
  readonly backups?: readonly string[];
  /** Gets `minimal` while the state cannot be written, and until a recovered one was reconciled. */
  readonly propose?: ProposeLevel;
  /** Told of what goes wrong without a caller to tell it. */
  readonly onTrouble?: (text: string) => void;
  /** Told of what the store does by itself and nobody need act on: old damaged files that it removes. */
  readonly onNote?: (text: string) => void;
}

export interface StateStore {
  readonly report: OpenReport;
  readonly breakers: BreakerStore;
  readonly budgets: BudgetStore;
  readonly intents: IntentLog;
  readonly level: LevelStore;
  /** Writes a position whole; resolves when it is durable, as all of these do. */
  putPosition(position: SavedPosition): Promise<void>;
  /** All that are not closed. */
  positions(): Promise<readonly SavedPosition[]>;
  /** Appends a fill; `false` when it was known. */
  addTrade(trade: SavedTrade): Promise<boolean>;
  /** Fills from that time on, ms since 1970 UTC, oldest first, at most 10 000. */
  trades(since: number): Promise<readonly SavedTrade[]>;
  /** Orders that may rest at the venue or whose fate is not known, oldest first. */
  openOrders(): Promise<readonly KnownIntent[]>;
  putDay(day: SavedDay): Promise<void>;
  /** `day` as 2026-01-31. */
  day(day: string): Promise<SavedDay | undefined>;
  /** Keeps a value; keys that begin with `secret:` are encrypted. `undefined` forgets it. */
  put(key: string, value: string | undefined): Promise<void>;
  get(key: string): Promise<string | undefined>;
  /** The saved positions and orders agree with the venue. */
  reconciled(): Promise<void>;
  /** Encrypts anew what an older key has encrypted; answers how many values that were. */
  rekey(): Promise<number>;
  /** Makes a proven copy of the database now; it happens by itself each hour. */
  backup(): Promise<void>;
  /** Writes what was asked for and ends the thread. */
  close(): Promise<void>;
}

/** How long the level is held while the state cannot be written, ms; each failure renews it. */
const TROUBLE_TTL_MS = 60_000;
const DAY_MS = 86_400_000;
/** Requests under way, beyond which further ones are refused: a disk that never answers must not take all memory. */
const MAX_PENDING = 100_000;
/** Name of the thread's module, in the source and in a bundle that is split. */
const THREAD_NAME = /\/thread[^/]*\.(ts|js|mjs)$/;

/** The oldest Node that the database's module runs under; an older one ends with a segmentation fault in it. */
const OLDEST_NODE = 22;

/** Why no state can be opened under this runtime; `undefined`: it can. */
export function runtimeRefusal({
  bun,
  node,
}: {
  readonly bun?: string | undefined;
  readonly node: string;
}): string | undefined {
  if (bun !== undefined || Number.parseInt(node, 10) >= OLDEST_NODE) return undefined;
  return `cannot open the state: this is Node ${node}, and it takes Bun, or Node ${OLDEST_NODE} or later`;
}

/** Opens the state of a bot, makes it, or recovers it. Rejects where that cannot be done; nothing was changed then. */
export async function openStore(options: StateOptions = {}): Promise<StateStore> {
  const refusal = runtimeRefusal(process.versions);
  if (refusal !== undefined) throw new Error(refusal);
  const { threadUrl } = await import("./thread.ts");
  if (!THREAD_NAME.test(threadUrl))
    throw new Error(
      "cannot start the thread of the state: the bot is bundled into one file; bundle it with --splitting",
    );
  const { folder = process.env["SUPERVISOR_STATE_DIR"], keyFile, backups = [] } = options;
  if (folder === undefined || folder === "") throw new Error("cannot open the state: no folder is given");
  const workerData: ThreadInput = { purpose: THREAD_PURPOSE, folder, keyFile, backups };
  const worker = new Worker(new URL(threadUrl), { workerData });
  const opened = await new Promise<Extract<FromThread, { kind: "open" }>>((resolve, reject) => {
    worker.once("message", (message: FromThread) => {
      if (message.kind === "open") resolve(message);
      else
        reject(
          new Error(message.kind === "refused" ? message.error : `internal error: the thread said ${message.kind}`),
        );
    });
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`cannot open the state: its thread ended with ${code}`)));
  });
  // By name: Node's own listeners, which start the port for those that come, must stay.
  for (const event of ["message", "error", "exit"] as const) worker.removeAllListeners(event);
  return new ThreadStore(worker, opened.report, opened.snapshot, options);
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

class ThreadStore implements StateStore {
  readonly report: OpenReport;
  readonly breakers: BreakerStore;
  readonly budgets: BudgetStore;
  readonly intents: IntentLog;
  readonly level: LevelStore;
  readonly #worker: Worker;
  readonly #options: StateOptions;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #queue: Envelope[] = [];
  #nextId = 1;
  /** Why nothing can be asked any more. */
  #over: string | undefined;

  constructor(worker: Worker, report: OpenReport, snapshot: Snapshot, options: StateOptions) {
    this.#worker = worker;
    this.#options = options;
    this.report = report;
    this.breakers = this.#breakerStore(snapshot);
    this.budgets = this.#budgetStore(snapshot);
    this.level = this.#levelStore(snapshot);
    this.intents = this.#intentLog();
    this.#ended = new Promise((resolve) => {
      worker.on("exit", () => {
        this.#end("its thread has ended");
        resolve();
      });
    });
    worker.on("message", (message: FromThread) => this.#hear(message));
    worker.on("error", (error) => this.#trouble(`the thread of the state has failed: ${String(error)}`));
    if (report.needsReconcile !== undefined)
      this.#hold(`the state is to be reconciled since ${report.needsReconcile}`, DAY_MS);
  }

  async putPosition(position: SavedPosition): Promise<void> {
    await this.#put("positions", positionCells(position));
  }

  async positions(): Promise<readonly SavedPosition[]> {
    return (await this.#rows("positions", [])).map(positionOf);
  }

  async addTrade(trade: SavedTrade): Promise<boolean> {
    return (await this.#ask({ kind: "trade", cells: tradeCells(trade) })) === true;
  }

  async trades(since: number): Promise<readonly SavedTrade[]> {
    return (await this.#rows("trades", [since])).map(tradeOf);
  }

  async openOrders(): Promise<readonly KnownIntent[]> {
    return (await this.#rows("orders", [])).map(knownIntent);
  }

  async putDay(day: SavedDay): Promise<void> {
    await this.#put("daily", dayCells(day));
  }

  async day(day: string): Promise<SavedDay | undefined> {
    return (await this.#rows("day", [day])).map(dayOf)[0];
  }

  async put(key: string, value: string | undefined): Promise<void> {
    await this.#put("kv", [key, value ?? null, 0, Date.now()]);
  }

  async get(key: string): Promise<string | undefined> {
    const value = (await this.#rows("value", [key]))[0]?.[1];
    return typeof value === "string" ? value : undefined;
  }

  async reconciled(): Promise<void> {
    await this.#ask({ kind: "reconciled" });
    this.#options.propose?.({ source: "state:recovered", level: "normal", reason: "", ttlMs: 0 });
  }

  async rekey(): Promise<number> {
    return Number(await this.#ask({ kind: "rekey" }));
  }

  async backup(): Promise<void> {
    await this.#ask({ kind: "backup" });
  }

  async close(): Promise<void> {
    if (this.#over === undefined) {
      this.#flush();
      this.#over = "it is closed";
      this.#tell({ kind: "close" });
    }
    await this.#ended;
  }

  #put(table: PlainTable, cells: readonly Cell[]): Promise<unknown> {
    return this.#ask({ kind: "put", table, cells });
  }

  async #rows(query: Query, args: readonly Cell[]): Promise<readonly (readonly Cell[])[]> {
    const value = await this.#ask({ kind: "rows", query, args });
    // Safe: the thread answers this request with rows, and both are of one release.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return value as readonly (readonly Cell[])[];
  }

  #ask(ask: Ask): Promise<unknown> {
    const refusal =
      this.#over ?? (this.#pending.size >= MAX_PENDING ? `${MAX_PENDING} requests are under way` : undefined);
    if (refusal !== undefined) return Promise.reject(new Error(`cannot use the state: ${refusal}`));
    return new Promise((resolve, reject) => {
      const id = this.#nextId;
      this.#nextId += 1;
      this.#pending.set(id, { resolve, reject });
      this.#queue.push({ id, ask });
      // All that one turn of the loop asks for goes over in one message.
      if (this.#queue.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(): void {
    if (this.#queue.length === 0) return;
    const asks = this.#queue;
    this.#queue = [];
    this.#tell({ kind: "batch", asks });
  }

  #tell(message: ToThread): void {
    // A thread, not a window: there is no origin.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    this.#worker.postMessage(message);
  }

  #hear(message: FromThread): void {
    if (message.kind === "trouble") this.#trouble(message.text);
    if (message.kind === "note") this.#options.onNote?.(message.text);
    if (message.kind === "replies") for (const reply of message.replies) this.#answer(reply);
  }

  #answer(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.ok) pending?.resolve(reply.value);
    else pending?.reject(new Error(reply.error));
  }

  #trouble(text: string): void {
    this.#options.onTrouble?.(text);
    this.#options.propose?.({ source: "state:trouble", level: "minimal", reason: text, ttlMs: TROUBLE_TTL_MS });
  }

  #hold(reason: string, ttlMs: number): void {
    this.#options.propose?.({ source: "state:recovered", level: "minimal", reason, ttlMs });
  }

  #end(why: string): void {
    if (this.#over === undefined) this.#trouble(`cannot use the state any more: ${why}`);
    this.#over ??= why;
    for (const { reject } of this.#pending.values()) reject(new Error(`cannot use the state: ${why}`));
    this.#pending.clear();
  }

  /** Resolves when it is written, or is known not to be: a failure reaches `onTrouble` by the thread. */
  async #later(table: PlainTable, cells: readonly Cell[]): Promise<void> {
    await this.#put(table, cells).catch(() => undefined);
  }

  #breakerStore({ breakers }: Snapshot): BreakerStore {
    const known = new Map(breakers.map(([name, saved]) => [name, breakerOf(saved)]));
    return {
      load: (name) => known.get(name),
      save: (name, saved) => {
        known.set(name, saved);
        void this.#later("breakers", [name, saved.state, JSON.stringify(saved), saved.savedAt]);
      },
    };
  }

  #budgetStore({ budgets }: Snapshot): BudgetStore {
    const known = new Map(budgets.map(([name, saved]) => [name, budgetOf(saved)]));
    return {
      load: (name) => known.get(name),
      save: (name, saved) => {
        known.set(name, saved);
        return this.#later("retry_budget", [name, JSON.stringify(saved), saved.savedAt]);
      },
    };
  }

  #levelStore({ level }: Snapshot): LevelStore {
    let known = level === undefined ? undefined : levelOf(level);
    return {
      load: () => known,
      save: (saved) => {
        known = saved;
        void this.#later("degradation", ["bot", saved.level, JSON.stringify(saved), Date.now()]);
      },
    };
  }

  #intentLog(): IntentLog {
    return {
      // Safe: the thread answers this request with what is known, and both are of one release.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      begin: async (intent) => (await this.#ask({ kind: "begin", intent })) as KnownIntent | undefined,
      find: async (id) => (await this.#rows("order", [id])).map(knownIntent)[0],
      settle: async (id, outcome) => void (await this.#ask({ kind: "settle", id, outcome })),
      unfinished: async () => (await this.#rows("unfinished", [])).map(intentOf),
    };
  }
}

// Safe, these three: text that this store wrote, in a row that its hash has proven.
const breakerOf = (text: string): SavedBreaker => JSON.parse(text);
const budgetOf = (text: string): SavedBudget => JSON.parse(text);
const levelOf = (text: string): SavedLevel => JSON.parse(text);
