/** The intents of orders in one file of JSON lines: the least that `execute` needs to send an order once, whatever dies. */
import { isUnfinished, type IntentOutcome, type KnownIntent, type OrderIntent } from "../core/order-intent.ts";
import { AppendFile } from "./append-file.ts";
import type { IntentLog } from "./ports.ts";

export interface IntentFile extends IntentLog {
  /** Lines that could not be read when it was opened; the file is then kept as `….damaged`. Reconcile before trading. */
  readonly damagedLines: number;
  close(): void;
}

/** Intents that have ended and are still known; the oldest are forgotten first. */
const MAX_ENDED = 10_000;

type Line = { readonly begin: OrderIntent } | { readonly settle: string; readonly outcome: IntentOutcome };

/** Opens the file, or makes it, with the folders above it. One process at a time: the supervisor's job. */
export function openIntentFile(path: string): IntentFile {
  // In the order of their last change, since a Map keeps the order of insertion.
  const known = new Map<string, KnownIntent>();
  let ended = 0;
  const put = (id: string, next: KnownIntent): void => {
    const before = known.get(id);
    if (before !== undefined && !isUnfinished(before.outcome)) ended -= 1;
    known.delete(id);
    known.set(id, next);
    if (!isUnfinished(next.outcome)) ended += 1;
    if (ended > MAX_ENDED) forgetOldest();
  };
  const forgetOldest = (): void => {
    for (const [id, { outcome }] of known) {
      if (isUnfinished(outcome)) continue;
      known.delete(id);
      ended -= 1;
      return;
    }
  };
  const take = (line: unknown): void => {
    if (!isLine(line)) return;
    if ("begin" in line) put(line.begin.clientOrderId, { intent: line.begin, outcome: null });
    else {
      const before = known.get(line.settle);
      if (before !== undefined) put(line.settle, { intent: before.intent, outcome: line.outcome });
    }
  };
  const lines = function* (): Generator<Line> {
    for (const [id, { intent, outcome }] of known) {
      yield { begin: intent };
      if (outcome !== null) yield { settle: id, outcome };
    }
  };
  const file = new AppendFile(path, take, lines);
  return {
    damagedLines: file.damagedLines,
    async begin(intent) {
      const before = known.get(intent.clientOrderId);
      if (before === undefined) {
        file.append({ begin: intent });
        put(intent.clientOrderId, { intent, outcome: null });
      }
      // Also for one that is known: whoever wrote it may not have waited.
      await file.sync();
      return before;
    },
    find: (clientOrderId) => Promise.resolve(known.get(clientOrderId)),
    async settle(clientOrderId, outcome) {
      const before = known.get(clientOrderId);
      if (before === undefined) throw new Error(`cannot settle ${clientOrderId}: it was not begun`);
      file.append({ settle: clientOrderId, outcome });
      put(clientOrderId, { intent: before.intent, outcome });
      await file.sync();
    },
    unfinished: () =>
      Promise.resolve([...known.values()].filter(({ outcome }) => isUnfinished(outcome)).map(({ intent }) => intent)),
    close: () => file.close(),
  };
}

function isLine(line: unknown): line is Line {
  return typeof line === "object" && line !== null && ("begin" in line || ("settle" in line && "outcome" in line));
}
