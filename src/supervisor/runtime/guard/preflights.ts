/** The preflights of one bot: when they are due, what the last one said, and that none is in the way of an emergency. */
import { preflightTrouble, preflightWarning, type PreflightReport } from "../../../core/preflight.ts";
import type { BotStatus } from "../../../core/status.ts";
import type { Worker } from "../../../platform/worker.ts";
import type { GuardDeps } from "./guard.ts";
import { keepPreflight, lastPreflight, runPreflight } from "./preflight-run.ts";

/** The first one of a daemon comes no sooner, ms: the start has enough to do. */
const FIRST_MS = 60_000;
/** A failed one is repeated after this, ms, so that what was repaired shows. */
const RETRY_MS = 900_000;

/** What an emergency ended before it was done. */
const YIELDED = "an emergency came in between";

export class Preflights {
  readonly #deps: GuardDeps;
  readonly #fly: typeof runPreflight;
  #last: PreflightReport | undefined;
  /** Monotonic ms; `undefined` before the first look. */
  #dueAtMs: number | undefined;
  #running: { readonly testnet: boolean; readonly report: Promise<PreflightReport> } | undefined;
  #worker: Worker | undefined;
  #yielded = false;

  /** `fly`: how one is flown; a test has a way of its own. */
  constructor(deps: GuardDeps, fly: typeof runPreflight = runPreflight) {
    this.#deps = deps;
    this.#fly = fly;
    this.#last = deps.plan.config.emergency === undefined ? undefined : lastPreflight(deps.plan);
  }

  get status(): Pick<BotStatus["emergency"], "preflight" | "preflightAt"> {
    if (this.#last === undefined) return { preflight: "never", preflightAt: null };
    return { preflight: this.#last.ok ? "ok" : "failed", preflightAt: this.#last.at };
  }

  /** Why the last one failed; `undefined` when it did not. */
  get trouble(): string | undefined {
    return this.#last === undefined ? undefined : preflightTrouble(this.#last);
  }

  /** Each second: starts one that is due, unless an emergency is under way. */
  tick(): void {
    const { plan, clock, closing } = this.#deps;
    const { emergency } = plan.config;
    if (emergency === undefined || closing()) return;
    this.#dueAtMs ??= clock.monotonicMs() + this.#firstDelayMs(emergency.preflight.period);
    if (this.#running === undefined && clock.monotonicMs() >= this.#dueAtMs) void this.run(false);
  }

  /** Runs one now; one that is under way on the same network is waited for instead. Never throws. */
  async run(testnet: boolean): Promise<PreflightReport> {
    while (this.#running !== undefined) {
      const { testnet: same, report } = this.#running;
      // Safe: one after the other.
      // oxlint-disable-next-line no-await-in-loop
      const done = await report;
      if (same === testnet) return done;
    }
    const report = this.#flyOne(testnet);
    this.#running = { testnet, report };
    return report;
  }

  /** Ends one that is under way: nothing shares the venue's limits with a close. */
  yield(): void {
    if (this.#worker === undefined) return;
    this.#yielded = true;
    this.#worker.kill();
  }

  async #flyOne(testnet: boolean): Promise<PreflightReport> {
    this.#yielded = false;
    const onStart = (worker: Worker): void => {
      this.#worker = worker;
    };
    const report = await this.#fly({ ...this.#deps, plan: this.#deps.plan, testnet, onStart });
    this.#worker = undefined;
    this.#running = undefined;
    this.#planNext(report.ok);
    if (this.#yielded) return { ...report, checks: report.checks.map((check) => ({ ...check, detail: YIELDED })) };
    // A drill says nothing of the real account.
    if (!testnet) this.#keep(report);
    return report;
  }

  #keep(report: PreflightReport): void {
    const { plan, fact } = this.#deps;
    const before = this.trouble;
    this.#last = report;
    const trouble = preflightTrouble(report);
    const first = report.firstReplyMs === null ? "" : `; first signed answer after ${report.firstReplyMs} ms`;
    const warning = preflightWarning(report);
    const but = warning === undefined ? "" : `; ${warning}`;
    if (trouble === undefined)
      fact(warning === undefined ? "info" : "warn", `preflight ok: an emergency close would work${first}${but}`);
    // Said loudly once; the status goes on saying it.
    else fact(trouble === before ? "warn" : "alert", `preflight failed: ${trouble}`);
    try {
      keepPreflight(plan, report);
    } catch (error) {
      fact("warn", `cannot keep the preflight: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Once a period from the last one, whichever daemon ran it; a wall clock that was set back does not delay it. */
  #firstDelayMs(periodMs: number): number {
    const { clock, random } = this.#deps;
    const spreadMs = FIRST_MS * (1 + random());
    if (this.#last?.ok !== true) return spreadMs;
    const ageMs = clock.wallTime().getTime() - Date.parse(this.#last.at);
    return Math.max(spreadMs, periodMs - Math.max(0, ageMs));
  }

  #planNext(ok: boolean): void {
    const { plan, clock, random } = this.#deps;
    const { period = RETRY_MS, jitter = 0 } = plan.config.emergency?.preflight ?? {};
    const waitMs = ok ? period + random() * jitter : Math.min(period, RETRY_MS);
    this.#dueAtMs = clock.monotonicMs() + waitMs;
  }
}
