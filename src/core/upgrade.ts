/**
 * What two versions of the supervisor tell each other when one takes the place of the other: what the new one says of
 * itself beforehand (its self-check), and what the old one hands over. Both forms are versioned apart from everything else.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { plainText } from "./plain-text.ts";

/** Form of the self-check's report; the old version refuses any other. */
const SELF_CHECK_VERSION = 1;
/** Form of what is handed over; the self-check says which one the new version reads. */
export const HANDOVER_VERSION = 1;
/** Longest part of a foreign program's output that is shown, characters. */
const EXCERPT_CHARS = 200;

const selfCheckSchema = later(() =>
  z.object({
    selfCheck: z.literal(SELF_CHECK_VERSION),
    name: z.literal("tradingbot-supervisor"),
    version: z.string().min(1).max(100),
    handover: z.int(),
    /** States of a bot that it takes over besides running and those at rest; an older version names none. */
    takes: z.array(z.string()).optional(),
    /** What keeps the new version from running this installation. */
    problems: z.array(z.string()),
    /** Where the config on disk has the state and the sockets; an older version does not say. */
    stateDir: z.string().optional(),
    runtimeDir: z.string().optional(),
    /** Of each bot of the config: what the new version would do with its process, and why not adopt it. */
    bots: z.record(
      z.string(),
      z.object({
        verdict: z.enum(["adopt", "end", "doubt", "none"]),
        reason: z.string(),
        /** The account that the config on disk gives it; an older version does not say. */
        account: z.string().optional(),
        /** What the machine lacks that the config names for it, so that it would be halted; an older version does not say. */
        lacks: z.string().optional(),
      }),
    ),
  }),
);
type SelfCheck = z.output<typeof selfCheckSchema>;

/** The report of the version that runs now. */
export function selfCheckReport(
  report: Pick<SelfCheck, "version" | "problems" | "bots" | "stateDir" | "runtimeDir">,
): SelfCheck {
  return {
    selfCheck: SELF_CHECK_VERSION,
    name: "tradingbot-supervisor",
    handover: HANDOVER_VERSION,
    takes: ["backoff"],
    ...report,
  };
}

/** How the run of a self-check ended. */
export type SelfCheckRun =
  | { readonly kind: "exited"; readonly code: number | null; readonly signal: string | null; readonly output: string }
  | { readonly kind: "timeout"; readonly output: string }
  | { readonly kind: "failed"; readonly reason: string };

export type Fitness =
  | { readonly kind: "fit"; readonly version: string; readonly takesBackoff: boolean }
  | { readonly kind: "unfit"; readonly reason: string };

/** A bot that is down, and of which something goes on counting. */
export interface Waiting {
  readonly name: string;
  /** Whose positions it may have left open. */
  readonly account: string;
  /** In backoff; or halted or stopped, and closed after a while. */
  readonly until: "restart" | "closeAfter";
}

/** What of us a program must go on with. */
interface Present {
  /** Names of the bots that run. */
  readonly running: readonly string[];
  readonly waiting: readonly Waiting[];
  readonly stateDir: string;
  readonly runtimeDir: string;
}

/** Whether a program may take our place: it says so itself, and it would go on with our state, our sockets, every bot that runs, and what counts of those that do not. */
export function judgeSelfCheck(run: SelfCheckRun, { running, waiting, ...folders }: Present): Fitness {
  if (run.kind === "failed") return unfit(run.reason);
  if (run.kind === "timeout") return unfit("its self-check did not end in time");
  const report = readReport(run.output);
  if (report === undefined) return unfit(`it is no supervisor that can take over: its self-check ${ending(run)}`);
  if (report.handover !== HANDOVER_VERSION)
    return unfit(`it takes over in form ${report.handover}, and this version hands over in form ${HANDOVER_VERSION}`);
  // Without our lockouts it would start what is locked; and it would take our bots, who speak to our sockets, for another supervisor's.
  for (const key of ["stateDir", "runtimeDir"] as const)
    if (report[key] !== undefined && report[key] !== folders[key])
      return unfit(`the config on disk has another ${key} (${plainText(report[key])}): that needs a restart`);
  const [problem] = report.problems;
  if (problem !== undefined) return unfit(plainText(report.problems.join("; ")));
  if (run.code !== 0) return unfit(`its self-check ${ending(run)}`);
  for (const name of running) {
    const judged = report.bots[name];
    if (judged === undefined) return unfit(`the config on disk does not name bot ${name}, which is running`);
    if (judged.verdict !== "adopt") return unfit(`it would not go on with bot ${name}: ${plainText(judged.reason)}`);
  }
  const takesBackoff = report.takes?.includes("backoff") === true;
  for (const bot of waiting) {
    if (bot.until === "restart" && !takesBackoff) return unfit(notWaitedFor(bot.name));
    const reason = mistakeOf(bot, report);
    if (reason !== undefined) return unfit(reason);
  }
  return { kind: "fit", version: plainText(report.version), takesBackoff };
}

/** Why what counts of a bot that is down would be lost, lead to nothing, or count against another account. */
function mistakeOf({ name, account, until }: Waiting, { bots }: SelfCheck): string | undefined {
  const which = until === "restart" ? "which is in backoff" : "whose closeAfter counts";
  const judged = bots[name];
  // Whoever forgets it also forgets what is left of its closeAfter.
  if (judged === undefined) return `the config on disk does not name bot ${name}, ${which}`;
  if (until === "restart" && judged.lacks !== undefined)
    return `it would not start bot ${name}, which is in backoff: ${plainText(judged.lacks)}`;
  if (judged.account === undefined || judged.account === account) return undefined;
  return `the config on disk gives bot ${name}, ${which}, another account: it was ${account} and is ${plainText(judged.account)}`;
}

