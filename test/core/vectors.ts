/** Plays the golden vectors of clients/vectors against the core; clients/vectors/README.md says what the steps mean. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { breakerConfig, type BreakerConfig, type SavedBreaker } from "../../src/core/circuit-parts.ts";
import { Circuit, REJECTED } from "../../src/core/circuit.ts";
import {
  RETRY_BUDGET,
  RetryBudget,
  type RetryPriority,
  type SavedBudget,
  type Withdrawal,
} from "../../src/core/retry-budget.ts";

export function vectorsText(file: string): string {
  return readFileSync(join(import.meta.dirname, "..", "..", "clients", "vectors", file), "utf8");
}

export interface BreakerStep {
  readonly at: number;
  readonly do:
    | "enter"
    | "succeed"
    | "fail"
    | "ignore"
    | "abandon"
    | "trip"
    | "reset"
    | "disable"
    | "forceOpen"
    | "save"
    | "restore";
  readonly as?: string;
  readonly call?: string;
  readonly tookMs?: number;
  readonly roll?: number;
  readonly retryAfterMs?: number | null;
  readonly wall?: number;
  readonly saved?: SavedBreaker;
  readonly expect: Readonly<Record<string, unknown>>;
}

/** What is seen after each step. */
export function playBreaker(config: Partial<BreakerConfig>, steps: readonly BreakerStep[]): Record<string, unknown>[] {
  const whole = breakerConfig(config);
  if (!("openMs" in whole)) throw new Error(whole.join("; "));
  let circuit = new Circuit(whole);
  const permits = new Map<string, number>();
  return steps.map((step) => {
    const { at, as = "", call = "", tookMs = 0, wall = 0 } = step;
    const seen: Record<string, unknown> = {};
    const permit = permits.get(call) ?? REJECTED;
    circuit.roll = step.roll ?? 0;
    switch (step.do) {
      case "enter":
        permits.set(as, circuit.enter(at));
        seen["permit"] = permits.get(as) !== REJECTED;
        break;
      case "succeed":
        circuit.succeed(permit, tookMs, at);
        break;
      case "fail":
        circuit.fail(permit, tookMs, at);
        break;
      case "ignore":
        circuit.ignore(permit, at);
        break;
      case "abandon":
        circuit.abandon(permit, at);
        break;
      case "trip":
        circuit.trip(at, step.retryAfterMs ?? undefined, "test");
        break;
      case "reset":
        circuit.reset();
        break;
      case "disable":
        circuit.disable("test");
        break;
      case "forceOpen":
        circuit.forceOpen("test");
        break;
      case "save":
        seen["saved"] = circuit.save(at, wall);
        break;
      case "restore":
        circuit = new Circuit(whole);
        if (step.saved !== undefined) circuit.restore(step.saved, at, wall);
        break;
    }
    const { calls, failures } = circuit.windowAt(at);
    const { state, attempt, consecutive, totals } = circuit;
    const retryAfterMs = circuit.retryAfterMs(at) ?? null;
    return { ...seen, state, attempt, consecutive, totals, retryAfterMs, windowCalls: calls, windowFailures: failures };
  });
}

export interface BudgetStep {
  readonly at: number;
  readonly do: "deposit" | "withdraw" | "refund" | "left" | "save" | "restore";
  readonly as?: string;
  readonly of?: string;
  readonly priority?: RetryPriority;
  readonly wall?: number;
  readonly saved?: SavedBudget;
  readonly expect: Readonly<Record<string, unknown>>;
}

export function playBudget(
  config: Partial<typeof RETRY_BUDGET>,
  steps: readonly BudgetStep[],
): Record<string, unknown>[] {
  const whole = { ...RETRY_BUDGET, ...config };
  let budget = new RetryBudget(whole, 0);
  const granted = new Map<string, Withdrawal>();
  return steps.map((step) => {
    const { at, as = "", of = "", wall = 0, priority = "normal" } = step;
    const seen: Record<string, unknown> = {};
    const refunded = granted.get(of);
    switch (step.do) {
      case "deposit":
        budget.deposit(at);
        break;
      case "withdraw": {
        const withdrawal = budget.withdraw(at, priority);
        granted.set(as, withdrawal);
        seen["granted"] = withdrawal.granted;
        if (!withdrawal.granted) seen["empty"] = withdrawal.empty;
        break;
      }
      case "refund":
        if (refunded?.granted === true) budget.refund(refunded, at);
        break;
      case "left":
        break;
      case "save":
        seen["saved"] = budget.save(at, wall);
        break;
      case "restore":
        budget = new RetryBudget(whole, at);
        if (step.saved !== undefined) budget.restore(step.saved, at, wall);
        break;
    }
    return { ...seen, ...budget.left(at) };
  });
}

/** As JSON, with numbers as the vectors compare them: to a millionth, wall times to a millisecond. */
export function rounded<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, part: unknown) => {
    if (typeof part !== "number") return part;
    return part > 1e12 ? Math.round(part) : Math.round(part * 1e6) / 1e6;
  });
}
