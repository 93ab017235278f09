/** `supervisor emergency preflight [BOT]`: proves, without changing anything, that an emergency close would work. */
import { plainJson } from "../../core/plain-text.ts";
import { preflightReportSchema, type PreflightReport } from "../../core/preflight.ts";
import { systemClock } from "../../platform/clock.ts";
import { preflightText } from "../../report/preflight-text.ts";
import { planBot } from "../runtime/bot-plan.ts";
import { lookUp, prepareFolders } from "../runtime/bot-setup.ts";
import { loadConfig, type LoadedConfig } from "../runtime/config/load.ts";
import { keepPreflight, runPreflight } from "../runtime/guard/preflight-run.ts";
import { callDaemon, DaemonDownError, DaemonError } from "./client.ts";
import { noSuchBot } from "./known-bots.ts";
import { findPlace, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo } from "./verb.ts";

export interface PreflightOptions extends PlaceOptions {
  readonly json?: boolean;
  readonly testnet?: boolean;
}

/** Without a name every bot with an emergency section is flown, and the highest exit code counts. */
export async function preflight(bot: string | undefined, options: PreflightOptions, io: CliIo): Promise<void> {
  const place = await findPlace(options, io);
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  const names = namesOf(loaded, bot);
  const reports = await Promise.all(names.map((name) => flyOne(place, loaded, name, options, io)));
  const [only] = reports;
  if (options.json === true) io.out(plainJson(bot === undefined ? { reports } : only));
  else io.out(reports.map(preflightText).join("\n"));
  io.setExitCode(Math.max(...reports.map(({ exitCode }) => exitCode)));
}

function namesOf({ config }: LoadedConfig, bot: string | undefined): readonly string[] {
  const all = Object.keys(config.bots);
  if (bot !== undefined && !all.includes(bot)) throw noSuchBot(bot, all);
  const guarded = all.filter((name) => config.bots[name]?.emergency !== undefined);
  if (bot === undefined && guarded.length === 0)
    throw new DaemonError(
      {
        code: "unsupported",
        message: "cannot fly a preflight: no bot has an emergency section",
        hint: "add bots.NAME.emergency to the config",
      },
      UNSUPPORTED,
    );
  return bot === undefined ? guarded : [bot];
}

const UNSUPPORTED = 15;

async function flyOne(
  place: Place,
  loaded: LoadedConfig,
  name: string,
  { testnet = false }: PreflightOptions,
  io: CliIo,
): Promise<PreflightReport> {
  try {
    const path = `/v1/bots/${encodeURIComponent(name)}/preflight`;
    return preflightReportSchema.parse(await callDaemon(place, "POST", path, { testnet }));
  } catch (error) {
    if (!(error instanceof DaemonDownError)) throw error;
    return flyWithoutDaemon(loaded, name, testnet, io);
  }
}

/** The same worker, and the report is kept for the next daemon. */
async function flyWithoutDaemon(
  loaded: LoadedConfig,
  name: string,
  testnet: boolean,
  io: CliIo,
): Promise<PreflightReport> {
  const config = loaded.config.bots[name];
  if (config === undefined) throw new Error(`internal error: no bot ${name}`);
  const plan = planBot(name, config, loaded.dirs);
  prepareFolders(plan.files, lookUp(config.user).user);
  const report = await runPreflight({ plan, clock: systemClock, env: io.env, testnet });
  if (!testnet) keepPreflight(plan, report);
  return report;
}
