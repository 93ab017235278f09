/** Waits for the end of the close that was asked for, and says what is known when the daemon ends meanwhile. */
import { CLOSE_EXIT } from "../../core/close-job.ts";
import { plainText } from "../../core/plain-text.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { emergencyAnswerSchema, type EmergencyAnswer } from "../runtime/api.ts";
import { callDaemon, DaemonDownError, DaemonError, DaemonSilentError } from "./client.ts";
import type { CloseEnd } from "./close-end.ts";
import { lastKnownStatus } from "./last-known.ts";
import type { Place } from "./place.ts";
import type { CliIo } from "./verb.ts";

/** Time between two looks at a close under way, ms. */
const POLL_MS = 200;
/** What ends the waiting, and nothing else. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function emergencyPath(bot: string): string {
  return `/v1/bots/${encodeURIComponent(bot)}/emergency`;
}

/**
 * Looks until the incident has ended. The daemon bounds each step of a close, and ends it as `failed` after that, so this
 * needs no end of its own; a daemon that no longer answers ends the wait.
 */
export async function waitForEnd(place: Place, bot: string, incident: string, io: CliIo): Promise<CloseEnd> {
  const interrupted = (signal: NodeJS.Signals): void => {
    io.err(`the close of ${bot} goes on in the daemon`);
    io.err(`hint: to see it: supervisor status ${bot}, supervisor events --bot ${bot}`);
    // The listener is gone by now: this ends the command as if there had been none.
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.once(signal, interrupted);
  try {
    return await untilEnd(place, bot, incident, io);
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}

async function untilEnd(place: Place, bot: string, incident: string, io: CliIo): Promise<CloseEnd> {
  let told = "";
  for (;;) {
    const now = await look(place, bot);
    const { outcome, endedAt, detail } = now;
    if (now.incident !== incident) throw overtaken(bot, incident);
    if (outcome !== null && endedAt !== null) return { ...now, incident, outcome };
    if (now.state === "stuck") throw notProven(bot, detail, STUCK_HINT);
    if (io.isTerminal && detail !== null && detail !== told) io.err(plainText(detail));
    told = detail ?? told;
    await sleep(systemClock, POLL_MS);
  }
}

async function look(place: Place, bot: string): Promise<EmergencyAnswer> {
  try {
    return emergencyAnswerSchema.parse(await callDaemon(place, "GET", emergencyPath(bot)));
  } catch (error) {
    if (error instanceof DaemonSilentError) throw await lost(place, bot, error.message);
    if (error instanceof DaemonDownError) throw await lost(place, bot, "the supervisor has ended meanwhile");
    throw error;
  }
}

const STUCK_HINT = "the daemon tries to kill them every 5 s, and closes as soon as they are gone";

/** The fence does not hold. */
export function notProven(bot: string, detail: string | null, hint: string): DaemonError {
  return new DaemonError(
    {
      code: "notProven",
      message: `cannot close positions of ${bot}: its processes are not proven dead${detail === null ? "" : `: ${detail}`}`,
      hint,
    },
    CLOSE_EXIT.refused,
  );
}

function overtaken(bot: string, incident: string): DaemonError {
  return new DaemonError(
    {
      code: "overtaken",
      message: `cannot tell how the close of ${bot} ended: incident ${incident} was ended by somebody else meanwhile`,
      hint: `see: supervisor events --bot ${bot}`,
    },
    CLOSE_EXIT.unreadable,
  );
}

async function lost(place: Place, bot: string, why: string): Promise<DaemonError> {
  const last = await lastKnownStatus(place);
  const seen = last?.bots.find(({ name }) => name === bot);
  const known =
    last === undefined || seen === undefined
      ? "nothing is known of it"
      : `last known, ${last.supervisor.asOf}: the bot was ${seen.state}, the account ${seen.emergency.state}, incident ${seen.emergency.incident ?? "none yet"}`;
  return new DaemonError(
    {
      code: "lost",
      message: `cannot follow the close of ${bot}: ${why}; ${known}`,
      hint: "a close that had begun goes on in its own process; the next supervisor run, or the same command again, goes on with the incident",
    },
    CLOSE_EXIT.unreadable,
  );
}
