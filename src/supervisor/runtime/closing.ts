/**
 * Runs the close-positions worker for one bot. The worker is a process of its own that outlives us; its journal lets the
 * next one go on, so starting it twice is safe: the account's lock lets one work and shows the other the result.
 */
import { dirname, join } from "node:path";
import { SPARE_VARIABLE } from "../../actions/incident-spare.ts";
import type { CloseGoal } from "../../core/close-goal.ts";
import {
  workerLineSchema,
  type CloseJob,
  type CcxtAccess,
  type CloseReport,
  type Unwritten,
  type HookAccess,
  type VenueAccess,
  type WorkerLine,
} from "../../core/close-job.ts";
import { CLOSE_HANG_BOUNDS } from "../../core/hang.ts";
import type { Lockout } from "../../core/lockout.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists } from "../../platform/files.ts";
import type { ProcessId } from "../../platform/proc.ts";
import { startWorker } from "../../platform/worker.ts";
import { fenceMarks, type BotPlan } from "./bot-plan.ts";
import type { EmergencyConfig } from "./config/load.ts";
import type { Fence } from "./fence.ts";

/**
 * A worker may first wait for another close of the account, as long as that one may take, and then needs its own budget;
 * this is the time beyond both for fence, start, quiet period and report, ms.
 */
const WORKER_MARGIN_MS = 150_000;

/** Time budget of a slow round, ms: for the orders of one round, the time after which none of them is executed any more, and a look. */
const SLOW_ROUND_MS = 15_000;

/**
 * Memory above which a worker is killed, bytes. A bound for what runs wild, not for what a close needs: 200 positions take 64 MiB with a
 * fresh list of 3 000 markets (3.6 MB), and 161 MiB with one of 12 000 (14 MB), which spot markets come to; an account of both markets
 * loads two. At 256 MiB such a close could die of its bound, and the next worker of the same, which is worse than the memory.
 */
const WORKER_MEMORY_BYTES = 1024 ** 3;
/** The kernel takes almost everything else first: nobody but the worker can close what is open. */
const WORKER_OOM_SCORE = -900;

const UNDYING = "it waits for a disk that does not answer, and the close goes on once it is gone";

/** Of what the trigger found, that the report tells. */
const MAX_CAUSE_CHARS = 500;

/** Largest key file read, bytes. */
const MAX_KEY_BYTES = 16 * 1024;

export interface CloseRequest {
  readonly plan: BotPlan;
  readonly mode: CloseJob["mode"];
  readonly lockout: Pick<Lockout, "incident" | "trigger"> & Partial<Pick<Lockout, "reason" | "later">>;
  /** `undefined`: a flat account. */
  readonly goal?: CloseGoal | undefined;
  /** One of the rounds that follow a close which did not end well: it takes little time. */
  readonly slow?: boolean;
  /** It begins its incident. */
  readonly first?: boolean;
  /** By what living processes of the bot are recognised. */
  readonly fence: Fence;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** A cgroup for the worker alone; absent: it is started where we are. */
  readonly cgroup?: string | undefined;
  /** The worker is running: from here on it goes on without us. */
  readonly onStarted?: () => void;
  readonly onProgress: (line: Extract<WorkerLine, { kind: "progress" }>) => void;
  /** Somebody must hear of it. */
  readonly onAlert?: (text: string) => void;
}

export type CloseEnd =
  /** `unwritten`: what the disk has not taken of the run; absent: it had no journal. */
  | { readonly kind: "report"; readonly report: CloseReport; readonly unwritten?: Unwritten | undefined }
  /** No report: the worker died (`died`: another may do better at once), overran its deadline, or could not be started. */
  | { readonly kind: "failed"; readonly reason: string; readonly died: boolean };

