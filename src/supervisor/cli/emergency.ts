/** `supervisor emergency plan|close BOT`: shows what would be closed, and closes it. Works with and without a daemon. */
import { CLOSE_EXIT, closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import type { Status } from "../../core/status.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { closeText } from "../../report/close-text.ts";
import { callDaemon, DaemonDownError, DaemonError } from "./client.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Time between two looks at a close under way, ms. */
const POLL_MS = 200;

interface Options extends PlaceOptions {
  readonly json?: boolean;
  readonly confirm?: string;
  readonly yes?: boolean;
}

export const command: Verb = {
  name: "emergency",
  summary:
    "Plans or does the closing of a bot's positions. Exit codes of close: 0 flat, 10 residual, 11 foreign activity, 12 refused, 13 key refused, 14 venue unreadable, 15 unsupported, 16 internal; of plan: 20 something is open.",
  configure: (cmd, io) => {
    withConfig(cmd.command("plan"))
      .description("Reads the account and shows what a close would do; changes nothing.")
      .argument("<bot>", "name of the bot in the config")
      .option("--json", "one JSON object")
      .action((bot: string, options: Options) => plan(bot, options, io));
    withConfig(cmd.command("close"))
      .description("Kills the bot, cancels its orders, closes its positions, verifies, and locks it out.")
      .argument("<bot>", "name of the bot in the config")
      .option("--confirm <token>", "token that plan printed at most 120 s ago")
      .option("--yes", "without a plan")
      .option("--json", "one JSON object")
      .action((bot: string, options: Options) => close(bot, options, io));
  },
};

async function plan(bot: string, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const { report, token } = await askForPlan(place, bot, options, io);
  if (options.json === true) io.out(JSON.stringify({ report, token }));
  else {
    io.out(closeText(report));
    if (token !== null && report.outcome === "planNotEmpty")
      io.out(`to do it, within 120 s: supervisor emergency close ${bot} --confirm ${token}`);
  }
  io.setExitCode(CLOSE_EXIT[report.outcome]);
}

async function askForPlan(
  place: Place,
  bot: string,
  options: Options,
  io: CliIo,
): Promise<{ report: CloseReport; token: string | null }> {
  try {
    const answer = await callDaemon(place, "POST", path(bot), { mode: "plan" });
    return answerOf(answer);
  } catch (error) {
    if (!(error instanceof DaemonDownError)) throw error;
    const { planWithoutDaemon } = await import("./emergency-offline.ts");
    return { report: await planWithoutDaemon(bot, options, io), token: null };
  }
}

async function close(bot: string, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const report = await doClose(place, bot, options, io);
  if (options.json === true) io.out(JSON.stringify({ report }));
  else io.out(closeText(report));
  io.setExitCode(CLOSE_EXIT[report.outcome]);
}

async function doClose(place: Place, bot: string, options: Options, io: CliIo): Promise<CloseReport> {
  const body = {
    mode: "close",
    yes: options.yes === true,
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
  };
  try {
    await callDaemon(place, "POST", path(bot), body);
  } catch (error) {
    if (error instanceof DaemonError) throw refusal(error);
    if (!(error instanceof DaemonDownError)) throw error;
    if (options.yes !== true)
      throw new DaemonError(
        {
          code: "notConfirmed",
          message: `cannot close positions of ${bot}: not confirmed`,
          hint: "the daemon is not running, so no token is known: pass --yes",
        },
        CLOSE_EXIT.refused,
      );
    const { closeWithoutDaemon } = await import("./emergency-offline.ts");
    return closeWithoutDaemon(bot, options, io);
  }
  return waitForReport(place, bot, io);
}

/** What the daemon refuses is exit 12, 15 for a bot without an emergency section, 2 for an unknown bot. */
function refusal(error: DaemonError): DaemonError {
  const { code, message, hint } = error;
  const exitCode = { noSuchBot: error.exitCode, unsupported: CLOSE_EXIT.unsupported }[code] ?? CLOSE_EXIT.refused;
  return new DaemonError({ code, message, ...(hint === undefined ? {} : { hint }) }, exitCode);
}

async function waitForReport(place: Place, bot: string, io: CliIo): Promise<CloseReport> {
  for (;;) {
    // Safe: our own daemon made the answer.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const status = (await callDaemon(place, "GET", "/v1/status")) as Status;
    const now = status.bots.find(({ name }) => name === bot);
    if (now?.state === "stuck")
      throw new DaemonError(
        { code: "stuck", message: `cannot close positions of ${bot}: ${now.reason ?? "it is stuck"}` },
        CLOSE_EXIT.refused,
      );
    if (now?.state === "locked" && now.emergency.incident !== null) {
      const { readReport } = await import("./emergency-offline.ts");
      return readReport(place, bot, now.emergency.incident);
    }
    await sleep(systemClock, POLL_MS);
    if (io.isTerminal) process.stderr.write(".");
  }
}

const path = (bot: string): string => `/v1/bots/${encodeURIComponent(bot)}/emergency`;

function answerOf(answer: unknown): { report: CloseReport; token: string | null } {
  // Safe: the fields are checked right here; a missing one fails the schema.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { report, token } = answer as { report?: unknown; token?: unknown };
  return { report: closeReportSchema.parse(report), token: typeof token === "string" ? token : null };
}
