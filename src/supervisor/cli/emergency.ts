/** `supervisor emergency plan|close BOT`: shows what would be closed, and closes it. Works with and without a daemon. */
import { CLOSE_EXIT, closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import { plainJson } from "../../core/plain-text.ts";
import { closeText } from "../../report/close-text.ts";
import { callDaemon, DaemonDownError, DaemonError } from "./client.ts";
import { closeRefusal, planRefusal, showCloseEnd, type CloseEnd } from "./close-end.ts";
import { emergencyPath, waitForEnd } from "./emergency-wait.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

interface Options extends PlaceOptions {
  readonly json?: boolean;
  readonly confirm?: string;
  readonly yes?: boolean;
}

export const command: Verb = {
  name: "emergency",
  summary:
    "Plans or does the closing of a bot's positions. Exit codes of close: 0 flat, 10 residual, 11 foreign activity, 12 refused, 13 key refused, 14 venue unreadable, 15 unsupported, 16 internal; of plan: 20 something is open.",
  acts: true,
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
  if (options.json === true) io.out(plainJson({ report, token }));
  else {
    io.out(closeText(report));
    if (report.outcome === "planNotEmpty") io.out(nextStep(bot, token));
  }
  io.setExitCode(CLOSE_EXIT[report.outcome]);
}

/** Without a daemon there is no token, and the command itself asks for no confirmation but `--yes`. */
function nextStep(bot: string, token: string | null): string {
  if (token === null) return `to do it: supervisor emergency close ${bot} --yes`;
  return `to do it, within 120 s: supervisor emergency close ${bot} --confirm ${token}`;
}

async function askForPlan(
  place: Place,
  bot: string,
  options: Options,
  io: CliIo,
): Promise<{ report: CloseReport; token: string | null }> {
  try {
    return planOf(await callDaemon(place, "POST", emergencyPath(bot), { mode: "plan" }));
  } catch (error) {
    if (error instanceof DaemonError) throw planRefusal(error);
    if (!(error instanceof DaemonDownError)) throw error;
    const { planWithoutDaemon } = await import("./emergency-offline.ts");
    return { report: await planWithoutDaemon(bot, options, io), token: null };
  }
}

async function close(bot: string, options: Options, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  showCloseEnd(await doClose(place, bot, options, io), options.json === true, io);
}

async function doClose(place: Place, bot: string, options: Options, io: CliIo): Promise<CloseEnd> {
  const body = {
    mode: "close",
    yes: options.yes === true,
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
  };
  let answer: unknown;
  try {
    answer = await callDaemon(place, "POST", emergencyPath(bot), body);
  } catch (error) {
    if (error instanceof DaemonError) throw closeRefusal(bot, error);
    if (!(error instanceof DaemonDownError)) throw error;
    if (options.yes !== true) throw unconfirmed(bot);
    const { closeWithoutDaemon } = await import("./emergency-offline.ts");
    return closeWithoutDaemon(bot, options, io);
  }
  return waitForEnd(place, bot, incidentOf(answer), io);
}

function unconfirmed(bot: string): DaemonError {
  return new DaemonError(
    {
      code: "notConfirmed",
      message: `cannot close positions of ${bot}: not confirmed`,
      hint: "the daemon is not running, so no token is known: pass --yes",
    },
    CLOSE_EXIT.refused,
  );
}

/** The intent is on disk when the daemon answers, so there always is an incident. */
function incidentOf(answer: unknown): string {
  return typeof answer === "object" && answer !== null && "incident" in answer ? String(answer.incident) : "";
}

function planOf(answer: unknown): { report: CloseReport; token: string | null } {
  // Safe: the fields are checked right here; a missing one fails the schema.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { report, token } = answer as { report?: unknown; token?: unknown };
  return { report: closeReportSchema.parse(report), token: typeof token === "string" ? token : null };
}