/** Runs one worker to its end. Never throws. */
export async function runClose(request: CloseRequest): Promise<CloseEnd> {
  const { plan, clock, lockout } = request;
  const { emergency } = plan.config;
  if (emergency === undefined)
    return { kind: "failed", reason: `bot ${plan.name} has no emergency section`, died: false };
  try {
    const job = jobOf(request, emergency);
    let report: CloseReport | undefined;
    let unwritten: Unwritten | undefined;
    const worker = startWorker({
      args: ["__action", "close-positions"],
      job: JSON.stringify(job),
      deadlineMs: 2 * job.venue.timeoutMs + WORKER_MARGIN_MS,
      hang: CLOSE_HANG_BOUNDS,
      memory: WORKER_MEMORY_BYTES,
      oomScore: WORKER_OOM_SCORE,
      cgroup: request.cgroup,
      env: { [SPARE_VARIABLE]: plan.files.incidentsSpare },
      clock,
      stderrPath: join(plan.files.incidents, `${lockout.incident}.log`),
      // It holds the account's lock for as long, which no other one gets: who could act still, and who not, is the kernel's to say.
      onUndying: (pid) => request.onAlert?.(`its worker, pid ${pid}, was killed and does not die: ${UNDYING}`),
      onLine: (text) => {
        const line = readLine(text);
        if (line?.kind === "progress") request.onProgress(line);
        if (line?.kind === "result") report = line.report;
        if (line?.kind === "unwritten")
          unwritten = { report: line.report, lines: [...(unwritten?.lines ?? []), ...line.lines] };
      },
    });
    request.onStarted?.();
    const end = await worker.done;
    if (report !== undefined) return { kind: "report", report, unwritten };
    if (end.hung !== undefined)
      return { kind: "failed", reason: `the close ${end.hung.replace(/^the /, "")}`, died: true };
    const how = end.timedOut ? "overran its deadline" : `ended with ${end.signal ?? `code ${end.code}`}`;
    return { kind: "failed", reason: `the close worker ${how} without a report`, died: !end.timedOut };
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error), died: false };
  }
}

function jobOf(request: CloseRequest, emergency: EmergencyConfig): CloseJob {
  const { plan, mode, lockout, goal, slow = false, first = false, fence, env } = request;
  const timeoutMs = slow ? Math.min(emergency.timeout, SLOW_ROUND_MS) : emergency.timeout;
  return {
    version: 1,
    mode,
    ...(goal === undefined ? {} : { goal }),
    bounds: boundsOf(emergency),
    // Whoever closes again, or in the place of a limit, has no time to wait.
    ...(first && emergency.limits !== undefined ? { style: emergency.limits.style } : {}),
    incident: lockout.incident,
    trigger: lockout.trigger,
    ...(lockout.reason === undefined ? {} : { cause: lockout.reason.slice(0, MAX_CAUSE_CHARS) }),
    ...(lockout.later === undefined ? {} : { later: lockout.later }),
    bot: plan.name,
    account: plan.account,
    incidentsDir: plan.files.incidents,
    accountLock: plan.files.accountLock,
    fence: {
      environ: [...new Set([...fenceMarks(plan.files, undefined), ...fence.flatMap((marks) => marks.environ)])],
      cgroups: [...new Set(fence.flatMap(({ cgroup }) => (cgroup === undefined ? [] : [cgroup])))],
      processes: fence.flatMap(({ root, known }) => [...(root === undefined ? [] : [root]), ...known]).map(identityOf),
    },
    venue: venueAccess(plan, emergency, env, timeoutMs),
    ...hookIfAny(request, emergency, timeoutMs),
  };
}

/** The hook beside the driver. Throws when its secret cannot be read. */
export function hookBeside(
  plan: BotPlan,
  { hook, symbols, timeout }: EmergencyConfig,
  env: CloseRequest["env"],
  timeoutMs: number = timeout,
): HookAccess | undefined {
  return hook === undefined ? undefined : hookAccess(plan, { ...hook, symbols }, env, timeoutMs);
}

/** A hook whose secret is gone must not keep the driver from closing; that it is gone is said. */
function hookIfAny(
  { plan, env, onProgress }: CloseRequest,
  emergency: EmergencyConfig,
  timeoutMs: number,
): { readonly hook?: HookAccess } {
  try {
    const hook = hookBeside(plan, emergency, env, timeoutMs);
    return hook === undefined ? {} : { hook };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    onProgress({ kind: "progress", state: "fencing", text: `the hook beside ccxt cannot be used: ${why}` });
    return {};
  }
}

interface HookSection {
  readonly command?: readonly string[] | undefined;
  readonly passEnv?: readonly string[] | undefined;
  readonly url?: string | undefined;
  readonly secretFile?: string | undefined;
  readonly secretEnv?: string | undefined;
  readonly symbols: readonly string[];
}

function hookAccess(plan: BotPlan, section: HookSection, env: CloseRequest["env"], timeoutMs: number): HookAccess {
  const { command, passEnv = [], url = "", symbols } = section;
  const driver = command === undefined ? "webhook" : "exec";
  const shared = { exchange: driver, symbols: [...symbols], timeoutMs };
  if (command === undefined) return { ...shared, driver: "webhook", url, secret: secret("secret", section, env) ?? "" };
  const cwd = plan.config.cwd;
  return { ...shared, driver: "exec", command: [...command], cwd, env: passedOn(["PATH", ...passEnv], env) };
}

