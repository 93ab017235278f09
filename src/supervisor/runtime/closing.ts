/**
 * Runs the close-positions worker for one bot. The worker is a process of its own that outlives us; its journal lets the
 * next one go on, so starting it twice is safe: the account's lock lets one work and shows the other the result.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  workerLineSchema,
  type CloseJob,
  type CloseReport,
  type VenueAccess,
  type WorkerLine,
} from "../../core/close-job.ts";
import type { Lockout } from "../../core/lockout.ts";
import type { Clock } from "../../platform/clock.ts";
import { startWorker } from "../../platform/worker.ts";
import { fenceMarks, type BotPlan } from "./bot-plan.ts";
import type { EmergencyConfig } from "./config/load.ts";

/** Time beyond the venue's own budget in which a worker must have ended: fence, start, quiet period, report; ms. */
const WORKER_MARGIN_MS = 150_000;

/** Largest key file read, bytes. */
const MAX_KEY_BYTES = 16 * 1024;

export interface CloseRequest {
  readonly plan: BotPlan;
  readonly mode: CloseJob["mode"];
  readonly lockout: Pick<Lockout, "incident" | "trigger">;
  readonly invocationId: string | undefined;
  readonly cgroup: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly onProgress: (line: Extract<WorkerLine, { kind: "progress" }>) => void;
}

export type CloseEnd =
  | { readonly kind: "report"; readonly report: CloseReport }
  /** No report: the worker could not be started, died, or overran its deadline. */
  | { readonly kind: "failed"; readonly reason: string };

/** Runs one worker to its end. Never throws. */
export async function runClose(request: CloseRequest): Promise<CloseEnd> {
  const { plan, clock, lockout } = request;
  const { emergency } = plan.config;
  if (emergency === undefined) return { kind: "failed", reason: `bot ${plan.name} has no emergency section` };
  try {
    const job = jobOf(request, emergency);
    let report: CloseReport | undefined;
    const worker = startWorker({
      args: ["__action", "close-positions"],
      job: JSON.stringify(job),
      deadlineMs: emergency.timeout + WORKER_MARGIN_MS,
      clock,
      stderrPath: join(plan.files.incidents, `${lockout.incident}.log`),
      onLine: (text) => {
        const line = readLine(text);
        if (line?.kind === "progress") request.onProgress(line);
        if (line?.kind === "result") report = line.report;
      },
    });
    const end = await worker.done;
    if (report !== undefined) return { kind: "report", report };
    const how = end.timedOut ? "overran its deadline" : `ended with ${end.signal ?? `code ${end.code}`}`;
    return { kind: "failed", reason: `the close worker ${how} without a report` };
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}

function jobOf(request: CloseRequest, emergency: EmergencyConfig): CloseJob {
  const { plan, mode, lockout, invocationId, cgroup, env } = request;
  return {
    version: 1,
    mode,
    incident: lockout.incident,
    trigger: lockout.trigger,
    bot: plan.name,
    account: plan.account,
    incidentsDir: plan.files.incidents,
    accountLock: plan.files.accountLock,
    fence: { environ: [...fenceMarks(plan.files, invocationId)], ...(cgroup === undefined ? {} : { cgroup }) },
    venue: venueAccess(emergency, env),
  };
}

function venueAccess(emergency: EmergencyConfig, env: CloseRequest["env"]): VenueAccess {
  const passphrase = secret("passphrase", emergency.passphraseFile, emergency.passphraseEnv, env);
  const { exchange, endpoint, sandbox, symbols, timeout } = emergency;
  return {
    exchange,
    ...(endpoint === undefined ? {} : { endpoint }),
    sandbox,
    symbols: [...symbols],
    timeoutMs: timeout,
    apiKey: secret("API key", emergency.apiKeyFile, emergency.apiKeyEnv, env) ?? "",
    apiSecret: secret("API secret", emergency.apiSecretFile, emergency.apiSecretEnv, env) ?? "",
    ...(passphrase === undefined ? {} : { passphrase }),
  };
}

/** Read at each use, so that a key renewed on disk is used at once. The value never appears in a message. */
function secret(
  what: string,
  file: string | undefined,
  name: string | undefined,
  env: CloseRequest["env"],
): string | undefined {
  if (file !== undefined) {
    const text = readFileSync(file, "utf8");
    if (text.length > MAX_KEY_BYTES) throw new Error(`cannot read the ${what} from ${file}: it is larger than 16 KiB`);
    return text.split("\n", 1)[0]?.trim() ?? "";
  }
  if (name === undefined) return undefined;
  const value = env[name];
  if (value === undefined || value === "") throw new Error(`cannot read the ${what}: the variable ${name} is not set`);
  return value;
}

function readLine(text: string): WorkerLine | undefined {
  try {
    const parsed = workerLineSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
