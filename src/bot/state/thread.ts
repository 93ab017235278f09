/**
 * The thread that owns a state's database, so that no flush of a busy disk ever stops the bot's loop. What arrives while a
 * group is being written becomes the next group: the more there is to do, the fewer flushes it takes.
 */
import { statSync } from "node:fs";
import { isMainThread, parentPort, workerData, type MessagePort } from "node:worker_threads";
import { backUp } from "./backup.ts";
import { readMeta, writeMeta } from "./database.ts";
import { stateFiles, type StateFiles } from "./files.ts";
import { openState, type OpenedState } from "./open.ts";
import {
  THREAD_PURPOSE,
  type Envelope,
  type FromThread,
  type Reply,
  type Snapshot,
  type ThreadInput,
  type ToThread,
} from "./protocol.ts";
import { removeOldQuarantines } from "./quarantine.ts";
import { SecondCopy } from "./second-copy.ts";
import { loadKeys } from "./secrets.ts";
import { FencedError, StateWriter } from "./writer.ts";

/** Where this module is, so that a thread can be started from it. */
export const threadUrl = import.meta.url;

/** Time between two backups, ms. */
const BACKUP_MS = 3_600_000;
/** Most requests in one group: a transaction that grows for ever would never be answered. */
const MAX_GROUP = 2_048;

class StateThread {
  readonly #port: MessagePort;
  readonly #files: StateFiles;
  readonly #state: OpenedState;
  readonly #second: SecondCopy;
  readonly #writer: StateWriter;
  readonly #timer: ReturnType<typeof setInterval>;
  #waiting: Envelope[] = [];
  #scheduled = false;
  #closing = false;
  #fenced = false;
  #backup: Promise<void> | undefined;

  constructor(port: MessagePort, files: StateFiles, state: OpenedState, input: ThreadInput) {
    this.#port = port;
    this.#files = files;
    this.#state = state;
    this.#second = new SecondCopy(files);
    const { database, uuid, epoch } = state;
    const keys = loadKeys(input.keyFile, process.env);
    this.#writer = new StateWriter({ database, second: this.#second, uuid, epoch, keys });
    this.#timer = setInterval(() => this.#backUpSoon(), BACKUP_MS);
    const madeAt = statSync(files.backup, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    // Also for a bot that never runs for an hour.
    if (Math.abs(Date.now() - madeAt) > BACKUP_MS || state.report.kind === "recovered") this.#backUpSoon();
  }

  take(message: ToThread): void {
    if (message.kind === "close") this.#closing = true;
    else for (const envelope of message.asks) this.#waiting.push(envelope);
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After every message that is here already.
    setImmediate(() => void this.#turn());
  }

  snapshot(): Snapshot {
    const rows = (query: "breakers" | "budgets" | "level"): unknown[][] => {
      const [reply] = this.#writer.apply([{ id: 0, ask: { kind: "rows", query, args: [] } }]);
      return reply?.ok === true && Array.isArray(reply.value) ? reply.value : [];
    };
    return {
      breakers: rows("breakers").map(([name, , saved]) => [String(name), String(saved)]),
      budgets: rows("budgets").map(([name, saved]) => [String(name), String(saved)]),
      level: rows("level").map(([, , saved]) => String(saved))[0],
    };
  }

  async #turn(): Promise<void> {
    this.#scheduled = false;
    while (this.#waiting.length > 0) this.#group(this.#waiting.splice(0, MAX_GROUP));
    if (this.#closing) await this.#close();
  }

  #group(envelopes: readonly Envelope[]): void {
    const backups = envelopes.filter(({ ask }) => ask.kind === "backup");
    const asks = envelopes.filter(({ ask }) => ask.kind !== "backup");
    if (asks.length > 0) this.#say({ kind: "replies", replies: this.#replies(asks) });
    for (const { id } of backups) void this.#answerBackup(id);
    if (!this.#fenced && this.#second.rotate()) this.#backUpSoon();
  }

  #replies(asks: readonly Envelope[]): readonly Reply[] {
    try {
      return this.#writer.apply(asks);
    } catch (error) {
      const text = messageOf(error);
      this.#fenced ||= error instanceof FencedError;
      this.#say({ kind: "trouble", text: `cannot write the state: ${text}` });
      return asks.map(({ id }) => ({ id, ok: false, error: text }));
    }
  }

  async #answerBackup(id: number): Promise<void> {
    try {
      await this.#backUp();
      this.#say({ kind: "replies", replies: [{ id, ok: true, value: undefined }] });
    } catch (error) {
      this.#say({ kind: "replies", replies: [{ id, ok: false, error: messageOf(error) }] });
    }
  }

  #backUpSoon(): void {
    this.#backUp().catch((error: unknown) => this.#say({ kind: "trouble", text: messageOf(error) }));
  }

  /** One at a time: whoever asks meanwhile gets another one after it, since this one may have begun before their rows. */
  #backUp(): Promise<void> {
    const before = this.#backup ?? Promise.resolve();
    const next = before
      .catch(() => undefined)
      .then(() => backUp(this.#state.database, this.#files, this.#state.uuid))
      .then(() => this.#backedUp());
    this.#backup = next;
    return next;
  }

  #backedUp(): void {
    this.#second.covered();
    this.#forgetQuarantines();
  }

  /** The state is whole and its backup is proven; until it is reconciled somebody may miss something that only the damaged files have. */
  #forgetQuarantines(): void {
    if (this.#fenced || readMeta(this.#state.database, "needs_reconcile")) return;
    try {
      for (const { name, bytes } of removeOldQuarantines(this.#files, Date.now()))
        this.#say({ kind: "note", text: `removed quarantine/${name}, ${bytes} bytes: it was kept for 90 days` });
    } catch (error) {
      this.#say({ kind: "note", text: `cannot remove old damaged files: ${messageOf(error)}` });
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#backup?.catch(() => undefined);
    try {
      if (!this.#fenced) writeMeta(this.#state.database, "clean_stop", "1");
    } catch {
      // It then counts as unclean, and the next start looks at everything.
    }
    this.#state.database.close();
    this.#second.close();
    this.#say({ kind: "closed" });
    this.#port.close();
  }

  #say(message: FromThread): void {
    // A thread, not a window: there is no origin.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    this.#port.postMessage(message);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function serve(port: MessagePort, input: ThreadInput): Promise<void> {
  const say = (message: FromThread): void => port.postMessage(message);
  try {
    const files = stateFiles(input.folder);
    const state = await openState(files, { now: Date.now(), backups: input.backups });
    const thread = new StateThread(port, files, state, input);
    say({ kind: "open", report: state.report, snapshot: thread.snapshot() });
    port.on("message", (message: ToThread) => thread.take(message));
  } catch (error) {
    say({ kind: "refused", error: messageOf(error) });
    port.close();
  }
}

function isInput(value: unknown): value is ThreadInput {
  return typeof value === "object" && value !== null && Reflect.get(value, "purpose") === THREAD_PURPOSE;
}

// In a bundle of one file this module is the whole bot: only a thread that was started for this may act.
if (!isMainThread && parentPort !== null && isInput(workerData)) await serve(parentPort, workerData);
