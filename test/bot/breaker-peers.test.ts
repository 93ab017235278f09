/** The breaker beside cockatiel and opossum, where they agree with its rules: the same calls at the same times get the same answers. */
import { BrokenCircuitError, circuitBreaker, ConsecutiveBreaker, handleAll } from "cockatiel";
import fc from "fast-check";
import Opossum from "opossum";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Breaker } from "../../src/bot/breaker.ts";
import { CircuitOpenError } from "../../src/bot/errors.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

type Answer = "worked" | "failed" | "rejected";

const script = fc.array(fc.record({ works: fc.boolean(), waitMs: fc.constantFrom(0, 0, 0, 1, 499, 500, 501, 1_200) }), {
  maxLength: 60,
});

async function answerOf(call: Promise<unknown>, rejected: (error: unknown) => boolean): Promise<Answer> {
  try {
    await call;
    return "worked";
  } catch (error) {
    return rejected(error) ? "rejected" : "failed";
  }
}

const service = (works: boolean) => async (): Promise<string> => {
  if (!works) throw new Error("no answer");
  return "answer";
};

const byOwn = (error: unknown): boolean => error instanceof CircuitOpenError;
const byOpossum = (error: unknown): boolean => error instanceof Error && error.message === "Breaker is open";
const clocks = { now: () => Date.now(), wallNow: () => Date.now(), random: () => 0 };

test("Breaker.call() answers as cockatiel's consecutive breaker", async () => {
  await fc.assert(
    fc.asyncProperty(script, fc.integer({ min: 1, max: 5 }), async (steps, threshold) => {
      const peer = circuitBreaker(handleAll, { halfOpenAfter: 500, breaker: new ConsecutiveBreaker(threshold) });
      const config = { failureThreshold: threshold, failureRate: Infinity, openMs: 500, successThreshold: 1 };
      const own = new Breaker("own", config, clocks);
      for (const { works, waitMs } of steps) {
        vi.advanceTimersByTime(waitMs);
        const expected = await answerOf(peer.execute(service(works)), (error) => error instanceof BrokenCircuitError);
        expect(await answerOf(own.call(service(works)), byOwn)).toBe(expected);
      }
    }),
    { numRuns: 150 },
  );
});

test("Breaker.call() answers as opossum until it closes again: opossum keeps what it counted before", async () => {
  await fc.assert(
    fc.asyncProperty(script, fc.integer({ min: 1, max: 8 }), async (steps, minimum) => {
      const peer = new Opossum((works: boolean) => service(works)(), {
        timeout: false,
        // Not a share that can come up: opossum opens above it, the own one also at it.
        errorThresholdPercentage: 50.5,
        volumeThreshold: minimum,
        resetTimeout: 500,
        rollingCountTimeout: 1e8,
        rollingCountBuckets: 1,
      });
      const config = {
        failureThreshold: Infinity,
        failureRate: 0.505,
        minimumCalls: minimum,
        openMs: 500,
        successThreshold: 1,
      };
      const own = new Breaker("own", config, clocks);
      for (const { works, waitMs } of steps) {
        vi.advanceTimersByTime(waitMs);
        const expected = await answerOf(peer.fire(works), byOpossum);
        expect(await answerOf(own.call(service(works)), byOwn)).toBe(expected);
        if (own.stats().opened > 0 && own.state === "closed") break;
      }
      peer.shutdown();
    }),
    { numRuns: 150 },
  );
});
