/** How a close ended, for the emergency commands: the exit code of the contract, and what is printed. */
import { CLOSE_EXIT } from "../../core/close-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import type { RungOutcome } from "../../core/ladder.ts";
import { plainJson } from "../../core/plain-text.ts";
import { closeEndText } from "../../report/close-text.ts";
import type { EmergencyAnswer } from "../runtime/api.ts";
import { DaemonError, DaemonSilentError } from "./client.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo } from "./verb.ts";

const CODES: Readonly<Record<RungOutcome, number>> = {
  ...CLOSE_EXIT,
  failed: CLOSE_EXIT.internal,
  lockDamaged: CLOSE_EXIT.internal,
};

/** The exit code of an outcome; 16 for one that this version does not know. */
export function closeExitCode(outcome: string): number {
  return Object.entries(CODES).find(([name]) => name === outcome)?.[1] ?? CLOSE_EXIT.internal;
}

/** A close that has ended, in the daemon's words or, without one, in our own. */
export type CloseEnd = Pick<EmergencyAnswer, "bot" | "detail" | "report"> & {
  readonly incident: string;
  readonly outcome: string;
  /** What a person must do where the lockout ends with us, as no disk has taken it. */
  readonly lockoutLost?: string;
};

export function showCloseEnd(
  end: CloseEnd,
  { json = false, config }: { readonly json?: boolean; readonly config?: string },
  io: CliIo,
): void {
  const { incident, outcome, detail, report, lockoutLost } = end;
  io.out(json ? plainJson({ incident, outcome, detail, report }) : completeCommands(closeEndText(end), config));
  if (lockoutLost !== undefined) io.err(lockoutLost);
  // The account may be flat: it does not stay so.
  io.setExitCode(closeExitCode(outcome) || (lockoutLost === undefined ? 0 : EXIT.failed));
}

/** Codes of the daemon's errors that have an exit code of their own in the emergency commands. */
const REFUSALS: Readonly<Record<string, number>> = {
  unsupported: CLOSE_EXIT.unsupported,
  notConfirmed: CLOSE_EXIT.refused,
  inProgress: CLOSE_EXIT.refused,
  stopping: CLOSE_EXIT.refused,
  failed: CLOSE_EXIT.internal,
  internal: CLOSE_EXIT.internal,
  unknown: CLOSE_EXIT.internal,
};

/** What the daemon says no to, as an error of `emergency plan`; an unknown bot stays exit code 2. */
export function planRefusal(error: DaemonError): DaemonError {
  return withExit(error, REFUSALS[error.code] ?? error.exitCode);
}

/** The same for `emergency close`: it is refused, unless the table says otherwise, and nothing has been done then. */
export function closeRefusal(bot: string, error: DaemonError): DaemonError {
  if (error instanceof DaemonSilentError) return silentRefusal(bot, error);
  const own = error.code === "noSuchBot" ? error.exitCode : CLOSE_EXIT.refused;
  return withExit(error, REFUSALS[error.code] ?? own);
}

/** A daemon that holds the folder and does not answer stands in the way: its bot may trade, and it may wake up. */
function silentRefusal(bot: string, error: DaemonSilentError): DaemonError {
  const pid = error.pid ?? "PID";
  const message = `cannot close positions of ${bot}: ${error.message}; nothing was asked of it, nothing is being closed`;
  const hint = `"kill -CONT ${pid}" lets a stopped one go on; or end it with "kill -KILL ${pid}" and say --yes: then the command does its work`;
  return new DaemonError({ code: error.code, message, hint }, CLOSE_EXIT.refused);
}

function withExit({ code, message, hint }: DaemonError, exitCode: number): DaemonError {
  return new DaemonError({ code, message, ...(hint === undefined ? {} : { hint }) }, exitCode);
}
