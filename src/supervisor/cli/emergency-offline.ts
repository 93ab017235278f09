/** The emergency commands when no daemon runs: the same bot, fence and worker, under the state folder's own lock. */
import { join } from "node:path";
import { CLOSE_EXIT, closeReportSchema, type CloseReport } from "../../core/close-job.ts";
import { EXIT } from "../../core/exit-code.ts";
import { detectCgroup } from "../../platform/cgroup.ts";
import { systemClock } from "../../platform/clock.ts";
import { ensureDir, readTextIfExists } from "../../platform/files.ts";
import { eventLine } from "../../report/event-text.ts";
import { Bot } from "../runtime/bot.ts";
import { planBot } from "../runtime/bot-plan.ts";
import { prepareFolders, resolveUser } from "../runtime/bot-setup.ts";
import { installationOf, takeLock } from "../runtime/installation.ts";
import { loadConfig, type LoadedConfig } from "../runtime/config/load.ts";
import { Journal } from "../runtime/journal.ts";
import { planClose } from "../runtime/planning.ts";
import { DaemonError } from "./client.ts";
import type { Place, PlaceOptions } from "./place.ts";
import type { CliIo } from "./verb.ts";

/** Largest report read, bytes. */
const MAX_REPORT_BYTES = 16 * 1024 ** 2;
/** Time beyond the venue's budget after which the command stops waiting; the worker goes on; ms. */
const WAIT_MARGIN_MS = 180_000;

export async function planWithoutDaemon(name: string, options: PlaceOptions, io: CliIo): Promise<CloseReport> {
  const { loaded, config } = load(name, options, io);
  const plan = planBot(name, config, loaded.dirs);
  prepareFolders(plan.files, resolveUser(config.user));
  const end = await planClose({ plan }, { clock: systemClock, env: io.env });
  if (end.kind === "failed")
    throw new DaemonError({ code: "failed", message: `cannot plan: ${end.reason}` }, CLOSE_EXIT.internal);
  return end.report;
}

/** Ends whatever lives of the bot, closes, and leaves the lockout behind, exactly as the daemon would. */
export async function closeWithoutDaemon(name: string, options: PlaceOptions, io: CliIo): Promise<CloseReport> {
  const { loaded, config } = load(name, options, io);
  const { stateDir } = loaded.dirs;
  ensureDir(stateDir, 0o711);
  const lock = takeLock(join(stateDir, "supervisor.lock"));
  const journal = new Journal(join(stateDir, "journal"), systemClock);
  journal.follow((entry) => io.err(eventLine(entry)));
  try {
    const bot = new Bot(name, { ...config, autostart: false }, loaded.dirs, {
      clock: systemClock,
      random: Math.random,
      env: io.env,
      journal,
      cgroupBase: detectCgroup().base,
      alone: false,
      installation: installationOf(stateDir),
      drain: () => {},
      onChange: () => {},
    });
    bot.begin({ emergency: false });
    if (bot.loop.state.kind !== "recovering")
      bot.loop.post({ kind: "emergency", trigger: "operator", reason: "an operator asked for it" });
    const settled = await bot.loop.settles(
      (state) => state.kind === "locked" || state.kind === "stuck",
      (config.emergency?.timeout ?? 0) + WAIT_MARGIN_MS,
    );
    bot.shutDown();
    const current = bot.lockout;
    if (!settled || current === undefined || bot.loop.state.kind === "stuck")
      throw new DaemonError(
        { code: "notProven", message: `cannot close positions of ${name}: its processes are not proven dead` },
        CLOSE_EXIT.refused,
      );
    return readReport({ file: loaded.file, dirs: loaded.dirs }, name, current.incident);
  } finally {
    journal.close();
    lock.release();
  }
}

/** The report of an incident from disk. */
export function readReport(place: Place, bot: string, incident: string): CloseReport {
  const path = join(place.dirs.stateDir, "bots", bot, "incidents", `${incident}.json`);
  const text = readTextIfExists(path, MAX_REPORT_BYTES);
  if (text === undefined)
    throw new DaemonError(
      {
        code: "noReport",
        message: `cannot read the report of incident ${incident}: ${path} does not exist`,
        hint: `see: supervisor events --bot ${bot}`,
      },
      CLOSE_EXIT.internal,
    );
  return closeReportSchema.parse(JSON.parse(text));
}

function load(
  name: string,
  options: PlaceOptions,
  io: CliIo,
): { loaded: LoadedConfig; config: LoadedConfig["config"]["bots"][string] } {
  const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
  const config = loaded.config.bots[name];
  if (config === undefined)
    throw new DaemonError(
      {
        code: "noSuchBot",
        message: `cannot find bot ${name}: the bots are ${Object.keys(loaded.config.bots).join(", ")}`,
      },
      EXIT.usage,
    );
  if (config.emergency === undefined)
    throw new DaemonError(
      {
        code: "unsupported",
        message: `cannot close positions of ${name}: it has no emergency section`,
        hint: `add bots.${name}.emergency to the config`,
      },
      CLOSE_EXIT.unsupported,
    );
  return { loaded, config };
}
