/** The retry budget beside a naive model, which keeps every retry it ever granted. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RETRY_BUDGET, RetryBudget, type Withdrawal } from "../../src/core/retry-budget.ts";

const HOUR_MS = 3_600_000;

const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5_000 }), fc.integer({ min: 0, max: HOUR_MS })),
    do: fc.constantFrom("deposit", "withdraw", "withdraw", "withdraw", "urgent", "refund", "restart"),
    which: fc.nat(),
  }),
  { maxLength: 400 },
);

test("RetryBudget grants what a naive model grants, over restarts, and never more than the hour has", () => {
  fc.assert(
    fc.property(steps, (script) => {
      const config = { ...RETRY_BUDGET, perHour: 12, reserved: 4, cap: 3 };
      let budget = new RetryBudget(config, 0);
      let granted: { readonly atMs: number; readonly withdrawal: Withdrawal & { readonly granted: true } }[] = [];
      let tokens = config.cap;
      let atMs = 0;
      for (const step of script) {
        atMs += step.waitMs;
        tokens = Math.min(config.cap, tokens + step.waitMs / config.trickleMs);
        const inHour = granted.filter((one) => one.atMs > atMs - HOUR_MS);
        if (step.do === "deposit") {
          budget.deposit(atMs);
          tokens = Math.min(config.cap, tokens + config.ratio);
        } else if (step.do === "restart") {
          const saved = budget.save(atMs, 1e12 + atMs);
          budget = new RetryBudget(config, atMs);
          budget.restore(saved, atMs, 1e12 + atMs);
        } else if (step.do === "refund") {
          const [back] = inHour.length === 0 ? [] : inHour.splice(step.which % inHour.length, 1);
          if (back === undefined) continue;
          budget.refund(back.withdrawal, atMs);
          granted = granted.filter((one) => one !== back);
          tokens = Math.min(config.cap, tokens + back.withdrawal.tokens);
        } else {
          const urgent = step.do === "urgent";
          // Sums of many small parts differ in the last bits.
          if (Math.abs(tokens - 1) < 1e-6) continue;
          const room = inHour.length < (urgent ? config.perHour : config.perHour - config.reserved);
          const withdrawal = budget.withdraw(atMs, urgent ? "urgent" : "normal");
          if (withdrawal.granted !== (room && (urgent || tokens >= 1))) throw new Error(`they differ at ${atMs}`);
          if (!withdrawal.granted) continue;
          granted.push({ atMs, withdrawal });
          if (tokens >= 1) tokens -= 1;
        }
        expect(granted.filter((one) => one.atMs > atMs - HOUR_MS).length).toBeLessThanOrEqual(config.perHour);
        expect(budget.left(atMs).tokens).toBeCloseTo(tokens, 6);
      }
    }),
    { numRuns: 200 },
  );
});
