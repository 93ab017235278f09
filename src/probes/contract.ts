/** What a probe is. A new probe is one file that exports a `ProbeKind`, plus its name in index.ts. */
import * as z from "zod";
import { later } from "../core/later.ts";
import { duration } from "../core/quantities.ts";
import type { ProbeResult } from "../core/verdict.ts";
import type { Clock } from "../platform/clock.ts";
import type { User } from "../platform/user.ts";

/** Fields that every probe has; names and defaults are Kubernetes' where Kubernetes has them. */
export const common = later(() => ({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,62}$/, "a name is lower-case letters, digits and dashes, at most 63")
    .optional()
    .describe("Unique name within the bot, shown in status and events; default: the kind."),
  role: z
    .enum(["startup", "liveness", "readiness"])
    .default("liveness")
    .describe("startup gates the others, liveness judges the bot's life, readiness only its fitness."),
  initialDelay: duration().prefault("0s").describe("Time from the start of the process to the first run."),
  period: duration().prefault("10s").describe("Time between two runs."),
  timeout: duration()
    .prefault("5s")
    .describe("A run that takes longer is a failure; four fifths of a period of 5 s or less."),
  failureThreshold: z.int().min(1).max(1_000).default(3).describe("Failures in a row before the verdict is unhealthy."),
  successThreshold: z.int().min(1).max(1_000).default(1).describe("Successes in a row before it is healthy again."),
  onFailure: z
    .enum(["restart", "alert", "degrade", "emergency"])
    .optional()
    .describe("What an unhealthy verdict does; default: restart for startup and liveness, alert for readiness."),
}));

/** What a probe may know of the one generation of the bot that it was made for. */
export interface ProbeContext {
  readonly clock: Clock;
  readonly generation: number;
  readonly pid: number;
  /** Kernel start time of `pid` in clock ticks: pid and ticks together name one process. */
  readonly startTicks: number;
  /** Monotonic ms of the moment from which silence is counted: the start, or readiness for `ready: notify`. */
  readonly armedAtMs: () => number;
  /** Monotonic ms of the last heartbeat of this generation; `undefined` before the first. */
  readonly heartbeatAtMs: () => number | undefined;
  /** The bot called for its own replacement (`WATCHDOG=trigger`). */
  readonly watchdogTriggered: () => boolean;
  /** Period the bot asked for by `WATCHDOG_USEC`, ms; 0 switches the heartbeat watch off; `undefined`: the config's. */
  readonly watchdogMs: () => number | undefined;
  /** Monotonic ms of the last change of the bot's progress value; `undefined` before the first. */
  readonly progressAtMs: () => number | undefined;
  /** Live pids of the bot's whole tree, main process included. */
  readonly treePids: () => readonly number[];
  /** Folder, environment and user that the bot's own commands run with. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: User | undefined;
}

export interface Probe {
  /** One run. Resolves within the config's `timeout` once `signal` aborts; never throws for a sick bot. */
  readonly run: (signal: AbortSignal) => Promise<ProbeResult>;
  /** Delay to the next run, ms, for kinds that know their own deadline; others run each `period`. */
  readonly nextDelayMs?: () => number;
}

export interface ProbeKind<S extends z.ZodObject> {
  readonly kind: z.output<S>["kind"];
  readonly schema: S;
  readonly create: (config: z.output<S>, context: ProbeContext) => Probe;
}

export function defineProbe<S extends z.ZodObject>(kind: ProbeKind<S>): ProbeKind<S> {
  return kind;
}
