/** The breaker beside a naive model of the same rules, which keeps lists where the breaker counts; both get the same random calls. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { breakerConfig, type BreakerConfig } from "../../src/core/circuit-parts.ts";
import { Circuit, REJECTED } from "../../src/core/circuit.ts";

interface Call {
  readonly era: number;
  readonly atMs: number;
  readonly probe: boolean;
  ended: boolean;
}

/** The rules as clients/vectors/README.md has them, in the plainest words. */
class Model {
  state: "closed" | "open" | "half-open" = "closed";
  outcomes: { readonly atMs: number; readonly failed: boolean }[] = [];
  row = 0;
  attempt = 0;
  openUntilMs = 0;
  era = 0;
  proven = 0;
  calls: Call[] = [];
  readonly #config: BreakerConfig;

  constructor(config: BreakerConfig) {
    this.#config = config;
  }

  enter(atMs: number): Call | undefined {
    if (this.state === "open" && atMs >= this.openUntilMs) {
      this.state = "half-open";
      this.proven = 0;
      this.era += 1;
    }
    if (this.state === "open") return undefined;
    const probing = this.calls.filter((call) => this.#holdsPlace(call, atMs)).length;
    if (this.state === "half-open" && probing >= this.#config.halfOpenMaxCalls) return undefined;
    const call = { era: this.era, atMs, probe: this.state === "half-open", ended: false };
    this.calls.push(call);
    return call;
  }

  end(call: Call, how: "succeed" | "fail" | "ignore" | "abandon", tookMs: number, atMs: number): void {
    const counts = call.era === this.era && !call.ended && (!call.probe || this.#holdsPlace(call, atMs));
    call.ended = true;
    const failed = how === "fail" || (how === "succeed" && tookMs >= this.#config.slowCallMs);
    if (!counts || how === "abandon") return;
    if (this.state === "half-open") {
      this.proven += 1;
      if (failed) this.#open(atMs);
      else if (this.proven >= this.#config.successThreshold) this.#close();
      return;
    }
    if (how === "ignore") return;
    this.outcomes.push({ atMs, failed });
    this.row = failed ? this.row + 1 : 0;
    const { calls, failures } = this.window(atMs);
    const byRate = calls >= this.#config.minimumCalls && failures / calls >= this.#config.failureRate;
    if (failed && (this.row >= this.#config.failureThreshold || byRate)) this.#open(atMs);
  }

  window(atMs: number): { calls: number; failures: number } {
    const counted = this.outcomes
      .slice(-this.#config.windowSize)
      .filter((outcome) => outcome.atMs > atMs - this.#config.windowMaxAgeMs);
    return { calls: counted.length, failures: counted.filter(({ failed }) => failed).length };
  }

  #holdsPlace(call: Call, atMs: number): boolean {
    return call.probe && call.era === this.era && !call.ended && atMs < call.atMs + this.#config.probeLeaseMs;
  }

  #open(atMs: number): void {
    this.state = "open";
    this.era += 1;
    this.attempt += 1;
    const { openMs, openFactor, openMaxMs } = this.#config;
    this.openUntilMs = atMs + Math.round(Math.min(openMaxMs, openMs * openFactor ** (this.attempt - 1)));
  }

  #close(): void {
    this.state = "closed";
    this.era += 1;
    this.attempt = 0;
    this.row = 0;
    this.outcomes = [];
  }
}

const configs = fc
  .record({
    failureThreshold: fc.integer({ min: 1, max: 6 }),
    failureRate: fc.constantFrom(0.25, 0.5, 0.8, 1),
    minimumCalls: fc.integer({ min: 1, max: 6 }),
    windowSize: fc.integer({ min: 6, max: 9 }),
    windowMaxAgeMs: fc.integer({ min: 20, max: 400 }),
    slowCallMs: fc.integer({ min: 20, max: 60 }),
    openMs: fc.integer({ min: 1, max: 60 }),
    openFactor: fc.constantFrom(1, 2),
    halfOpenMaxCalls: fc.integer({ min: 1, max: 3 }),
    successThreshold: fc.integer({ min: 1, max: 3 }),
    probeLeaseMs: fc.integer({ min: 1, max: 80 }),
  })
  .map((given) => ({ ...given, openMaxMs: 100, openJitter: 0 }));

const steps = fc.array(
  fc.record({
    waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 })),
    how: fc.constantFrom("enter", "enter", "enter", "succeed", "fail", "fail", "ignore", "abandon"),
    which: fc.nat(),
  }),
  { maxLength: 120 },
);

test("Circuit does what a naive model of its rules does", () => {
  fc.assert(
    fc.property(configs, steps, (given, script) => {
      const config = breakerConfig(given);
      if (!("openMs" in config)) throw new Error(config.join("; "));
      const circuit = new Circuit(config);
      const model = new Model(config);
      const open: { readonly permit: number; readonly call: Call; readonly fromMs: number }[] = [];
      let atMs = 0;
      for (const { waitMs, how, which } of script) {
        atMs += waitMs;
        const [ending] = how === "enter" || open.length === 0 ? [] : open.splice(which % open.length, 1);
        if (ending === undefined || how === "enter") {
          const permit = circuit.enter(atMs);
          const call = model.enter(atMs);
          if ((permit === REJECTED) !== (call === undefined))
            throw new Error(`only one of them let a call through at ${atMs}`);
          if (call !== undefined) open.push({ permit, call, fromMs: atMs });
        } else {
          const tookMs = atMs - ending.fromMs;
          if (how === "succeed" || how === "fail") circuit[how](ending.permit, tookMs, atMs);
          else circuit[how](ending.permit, atMs);
          model.end(ending.call, how, tookMs, atMs);
        }
        const { state, attempt } = circuit;
        // What is counted while it is not closed is kept, but decides nothing.
        const closed = state === "closed" && model.state === "closed";
        const row = closed ? [circuit.consecutive, circuit.windowAt(atMs)] : [];
        const modelRow = closed ? [model.row, model.window(atMs)] : [];
        expect([state, attempt, ...row]).toEqual([model.state, model.attempt, ...modelRow]);
      }
    }),
    { numRuns: 400 },
  );
});

test("Circuit.restore() of what it saved goes on as if nothing had been, whatever the monotonic clock does", () => {
  fc.assert(
    fc.property(configs, steps, fc.integer({ min: 0, max: 1e6 }), (given, script, shiftMs) => {
      const config = breakerConfig(given);
      if (!("openMs" in config)) throw new Error(config.join("; "));
      const first = new Circuit(config);
      let atMs = 0;
      for (const { waitMs, how } of script) {
        atMs += waitMs;
        const permit = first.enter(atMs);
        if (permit === REJECTED) continue;
        if (how === "fail") first.fail(permit, 0, atMs);
        else first.succeed(permit, 0, atMs);
      }
      const second = new Circuit(config);
      second.restore(first.save(atMs, 1e12 + atMs), atMs + shiftMs, 1e12 + atMs);
      const halfOpen = first.state === "half-open";
      expect(second.state).toBe(halfOpen ? "open" : first.state);
      expect(second.retryAfterMs(atMs + shiftMs)).toBeCloseTo(first.retryAfterMs(atMs) ?? 0, 3);
      expect(second.windowAt(atMs + shiftMs)).toEqual(first.windowAt(atMs));
      expect(second.totals).toEqual(first.totals);
    }),
    { numRuns: 200 },
  );
});
