/** Runs one preflight in a worker, and keeps its report. */
import { join } from "node:path";
import {
  preflightReportSchema,
  type PreflightCheck,
  type PreflightJob,
  type PreflightReport,
} from "../../../core/preflight.ts";
import type { Clock } from "../../../platform/clock.ts";
import { readTextIfExists, replaceFile } from "../../../platform/files.ts";
import { isUndying, startWorker, type Worker } from "../../../platform/worker.ts";
import type { BotPlan } from "../bot-plan.ts";
import { hookBeside, venueAccess } from "../closing.ts";
import type { EmergencyConfig } from "../config/load.ts";

/** The worker's own budget is 60 s; a venue class takes its time to load on a busy machine, ms. */
const DEADLINE_MS = 120_000;
/** Markets of the largest venue, twice, and ccxt, bytes. */
const MEMORY_BYTES = 512 * 1_024 ** 2;
/** A report is some KiB. */
const MAX_REPORT_BYTES = 262_144;
const EXIT_INTERNAL = 16;
/** Another one could be held as well, and the next. */
const UNDYING =
  "the worker of the last preflight was killed and does not die, as it waits for a disk that does not answer";
const EXIT_UNSUPPORTED = 15;

export interface PreflightDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** On the venue's test network, with an order that rests and is cancelled. */
  readonly testnet: boolean;
  /** Hears of the worker, for who may have to end it. */
  readonly onStart?: (worker: Worker) => void;
}

/** The report; also of a worker that could not be run or made none. Never throws. */
export async function runPreflight(deps: PreflightDeps): Promise<PreflightReport> {
  const { plan, clock, onStart } = deps;
  try {
    const job = jobOf(deps);
    if ("failed" in job) return failedReport(deps, job.failed, EXIT_UNSUPPORTED);
    const work = `preflight of ${plan.name}`;
    if (isUndying(work)) return failedReport(deps, UNDYING, EXIT_INTERNAL);
    let report: PreflightReport | undefined;
    const worker = startWorker({
      args: ["__action", "preflight"],
      job: JSON.stringify(job),
      deadlineMs: DEADLINE_MS,
      memory: MEMORY_BYTES,
      clock,
      givesUp: work,
      stderrPath: join(plan.files.dir, "preflight.log"),
      onLine: (text) => {
        report = reportOf(text) ?? report;
      },
    });
    onStart?.(worker);
    const { code, signal, timedOut } = await worker.done;
    const how = timedOut ? "overran its deadline" : `ended with ${signal ?? `code ${code}`}`;
    return report ?? failedReport(deps, `the preflight worker ${how} without a report`, EXIT_INTERNAL);
  } catch (error) {
    return failedReport(deps, error instanceof Error ? error.message : String(error), EXIT_INTERNAL);
  }
}

/** The report that was kept last; `undefined` before any, and when it cannot be read. */
export function lastPreflight(plan: BotPlan): PreflightReport | undefined {
  try {
    const text = readTextIfExists(pathOf(plan), MAX_REPORT_BYTES);
    return text === undefined ? undefined : reportOf(text);
  } catch {
    return undefined;
  }
}

/** Keeps the report. Throws when it cannot be written. */
export function keepPreflight(plan: BotPlan, report: PreflightReport): void {
  replaceFile(pathOf(plan), `${JSON.stringify(report, undefined, 2)}\n`, 0o640);
}

function pathOf(plan: BotPlan): string {
  return join(plan.files.dir, "preflight.json");
}

function jobOf({ plan, env, testnet }: PreflightDeps): PreflightJob | { readonly failed: string } {
  const { emergency } = plan.config;
  if (emergency === undefined) return { failed: `bot ${plan.name} has no emergency section` };
  const where = testnet ? onTestnet(emergency) : emergency;
  if (where === undefined)
    return { failed: `there are no keys of the test network; add bots.${plan.name}.emergency.testnet to the config` };
  return {
    version: 1,
    bot: plan.name,
    account: plan.account,
    venue: venueAccess(plan, where, env),
    ...(testnet || emergency.hook === undefined ? {} : { hook: hookBeside(plan, emergency, env) }),
    allowWithdraw: emergency.preflight.allowWithdraw,
    drill: testnet,
  };
}

/** The section as it is on the test network; a bot that lives there anyway needs no keys of its own for it. */
function onTestnet(emergency: EmergencyConfig): EmergencyConfig | undefined {
  if (emergency.sandbox) return emergency;
  if (emergency.testnet === undefined || emergency.driver !== "ccxt") return undefined;
  const { exchange, timeout, preflight, symbols, closeAfter, onGiveUp, driver, testnet } = emergency;
  return { exchange, timeout, preflight, symbols, closeAfter, onGiveUp, driver, ...testnet, sandbox: true };
}

function failedReport({ plan, clock, testnet }: PreflightDeps, why: string, exitCode: number): PreflightReport {
  const check: PreflightCheck = { name: "venue", result: "failed", detail: why };
  return {
    version: 1,
    bot: plan.name,
    account: plan.account,
    exchange: plan.config.emergency?.exchange ?? plan.config.emergency?.driver ?? "",
    sandbox: testnet,
    at: clock.wallTime().toISOString(),
    ok: false,
    exitCode,
    durationMs: 0,
    firstReplyMs: null,
    calls: 0,
    checks: [check],
  };
}

function reportOf(text: string): PreflightReport | undefined {
  try {
    const parsed = preflightReportSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
