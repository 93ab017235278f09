/** What is known of a bot's last close, with its report: the answer of `GET /v1/bots/NAME/emergency`. */
import { join } from "node:path";
import { closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import type { Lockout } from "../../core/lockout.ts";
import { causeText } from "../../core/trigger-text.ts";
import { pidsText } from "../../core/pids-text.ts";
import { readTextIfExists } from "../../platform/files.ts";
import type { EmergencyAnswer } from "./api.ts";
import type { Bot } from "./bot.ts";

/** Largest report read, bytes; one of a thousand orders is below 1 MiB. */
const MAX_REPORT_BYTES = 16 * 1024 ** 2;

/** Never throws. */
export function emergencyAnswer(bot: Bot): EmergencyAnswer {
  const { lockout } = bot;
  const { state } = bot.loop;
  return {
    bot: bot.plan.name,
    state: state.kind,
    incident: lockout?.incident ?? null,
    reason: lockout === undefined ? null : causeText(lockout),
    lockedAt: lockout?.lockedAt ?? null,
    outcome: lockout?.outcome ?? null,
    endedAt: lockout?.endedAt ?? null,
    acknowledgedAt: lockout?.acknowledgedAt ?? null,
    detail:
      state.kind === "stuck"
        ? `processes cannot be killed: ${pidsText(state.pids)}`
        : (bot.emergency.view?.text ?? null),
    report: lockout === undefined ? null : reportOf(bot, lockout),
  };
}

/**
 * The report of the close that ended last. The file counts only where this daemon has closed nothing and its outcome is
 * that of the lockout: an incident has several rounds, and the last one may have ended without a report.
 */
function reportOf(bot: Bot, lockout: Lockout): CloseReport | null {
  const { view } = bot.emergency;
  if (view !== undefined) return view.report ?? null;
  const report = readReport(join(bot.plan.files.incidents, `${lockout.incident}.json`));
  return report?.incident === lockout.incident && report.outcome === lockout.outcome ? report : null;
}

function readReport(path: string): CloseReport | undefined {
  try {
    const text = readTextIfExists(path, MAX_REPORT_BYTES);
    return text === undefined ? undefined : closeReportSchema.parse(JSON.parse(text));
  } catch {
    // Unreadable or damaged: the outcome in the lockout stands without it.
    return undefined;
  }
}