function boundsOf({ maxOrders, maxSlippage }: EmergencyConfig): NonNullable<CloseJob["bounds"]> {
  return {
    ...(maxOrders === undefined ? {} : { maxOrders }),
    ...(maxSlippage === undefined ? {} : { maxSlippage }),
  };
}

function identityOf({ pid, startTicks }: ProcessId): ProcessId {
  return { pid, startTicks };
}

/** Where the account is and how it is opened; `timeoutMs` is the budget of what is to be done there. Throws when a key cannot be read. */
export function venueAccess(
  plan: BotPlan,
  emergency: EmergencyConfig,
  env: CloseRequest["env"],
  timeoutMs: number = emergency.timeout,
): VenueAccess {
  const { driver, command = [] } = emergency;
  switch (driver) {
    case "ccxt":
      return ccxtAccess(plan, emergency, env, timeoutMs);
    case "exec":
      return hookAccess(plan, { ...emergency, command }, env, timeoutMs);
    case "webhook":
      return hookAccess(plan, { ...emergency, command: undefined }, env, timeoutMs);
  }
}

/** Only these variables; one that is not set is not passed on. */
function passedOn(names: readonly string[], env: CloseRequest["env"]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function ccxtAccess(
  plan: BotPlan,
  emergency: EmergencyConfig,
  env: CloseRequest["env"],
  timeoutMs: number,
): VenueAccess {
  const passphrase = secret("passphrase", emergency, env);
  const { exchange = "", endpoint, sandbox, symbols, uid, spot, margin } = emergency;
  // The markets of spot and margin wallets are others; with both, its file is named after that of the derivatives.
  const wallet = margin !== undefined || (spot !== undefined && !spot.derivatives);
  const kind = `${wallet ? "-spot" : ""}${sandbox ? "-sandbox" : ""}`;
  const markets = `markets-${exchange}${kind}.json`;
  return {
    exchange,
    ...(endpoint === undefined ? {} : { endpoint }),
    sandbox,
    symbols: [...symbols],
    timeoutMs,
    apiKey: secret("apiKey", emergency, env) ?? "",
    apiSecret: secret("apiSecret", emergency, env) ?? "",
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(uid === undefined ? {} : { uid }),
    marketsFile: join(dirname(plan.files.accountLock), markets),
    ...(spot === undefined ? {} : { spot: spotOf(spot) }),
    ...(margin === undefined ? {} : { margin: marginOf(margin) }),
  };
}

function spotOf({ quote, keep, derivatives }: NonNullable<EmergencyConfig["spot"]>): CcxtAccess["spot"] {
  return { quote, keep: [...keep], ...(derivatives ? { derivatives } : {}) };
}

/** Where the mode has a quote currency of its own, it is the one that most pairs have. */
const CROSS_QUOTE = "USDT";

function marginOf({ mode, quote = CROSS_QUOTE, keep }: NonNullable<EmergencyConfig["margin"]>): CcxtAccess["margin"] {
  return { mode, ...(mode === "cross" ? { quote } : {}), keep: [...keep] };
}

const SECRETS = { apiKey: "API key", apiSecret: "API secret", passphrase: "passphrase", secret: "secret" } as const;

/** Read at each use, so that a key renewed on disk is used at once. The value never appears in a message. */
function secret(
  name: keyof typeof SECRETS,
  section: Readonly<Partial<Record<`${keyof typeof SECRETS}${"File" | "Env"}`, string | undefined>>>,
  env: CloseRequest["env"],
): string | undefined {
  const what = SECRETS[name];
  const file = section[`${name}File`];
  if (file !== undefined) return readKey(file, `${what} from ${file} (emergency.${name}File)`);
  const variable = section[`${name}Env`];
  if (variable === undefined) return undefined;
  const value = env[variable];
  if (value === undefined || value === "")
    throw new Error(`cannot read the ${what}: the variable ${variable} is not set (emergency.${name}Env)`);
  return value;
}

/** The first line of a key file. */
function readKey(file: string, what: string): string {
  let text: string | undefined;
  try {
    text = readTextIfExists(file, MAX_KEY_BYTES);
  } catch (cause) {
    throw new Error(`cannot read the ${what}: ${whyUnreadable(cause, file)}`, { cause });
  }
  if (text === undefined) throw new Error(`cannot read the ${what}: no such file`);
  return text.split("\n", 1)[0]?.trim() ?? "";
}

function whyUnreadable(error: unknown, file: string): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error && "code" in cause && cause.code === "EACCES") return "permission denied";
  return error.message.replace(`cannot read ${file}: `, "");
}

function readLine(text: string): WorkerLine | undefined {
  try {
    const parsed = workerLineSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
