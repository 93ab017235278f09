/**
 * The preflight: whether an emergency close of this bot would work, found out on a quiet day.
 *
 * Words between the daemon and its worker: the job is one JSON line on standard input, the report one line on descriptor 3.
 */
import * as z from "zod";
import { closeJobSchema } from "./close-job.ts";
import { later } from "./later.ts";

export const preflightJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    bot: z.string(),
    account: z.string(),
    venue: closeJobSchema.shape.venue,
    hook: closeJobSchema.shape.hook,
    /** A key that may withdraw is no fault. */
    allowWithdraw: z.boolean(),
    /** Only in the sandbox: place an order that rests far away, see it, cancel it. */
    drill: z.boolean(),
  }),
);
export type PreflightJob = z.output<typeof preflightJobSchema>;

const CHECKS = [
  "venue",
  "read",
  "trade",
  "withdraw",
  "account",
  "positionMode",
  "margin",
  "clock",
  "markets",
  "plan",
  "hook",
  "drill",
] as const;

const checkSchema = later(() =>
  z.strictObject({
    name: z.enum(CHECKS),
    result: z
      .enum(["ok", "warning", "failed", "unknown"])
      .describe(
        "warning: a close would work, and something is to be mended; unknown: this venue does not tell, or it could not be asked.",
      ),
    detail: z.string(),
  }),
);
export type PreflightCheck = z.output<typeof checkSchema>;

export const preflightReportSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    bot: z.string(),
    account: z.string(),
    exchange: z.string(),
    sandbox: z.boolean(),
    /** RFC 3339 UTC, of its end. */
    at: z.string(),
    ok: z.boolean().describe("No check failed; neither a warning nor what is unknown is a failure."),
    exitCode: z.int().min(0),
    durationMs: z.number().min(0),
    /** From the start of the worker to the first answer to a signed request, ms; null: none came. */
    firstReplyMs: z.number().min(0).nullable(),
    calls: z.int().min(0),
    checks: z.array(checkSchema),
  }),
);
export type PreflightReport = z.output<typeof preflightReportSchema>;

/** Exit codes of the contract for a failed check, the gravest first; any other failed check is 1. */
const EXIT_OF: readonly (readonly [PreflightCheck["name"], number])[] = [
  ["account", 12],
  ["trade", 13],
  ["read", 14],
  ["venue", 15],
];
const EXIT_FAILED = 1;

/** The exit code that the checks amount to; `refused` says that the venue refused the key. */
export function preflightExitCode(checks: readonly PreflightCheck[], refused: boolean): number {
  const failed = new Set(checks.filter(({ result }) => result === "failed").map(({ name }) => name));
  if (failed.size === 0) return 0;
  if (failed.has("read") && refused) return 13;
  return EXIT_OF.find(([name]) => failed.has(name))?.[1] ?? EXIT_FAILED;
}

/** What is wrong, in one sentence; `undefined` when nothing is. */
export function preflightTrouble(report: Pick<PreflightReport, "checks">): string | undefined {
  return checksText(report, "failed");
}

/** What is to be mended although a close would work, in one sentence; `undefined` when nothing is. */
export function preflightWarning(report: Pick<PreflightReport, "checks">): string | undefined {
  return checksText(report, "warning");
}

function checksText({ checks }: Pick<PreflightReport, "checks">, wanted: PreflightCheck["result"]): string | undefined {
  const found = checks.filter(({ result }) => result === wanted);
  return found.length === 0 ? undefined : found.map(({ name, detail }) => `${name}: ${detail}`).join("; ");
}