/** Why a version that knows of no backoff is not given a bot that is in one. */
export function notWaitedFor(name: string): string {
  return `it does not go on with the backoff of bot ${name}; try again when the bot runs`;
}

function unfit(reason: string): Fitness {
  return { kind: "unfit", reason };
}

/** The report is one line; others are warnings for people. */
function readReport(output: string): SelfCheck | undefined {
  for (const line of output.split("\n")) {
    if (!line.startsWith("{")) continue;
    try {
      const parsed = selfCheckSchema.safeParse(JSON.parse(line));
      if (parsed.success) return parsed.data;
    } catch {
      // Another line may be it.
    }
  }
  return undefined;
}

function ending({ code, signal, output }: Extract<SelfCheckRun, { kind: "exited" }>): string {
  const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
  const said = plainText(output.trim().slice(0, EXCERPT_CHARS));
  return said === "" ? how : `${how} and said: ${said}`;
}

const exitInfoSchema = later(() =>
  z.object({
    cause: z.string(),
    code: z.int().nullable(),
    signal: z.string().nullable(),
    detail: z.string(),
    at: z.string().nullable(),
  }),
);

const carriedBotSchema = later(() =>
  z.object({
    /** "backoff" only to a version whose self-check says that it takes it. */
    kind: z.enum(["running", "stopped", "halted", "locked", "backoff"]),
    /** Whose positions `closeAfter` is about; an older version does not say. */
    account: z.string().optional(),
    /** Number of the last start, also of one that failed; an older version does not say. */
    generation: z.int().min(0).optional(),
    /** What is left of the wait before the restart, ms; absent while the bot is not in backoff. */
    backoffLeftMs: z.number().min(0).optional(),
    /** Why it is halted, or stopped by the order with which the supervisor was started; empty else. */
    reason: z.string(),
    wanted: z.boolean(),
    /** A person has stopped it: the end of a restore that goes on does not start it. */
    staysDown: z.boolean().optional(),
    attempt: z.int().min(0),
    restarts: z.int().min(0),
    /** The same by reason; a release that kept none hands none over. */
    restartsBy: z.record(z.string(), z.int().min(0)).optional(),
    /** Ages of the restarts in the budget, ms, oldest first. */
    restartAgesMs: z.array(z.number()),
    lastExit: exitInfoSchema.nullable(),
    /** What is left of `closeAfter`, ms; null while it does not count. */
    closeAfterLeftMs: z.number().nullable(),
  }),
);
/** What a bot's identity on disk does not say. */
export type CarriedBot = z.output<typeof carriedBotSchema>;

const handoverSchema = later(() =>
  z.object({
    handover: z.literal(HANDOVER_VERSION),
    /** The daemon's pid, which an exec does not change: proves that the handover is meant for this process. */
    pid: z.int(),
    from: z.string(),
    to: z.string(),
    /** The umask that the process is to have. */
    umask: z.int().optional(),
    /** The one that it was left with; another one says which signal the old version could not obey any more (late-signals.ts). */
    noting: z.int().optional(),
    bots: z.record(z.string(), carriedBotSchema),
    /** Commands of probes that run: nobody waits for their answer any more. */
    commands: z.array(z.object({ pid: z.int().min(2), startTicks: z.number() })),
    /** Workers that run (backups, looks at the account), with what is left of their bounds; an older version hands none over. */
    workers: z
      .array(
        z.object({
          pid: z.int().min(2),
          startTicks: z.number(),
          leftMs: z.number(),
          memoryBytes: z.number().optional(),
          /** What it works on; absent where nobody asks, and of an older version. */
          work: z.string().optional(),
        }),
      )
      .default([]),
    /** What killed workers have left and does not die: no bot's; an older version does not say. */
    left: z.array(z.object({ pid: z.int().min(2), startTicks: z.number() })).default([]),
  }),
);
export type HandedOver = z.output<typeof handoverSchema>;

/** Reads a handover; `undefined` for anything else, and for one that is meant for another process. */
export function readHandover(text: string, pid: number): HandedOver | undefined {
  try {
    const parsed = handoverSchema.safeParse(JSON.parse(text));
    return parsed.success && parsed.data.pid === pid ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** What `GET /v1/upgrade` answers. */
export const upgradeStateSchema = later(() =>
  z.object({
    /** Another one after each start of the daemon, also within the same process. */
    instance: z.string(),
    version: z.string(),
    pid: z.int(),
    /** Why the last upgrade was not made; null when there was none or it is under way. */
    failure: z.string().nullable(),
    /** The order to close that was there when this version took over; null when there was none, absent in the answer of an older one. */
    order: z.string().nullable().optional(),
  }),
);

/** What `POST /v1/upgrade` answers: the new program is fit, and, unless it was a dry run, takes over at once. */
export const upgradeAnswerSchema = later(() =>
  z.object({
    from: z.string(),
    to: z.string(),
    binary: z.string(),
    dryRun: z.boolean(),
    instance: z.string(),
    pid: z.int(),
    /** Of which `pid` is one; absent in the answer of an older daemon. */
    pidNamespace: z.string().optional(),
  }),
);
