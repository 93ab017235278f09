/**
 * Which failures of a probe say nothing of the bot: those of something else that was asked (the exchange, the network), those
 * that such a failure explains, and those in a time in which the machine itself was disturbed. They become `unknown`.
 */
import type { ProbeResult } from "./verdict.ts";

/** Time in which the machine or the supervisor, and so perhaps the bot, did not run as usual. */
export interface Disturbance {
  /** For people. */
  readonly reason: string;
  /** Monotonic ms of its end. */
  readonly endMs: number;
}

/** Failures in a row that were excused for a disturbance; `undefined` before the first and after each success. */
export type Excuses = { readonly sinceMs: number; readonly runs: number } | undefined;

/** Failures in a row that a disturbance excuses at most; a bot that hangs on a sick machine is still replaced. */
export const MAX_EXCUSED_RUNS = 5;
/** Or those of this time, ms, for probes that run often: the kernel's average of pressure needs it to fall. */
export const MIN_EXCUSED_MS = 10_000;
/** In any case for at most this long, ms. The first failure is excused in any case. */
export const MAX_EXCUSED_MS = 120_000;
/** Silence is excused for this many of its timeouts at most: beyond three timeouts in all it counts whatever happens. */
const MAX_EXCUSED_TIMEOUTS = 2;

/** Kinds that a disturbance can make fail; what they are not can be seen also on a sick machine: a dead process, a hog. */
const DISTURBED_KINDS: ReadonlySet<string> = new Set(["http", "tcp", "exec", "file", "heartbeat", "progress"]);
/** Kinds that fail when the bot does not get what it needs from elsewhere, although it is well. */
const DEPENDENT_KINDS: ReadonlySet<string> = new Set(["http", "exec", "file", "progress"]);
const SILENCE_KINDS: ReadonlySet<string> = new Set(["heartbeat", "progress"]);

export interface ExcusedProbe {
  readonly kind: string;
  readonly role: "startup" | "liveness" | "readiness";
  readonly onFailure?: "restart" | "alert" | "degrade" | "emergency" | undefined;
  readonly period: number;
  readonly timeout: number;
}

/** One run, and what is known beside its result. */
export interface RunReport {
  readonly result: ProbeResult;
  /** Monotonic ms. */
  readonly startMs: number;
  readonly endMs: number;
  /** What was asked is not the bot but something that it needs. */
  readonly upstream: boolean;
  /** The bot has sent a heartbeat recently enough. */
  readonly beating: boolean;
  /** What the bot needs and does not have, in words; asked for with the time that a recovery takes to be felt, ms. */
  readonly upstreamTrouble: (graceMs: number) => string | undefined;
  readonly disturbance: () => Disturbance | undefined;
}

/** The result as it counts. `excuses` is what the last call for this probe returned. */
export function excuseRun(
  probe: ExcusedProbe,
  excuses: Excuses,
  run: RunReport,
): { readonly result: ProbeResult; readonly excuses: Excuses } {
  const { result } = run;
  if (result.kind === "success") return { result, excuses: undefined };
  if (result.kind === "unknown") return { result, excuses };
  const remote = remoteCause(probe, run, result.reason);
  if (remote !== undefined) return { result: { kind: "unknown", reason: remote }, excuses };
  if (!DISTURBED_KINDS.has(probe.kind)) return { result, excuses };
  const disturbance = run.disturbance();
  if (disturbance === undefined || run.startMs >= disturbance.endMs + graceMs(probe)) return { result, excuses };
  const next = { sinceMs: excuses?.sinceMs ?? run.endMs, runs: (excuses?.runs ?? 0) + 1 };
  const excusedMs = run.endMs - next.sinceMs;
  const often = next.runs > MAX_EXCUSED_RUNS && excusedMs > MIN_EXCUSED_MS;
  if (often || excusedMs > maxExcusedMs(probe)) return { result, excuses: next };
  return { result: { kind: "unknown", reason: `${disturbance.reason}; ${result.reason}` }, excuses: next };
}

/** Whether an unhealthy verdict of the probe may restart the bot or close its positions, at once or by `closeAfter`. */
export function isVital({ role, onFailure }: Pick<ExcusedProbe, "role" | "onFailure">): boolean {
  return role !== "readiness" || onFailure === "restart" || onFailure === "emergency";
}

/** Where the cause of a failure is not here, and acting on it would harm a healthy bot: the reason; else `undefined`. */
function remoteCause(probe: ExcusedProbe, run: RunReport, reason: string): string | undefined {
  if (!isVital(probe)) return undefined;
  if (run.upstream) return `remote: ${reason}`;
  if (!run.beating || !DEPENDENT_KINDS.has(probe.kind)) return undefined;
  const trouble = run.upstreamTrouble(graceMs(probe));
  return trouble === undefined ? undefined : `remote: ${trouble}; ${reason}`;
}

/** One fresh period after the end of what disturbed: for silence, whose timeout is its period, that. */
function graceMs({ kind, period, timeout }: ExcusedProbe): number {
  return SILENCE_KINDS.has(kind) ? timeout : period;
}

function maxExcusedMs({ kind, timeout }: ExcusedProbe): number {
  return SILENCE_KINDS.has(kind) ? Math.min(MAX_EXCUSED_MS, timeout * MAX_EXCUSED_TIMEOUTS) : MAX_EXCUSED_MS;
}
