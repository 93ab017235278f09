/**
 * `supervisor emergency plan|close|ack BOT`: shows what would be closed, closes it, and ends its slow rounds; `report` shows how a
 * close went. All but `ack` work without a daemon, too.
 */
import { CLOSE_EXIT, closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import { closeCommand, confirmCommand } from "../../core/close-next.ts";
import { plainJson } from "../../core/plain-text.ts";
import { closeText } from "../../report/close-text.ts";
import { callerName } from "./caller.ts";
import { callDaemon, DaemonDownError, DaemonError } from "./client.ts";
import { closeRefusal, planRefusal, showCloseEnd, type CloseEnd } from "./close-end.ts";
import { goalOf, withGoal, type GoalOptions } from "./emergency-goal.ts";
import { emergencyPath, waitForEnd } from "./emergency-wait.ts";
import { preflight, type PreflightOptions } from "./preflight.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import { completeCommands } from "./proposals.ts";
import type { CliIo, Verb } from "./verb.ts";

interface PlanOptions extends PlaceOptions, GoalOptions {
  readonly json?: boolean;
}

interface CloseOptions extends PlanOptions {
  readonly confirm?: string;
  readonly yes?: boolean;
  readonly account?: string;
  readonly dryRun?: boolean;
}

export const command: Verb = {
  name: "emergency",
  summary:
    "Plans or does the closing of a bot's positions. Exit codes of close: 0 done, 10 residual, 11 foreign activity, 12 refused, 13 key refused, 14 venue unreadable, 15 unsupported, 16 internal; of plan and of close --dry-run: 20 there is something to do; of preflight: 0 all is well, 1 a check failed, 12 another account, 13 to 16 as above.",
  acts: true,
  configure: (cmd, io) => {
    withGoal(withConfig(cmd.command("plan")))
      .description("Reads the account and shows what a close would do; changes nothing.")
      .argument("<bot>", "name of the bot in the config")
      .option("--json", "one JSON object")
      .action((bot: string, options: PlanOptions) => plan(bot, options, io));
    withGoal(withConfig(cmd.command("close")))
      .description("Kills the bot, cancels its orders, closes its positions, verifies, and locks it out.")
      .argument("<bot>", "name of the bot in the config")
      .option("--confirm <token>", "token that plan printed at most 120 s ago")
      .option("--yes", "without a plan")
      .option("--account <label>", "with --yes: the account that is meant, where its name is not the bot's")
      .option("--dry-run", "as plan: changes nothing")
      .option("--json", "one JSON object")
      .action((bot: string, options: CloseOptions) =>
        options.dryRun === true ? plan(bot, options, io) : close(bot, options, io),
      );
    withConfig(cmd.command("ack"))
      .description("Ends the rounds that follow a close which did not end well; the bot stays locked.")
      .argument("<bot>", "name of the bot in the config")
      .requiredOption("--reason <text>", "what is done about the open positions; goes into the journal")
      .option("--json", "one JSON object")
      .action((bot: string, options: AckOptions) => ack(bot, options, io));
    withConfig(cmd.command("preflight"))
      .description("Proves that an emergency close would work; changes nothing. The daemon does the same once a day.")
      .argument("[bot]", "name of the bot in the config; default: every bot with an emergency section")
      .option("--testnet", "on the venue's test network, with an order that rests and is cancelled")
      .option("--json", "one JSON object")
      .action((bot: string | undefined, options: PreflightOptions) => preflight(bot, options, io));
    withConfig(cmd.command("report"))
      .description(
        "Shows how a close went, or goes: what was open, what was sent and what it cost, what is left, what to do next.",
      )
      .argument("[what]", "id of an incident, name of a bot (its newest), or last", "last")
      .option("--list", "one line for each incident, or each of that bot, the newest first")
      .option("--json", "the report as it is in its file, of a close under way what there is; with --list an array")
      .action((what: string, options: ReportOptions) => showReport(what, options, io));
  },
};

async function plan(bot: string, options: PlanOptions, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const { report, token } = await askForPlan(place, bot, options, io);
  if (options.json === true) io.out(plainJson({ report, token }));
  else {
    io.out(closeText(report));
    if (report.outcome === "planNotEmpty") io.out(nextStep(report, options, token));
  }
  io.setExitCode(CLOSE_EXIT[report.outcome]);
}

/** Without a daemon there is no token, and the command itself asks for no confirmation but `--yes`. */
function nextStep({ bot, account }: CloseReport, options: PlanOptions, token: string | null): string {
  const goal = goalOf(options);
  const text =
    token === null
      ? `to do it: ${closeCommand(bot, account, goal)}`
      : `to do it, within 120 s: ${confirmCommand(bot, goal, token)}`;
  return completeCommands(text, options.config);
}

async function askForPlan(
  place: Place,
  bot: string,
  options: PlanOptions,
  io: CliIo,
): Promise<{ report: CloseReport; token: string | null }> {
  const goal = goalOf(options);
  try {
    return planOf(await callDaemon(place, "POST", emergencyPath(bot), { mode: "plan", goal }));
  } catch (error) {
    if (error instanceof DaemonError) throw planRefusal(error);
    if (!(error instanceof DaemonDownError)) throw error;
    const { planWithoutDaemon } = await import("./emergency-offline.ts");
    return { report: await planWithoutDaemon(bot, goal, options, io), token: null };
  }
}

async function close(bot: string, options: CloseOptions, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  showCloseEnd(await doClose(place, bot, options, io), options, io);
}

async function doClose(place: Place, bot: string, options: CloseOptions, io: CliIo): Promise<CloseEnd> {
  const { confirm, account } = options;
  const goal = goalOf(options);
  const body = {
    mode: "close",
    goal,
    yes: options.yes === true,
    ...(confirm === undefined ? {} : { confirm }),
    ...(account === undefined ? {} : { account }),
  };
  let answer: unknown;
  try {
    answer = await callDaemon(place, "POST", emergencyPath(bot), body);
  } catch (error) {
    if (error instanceof DaemonError) throw closeRefusal(bot, error);
    if (!(error instanceof DaemonDownError)) throw error;
    const { closeWithoutDaemon, unconfirmed } = await import("./emergency-offline.ts");
    if (options.yes !== true) throw unconfirmed(bot, goal, options, io);
    return closeWithoutDaemon(bot, { goal, account }, options, io);
  }
  return waitForEnd(place, bot, incidentOf(answer), io);
}

interface AckOptions extends PlaceOptions {
  readonly reason: string;
  readonly json?: boolean;
}

async function ack(bot: string, { reason, json = false, ...options }: AckOptions, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const path = `/v1/bots/${encodeURIComponent(bot)}/acknowledge`;
  let answer: unknown;
  try {
    answer = await callDaemon(place, "POST", path, { reason, by: callerName(io.env) }).catch((error: unknown) => {
      // A daemon of an older release, which is not to be upgraded first, knows the reason alone.
      if (error instanceof DaemonError && error.code === "badRequest")
        return callDaemon(place, "POST", path, { reason });
      throw error;
    });
  } catch (error) {
    throw error instanceof DaemonError ? closeRefusal(bot, error) : error;
  }
  if (json) return io.out(plainJson(answer));
  return io.out(`${bot}: acknowledged; it stays locked, and its close is not tried again by itself`);
}

interface ReportOptions extends PlaceOptions {
  readonly list?: boolean;
  readonly json?: boolean;
}

async function showReport(
  what: string,
  { list = false, json = false, ...options }: ReportOptions,
  io: CliIo,
): Promise<void> {
  const { findIncidents, pickIncidents } = await import("./incident-files.ts");
  const { incidentListText, incidentText } = await import("../../report/incident-text.ts");
  const place = await findPlace(options, io);
  const found = findIncidents(place);
  if (found.length === 0 && what !== "last") {
    const { refuseUnknownBot } = await import("./known-bots.ts");
    await refuseUnknownBot(what, place, options, io);
  }
  if (list) {
    const shown = found.length === 0 ? [] : pickIncidents(found, what);
    return io.out(json ? plainJson(shown.map(({ raw }) => raw)) : incidentListText(shown.map((one) => one.report)));
  }
  const [{ report, raw }] = pickIncidents(found, what);
  return io.out(json ? plainJson(raw) : completeCommands(incidentText(report), options.config));
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
