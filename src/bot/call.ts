/** One call with its retries: gate, budget, breaker, deadline, delay. Its parts are shared by reads and by orders. */
import type { CallVerdict } from "../core/call-error.ts";
import { retryDelayMs, stopReason } from "../core/retry.ts";
import type { RetryPriority } from "../core/retry-budget.ts";
import type { Breaker } from "./breaker.ts";
import type { Budget } from "./budget.ts";
import {
  CircuitOpenError,
  excerptOf,
  judgeError,
  ResilienceError,
  retryAfterMsOf,
  type GiveUpReason,
} from "./errors.ts";
import { callBounded, sleep, type BoundedCall, type Machine } from "./machine.ts";
import type { Action, Gate, ProposeLevel } from "./ports.ts";

/** What every call of an executor shares. */
export interface CallPorts {
  readonly machine: Machine;
  readonly budget: Budget;
  readonly gate: Gate;
  readonly propose: ProposeLevel;
  readonly record: (
    type: string,
    data: Readonly<Record<string, unknown>>,
    severity?: "info" | "warn" | "error",
  ) => void;
}

export interface CallSettings {
  readonly name: string;
  readonly maxRetries: number;
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  readonly timeoutMs: number;
  readonly priority: RetryPriority;
  readonly signal: AbortSignal | undefined;
  readonly breaker: Breaker | undefined;
}

/** How long a wish for a level holds that comes from an empty budget, ms; it is renewed with each retry that is refused. */
const BUDGET_TTL_MS = 60_000;
/** How long a retry waits for its budget to be saved, ms: a disk that hangs stops no bot. */
const SAVE_MS = 1_000;
/** A share that has been empty for so long degrades the bot, ms. */
const DRY_MS = 60_000;

/** Asks the gate; throws ResilienceError when the level forbids `action`, else gives the factor for its size. */
export function passGate(ports: CallPorts, name: string, action: Action, attempts = 0): number {
  const answer = ports.gate(action);
  if (answer.allowed) return answer.sizeFactor;
  ports.record("level.refused", { name, action, level: answer.level }, "warn");
  throw new ResilienceError(
    name,
    "gate",
    attempts,
    `level ${answer.level} does not allow to ${action}: ${answer.reason}`,
  );
}

/** One attempt through the breaker, with a deadline. */
export function attempt<T>(
  ports: CallPorts,
  settings: CallSettings,
  op: (signal: AbortSignal) => PromiseLike<T> | T,
): BoundedCall<T> {
  let call: BoundedCall<T> | undefined;
  const start = (): Promise<T> => {
    call = callBounded(ports.machine, op, settings.timeoutMs, settings.signal);
    return call.result;
  };
  const result = settings.breaker === undefined ? start() : settings.breaker.call(start);
  return { result, over: call?.over ?? Promise.resolve() };
}

/** Retries of one call: what was made of them, and whether there is another. */
export class Retries {
  /** Calls that were made. */
  attempts = 0;
  #retries = 0;
  readonly #ports: CallPorts;
  readonly #settings: CallSettings;

  constructor(ports: CallPorts, settings: CallSettings) {
    this.#ports = ports;
    this.#settings = settings;
    ports.budget.deposit();
  }

  /** Counts a call that ended with `error`, and waits for the next one; a reason when there is none. */
  async next(
    error: unknown,
    repeatable: boolean,
    verdict: CallVerdict = judgeError(error),
  ): Promise<GiveUpReason | undefined> {
    const { name, signal, breaker, priority, maxRetries, baseDelayMs, maxDelayMs } = this.#settings;
    const { machine, budget, record } = this.#ports;
    if (error instanceof CircuitOpenError) return "open";
    const delay = { baseMs: baseDelayMs, capMs: maxDelayMs };
    const retryAfterMs = retryAfterMsOf(error, machine.wallNow());
    const delayMs = retryDelayMs(delay, this.#retries, machine.random(), retryAfterMs);
    const aborted = signal?.aborted === true;
    const openMs = breaker === undefined ? 0 : breaker.retryAfterMs();
    const stop = stopReason({ verdict, repeatable, retries: this.#retries, maxRetries, aborted, delayMs, openMs });
    if (stop !== undefined) return stop;
    const withdrawal = budget.withdraw(priority);
    if (!withdrawal.granted) {
      this.#sayEmpty(withdrawal.empty);
      return "budget";
    }
    // During an outage a token comes now and then; only one to spare says that it is over.
    if (budget.left().tokens >= 1) dryFrom.delete(budget);
    this.#retries += 1;
    record("retry.scheduled", { name, retry: this.#retries, delayMs, error: excerptOf(error) });
    if ((await sleep(machine, delayMs, signal)) && (await this.#isSaved())) return undefined;
    // It was never sent: it costs nothing.
    budget.refund(withdrawal);
    return "aborted";
  }

  /** A bot that dies by its retries must find them spent; what makes the account safe waits for no disk. False when it was aborted meanwhile. */
  async #isSaved(): Promise<boolean> {
    const { machine, budget } = this.#ports;
    const { priority, signal } = this.#settings;
    const { saving } = budget;
    if (saving === undefined || priority === "urgent") return true;
    const late = new AbortController();
    const end = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]);
    await Promise.race([saving, sleep(machine, SAVE_MS, end)]);
    late.abort();
    return signal?.aborted !== true;
  }

  #sayEmpty(empty: "hour" | "ratio"): void {
    const { record, propose, machine, budget } = this.#ports;
    record("budget.empty", { name: this.#settings.name, empty }, "warn");
    const atMs = machine.now();
    const dryMs = atMs - (dryFrom.get(budget) ?? atMs);
    if (empty === "ratio" && !dryFrom.has(budget)) dryFrom.set(budget, atMs);
    if (empty === "ratio" && dryMs <= DRY_MS) return;
    const level = empty === "hour" ? "minimal" : "degraded";
    const reason = empty === "hour" ? "the retries of this hour are spent" : "no retry was left for a minute";
    propose({ source: "retry-budget", level, reason, ttlMs: BUDGET_TTL_MS });
  }
}

/** Since when the share of a budget is empty, as far as retries were refused for it. */
const dryFrom = new WeakMap<Budget, number>();

export function gaveUp(
  name: string,
  reason: GiveUpReason,
  attempts: number,
  error: unknown,
  clientOrderId?: string,
): ResilienceError {
  const why = `${WORDS[reason]} (${attempts === 1 ? "1 attempt" : `${attempts} attempts`}): ${excerptOf(error)}`;
  return new ResilienceError(name, reason, attempts, why, {
    cause: error,
    ...(clientOrderId === undefined ? {} : { clientOrderId }),
  });
}

const WORDS: Readonly<Record<GiveUpReason, string>> = {
  exhausted: "no retry is left",
  budget: "the retry budget is empty",
  open: "its breaker is open",
  aborted: "it was aborted",
  fatal: "it is refused",
  gate: "the level does not allow it",
  ambiguous: "it may have been executed",
};
