/** `supervisor run`: the daemon in the foreground, until SIGTERM or SIGINT. */
import { EXIT } from "../../core/exit-code.ts";
import { systemClock } from "../../platform/clock.ts";
import { releaseSignals } from "../../platform/exec.ts";
import { writeFromBackground } from "../../platform/background-output.ts";
import { checkEnvironment } from "../runtime/config/environment.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import { loadPlain, PlaceWantedError } from "../runtime/config/load-plain.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import type { ReadOptions } from "../runtime/config/read.ts";
import { Daemon } from "../runtime/daemon.ts";
import { takeHandover, type Handover } from "../runtime/handover.ts";
import { surveyBots } from "../runtime/survey.ts";
import { readEmergencySwitch } from "../runtime/triggers.ts";
import { VERSION } from "./build-info.ts";
import { withConfig, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

export const command: Verb = {
  name: "run",
  summary:
    "Runs the daemon in the foreground. SIGTERM and SIGINT stop the bots and then the daemon; SIGHUP reloads the config; SIGUSR1 upgrades the daemon in place; SIGUSR2 closes the positions of every bot.",
  acts: true,
  neverWaits: true,
  runPlain: ({ word, options }, io) => (word !== undefined || options.json === true ? undefined : run(options, io)),
  configure: (cmd, io) => {
    withConfig(cmd).action((options: PlaceOptions) => run(options, io));
  },
};

async function run(options: PlaceOptions, io: CliIo): Promise<void> {
  writeFromBackground();
  const handover = takeHandover(process.env);
  const { loaded, held } = await load({ file: options.config, env: io.env, cwd: io.cwd }, io);
  // The version before us has obeyed the switch; bots that were armed since are not to be closed by an upgrade.
  const emergencyAtStart = handover === undefined && readEmergencySwitch(io.env["BOT_EMERGENCY_SHUTDOWN"]);
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const daemon = new Daemon({
    loaded,
    clock: systemClock,
    random: Math.random,
    env: io.env,
    version: VERSION,
    emergencyAtStart,
    toStderr: io.err,
    handover,
  });
  guardProcess(daemon, io);
  let asked = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      if (asked) daemon.hurry();
      asked = true;
      end(signal);
    });
  process.on("SIGUSR2", () => daemon.emergency({ trigger: "signal", reason: "SIGUSR2 was sent to the supervisor" }));
  process.on("SIGUSR1", () => daemon.upgrader.bySignal());
  // As with `supervisor reload`; what comes of it is in the journal. A terminal that goes away sends it, too, and ends nothing.
  process.on("SIGHUP", () => daemon.reloadBySignal());
  try {
    await daemon.openWeb();
    daemon.start({ held });
    if (handover !== undefined) welcomeSignals(handover);
  } catch (error) {
    await daemon.shutDown(`it could not start: ${error instanceof Error ? error.message : String(error)}`, "alert");
    throw error;
  }
  await daemon.shutDown(await ended);
  // Whatever else still holds the event loop (a stalled reader of our output) must not keep a stopped daemon alive.
  process.exit(EXIT.done);
}

/** The config, and why which bots are held back. The loader that knows the place of each mistake is loaded when one is to be told. */
async function load(
  options: ReadOptions,
  io: CliIo,
): Promise<{ loaded: LoadedConfig; held: ReadonlyMap<string, string> }> {
  const plain = loadPlain(options);
  try {
    if (plain !== undefined) return { loaded: plain, held: checkMachine(plain, io) };
  } catch (error) {
    if (!(error instanceof PlaceWantedError)) throw error;
  }
  const { loadConfig } = await import("../runtime/config/load.ts");
  const loaded = loadConfig(options);
  return { loaded, held: checkMachine(loaded, io) };
}

/**
 * Checks the files, users and folders that the config names. What is wrong with one bot holds that bot back, and the
 * others run; what is wrong with everything is an error, unless a close was interrupted: that goes on, whatever is missing.
 * Returns why which bots are held back.
 */
function checkMachine(loaded: LoadedConfig, io: CliIo): ReadonlyMap<string, string> {
  try {
    for (const warning of checkEnvironment(loaded)) io.err(warning);
    return new Map();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const names = Object.keys(loaded.config.bots);
    const held = new Map<string, string>();
    for (const { path, message } of error.issues) {
      const owner = names.find((name) => path.startsWith(`bots.${name}.`));
      for (const name of owner === undefined ? names : [owner]) held.set(name, `${path}: ${message}`);
    }
    if (held.size === names.length && !closeInterrupted(loaded)) throw error;
    io.err(error.message);
    io.err(`not started for that reason: ${[...held.keys()].join(", ")}; repair it and restart the supervisor`);
    return held;
  }
}

/** False also where the state folder cannot be read: nobody without that right goes on with a close in it. */
function closeInterrupted({ dirs }: LoadedConfig): boolean {
  try {
    return surveyBots(dirs).some(({ lockout }) => lockout?.outcome === null);
  } catch {
    return false;
  }
}

/** What was sent while one version took the place of the other has waited; a late SIGIO is of a socket that is no more. */
function welcomeSignals({ late }: Handover): void {
  process.on("SIGIO", () => {});
  releaseSignals();
  if (late !== undefined) process.kill(process.pid, late);
}

/**
 * A bug in one corner must not leave a bot that holds positions without a supervisor: what nobody caught is journaled as
 * an alert and the daemon goes on.
 */
function guardProcess(daemon: Daemon, io: CliIo): void {
  const report = (error: unknown): void => daemon.reportInternalError(error);
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
  if (io.env["BUN_OPTIONS"] !== undefined) io.err("BUN_OPTIONS is set: it changes how this binary runs; unset it");
}
