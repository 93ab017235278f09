/** The sample bot of `supervisor demo`: trades on the paper exchange with all that the SDK has, and tells its supervisor how it is. */
import { existsSync } from "node:fs";
import { createNotifier, type Notifier } from "../bot/index.ts";
import { openSafety, type Safety } from "./bot/safety.ts";
import { Trader } from "./bot/trader.ts";
import { connectVenue, orderReader, type Venue, type VenueName } from "./bot/venue.ts";

type Env = Readonly<Record<string, string | undefined>>;

interface Settings {
  exchange: VenueName;
  url: string;
  apiKey: string;
  apiSecret: string;
  apiPassphrase: string;
  /** 0: no health endpoint. */
  httpPort: number;
  tickMs: number;
  symbols: string[];
  /** Folder of what must survive. */
  stateFolder: string;
  /** While this file exists, no new orders. */
  noNewOrders: string | undefined;
  /** While this file exists, the bot dies at start. */
  crashFile: string | undefined;
  /** While this file exists, an order under way turns in circles. */
  hangFile: string | undefined;
}

const DEFAULT_TICK_MS = 500;
const MIN_TICK_MS = 50;
const MAX_TICK_MS = 60_000;
const DEFAULT_SYMBOLS = "BTC/USDT:USDT,ETH/USDT:USDT";
/** Exit code for settings that no restart repairs (EX_CONFIG of sysexits.h). */
const EXIT_CONFIG = 78;
/** Tries to load the markets, and the pause between them, ms. */
const LOAD_TRIES = 10;
const LOAD_PAUSE_MS = 500;
/** How long a request under way may go on after SIGTERM, and when the process ends at the latest, ms. */
const STOP_GRACE_MS = 500;
const STOP_HARD_MS = 900;
/** Ticks that may be missing before the health endpoint says so. */
const HEALTHY_TICKS = 10;

/**
 * Runs until SIGTERM or SIGINT, then returns within a second and leaves positions and orders as they are. Reads PAPER_URL,
 * PAPER_KEY, PAPER_SECRET (all needed), PAPER_EXCHANGE (binance or okx; default binance), PAPER_PASSPHRASE, BOT_HTTP_PORT (0), BOT_TICK_MS (500), BOT_SYMBOLS, BOT_STATE (SUPERVISOR_STATE_DIR, else bot-state),
 * BOT_CRASH_FILE, BOT_HANG_FILE, and what the supervisor sets. Ends the process with
 * code 78 when settings are wrong and with 1 when it cannot start.
 */
export async function runSampleBot(env: Env): Promise<void> {
  let settings: Settings;
  try {
    settings = readSettings(env);
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    process.exit(EXIT_CONFIG);
  }
  if (settings.crashFile !== undefined && existsSync(settings.crashFile)) {
    print(`cannot trade: ${settings.crashFile} exists, giving up`);
    process.exit(1);
  }
  const stop = watchForStop();
  try {
    await trade(settings, env, stop);
  } catch (error) {
    if (!stop.asked.aborted) {
      print(`cannot go on: ${error instanceof Error ? error.message : String(error)}`);
      process.exit(1);
    }
  }
  print("stopped; positions and orders stay as they are");
}

interface Stop {
  /** Aborts when SIGTERM arrives: begin nothing new. */
  asked: AbortSignal;
  /** Aborts a little later: give up requests under way. */
  forced: AbortSignal;
}

function watchForStop(): Stop {
  const asked = new AbortController();
  const forced = new AbortController();
  const onSignal = (): void => {
    if (asked.signal.aborted) return;
    asked.abort();
    setTimeout(() => forced.abort(), STOP_GRACE_MS).unref();
    setTimeout(() => process.exit(0), STOP_HARD_MS).unref();
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return { asked: asked.signal, forced: forced.signal };
}

async function trade(settings: Settings, env: Env, stop: Stop): Promise<void> {
  const notifier = createNotifier(env);
  const pulse = { atMs: performance.now() };
  const health = serveHealth(settings, pulse);
  const venue = await connectVenue({ ...settings, signal: stop.forced });
  const { stateFolder: folder, hangFile } = settings;
  const safety = await openSafety({ env, folder, reader: orderReader(venue), stop: stop.asked, print });
  try {
    await loadMarkets(venue, stop);
    const frozen = (): boolean => settings.noNewOrders !== undefined && existsSync(settings.noNewOrders);
    const trader = new Trader({ venue, safety, symbols: settings.symbols, frozen, hangFile, print });
    if (!stop.asked.aborted) await trader.start();
    print(`trading ${settings.symbols.join(", ")} on ${settings.url}, supervisor told by ${notifier.via}`);
    notifier.ready();
    await tickForEver({ trader, safety, settings, notifier, pulse, stop });
  } finally {
    notifier.send({ STOPPING: 1 });
    notifier.close();
    await safety.close();
    await health?.stop(true);
  }
}

interface Trading {
  readonly trader: Trader;
  readonly safety: Safety;
  readonly settings: Settings;
  readonly notifier: Notifier;
  readonly pulse: { atMs: number };
  readonly stop: Stop;
}

async function tickForEver({ trader, safety, settings, notifier, pulse, stop }: Trading): Promise<void> {
  let ticks = 0;
  let failing = false;
  while (!stop.asked.aborted) {
    try {
      await trader.tick();
      ticks += 1;
      if (failing) print("ticks work again");
      failing = false;
    } catch (error) {
      if (!failing && !stop.asked.aborted)
        print(`tick failed: ${error instanceof Error ? error.message : String(error)}`);
      failing = true;
    }
    pulse.atMs = performance.now();
    const { positions, exposure } = trader.holdings;
    const { level } = safety.levels;
    // It beats at every level, also while its venue is down: a restart would not repair the venue. Progress is made by rounds that worked.
    notifier.send({
      WATCHDOG: 1,
      STATUS: `${level === "normal" ? "" : `level ${level}, `}${positions} positions open`,
      X_PROGRESS: ticks,
      X_EXPOSURE: exposure.toFixed(2),
    });
    await pause(settings.tickMs, stop.asked);
  }
}

/** A failed first load stays failed inside ccxt, so every later one is forced. */
async function loadMarkets(venue: Venue, stop: Stop): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await venue.client.loadMarkets(tries > 1);
      return;
    } catch (error) {
      if (tries === LOAD_TRIES || stop.asked.aborted) throw error;
      print(`cannot load the markets yet: ${error instanceof Error ? error.message : String(error)}`);
      await pause(LOAD_PAUSE_MS, stop.asked);
    }
  }
}

function serveHealth(settings: Settings, pulse: { atMs: number }): ReturnType<typeof Bun.serve> | undefined {
  if (settings.httpPort === 0) return undefined;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: settings.httpPort,
    fetch(request) {
      if (new URL(request.url).pathname !== "/health") return new Response("not found", { status: 404 });
      const lastTickAgeMs = Math.round(performance.now() - pulse.atMs);
      const ok = lastTickAgeMs <= Math.max(settings.tickMs * HEALTHY_TICKS, 5_000);
      return Response.json({ ok, lastTickAgeMs }, { status: ok ? 200 : 503 });
    },
  });
}

function readSettings(env: Env): Settings {
  return {
    exchange: venueName(env),
    url: required(env, "PAPER_URL"),
    apiKey: required(env, "PAPER_KEY"),
    apiSecret: required(env, "PAPER_SECRET"),
    apiPassphrase: env["PAPER_PASSPHRASE"] ?? "",
    httpPort: whole(env, "BOT_HTTP_PORT", 0, { from: 0, to: 65_535 }),
    tickMs: whole(env, "BOT_TICK_MS", DEFAULT_TICK_MS, { from: MIN_TICK_MS, to: MAX_TICK_MS }),
    symbols: (env["BOT_SYMBOLS"] || DEFAULT_SYMBOLS).split(",").map((symbol) => symbol.trim()),
    stateFolder: env["BOT_STATE"] || env["SUPERVISOR_STATE_DIR"] || "bot-state",
    noNewOrders: env["SUPERVISOR_NO_NEW_ORDERS"] || undefined,
    crashFile: env["BOT_CRASH_FILE"] || undefined,
    hangFile: env["BOT_HANG_FILE"] || undefined,
  };
}

function venueName(env: Env): VenueName {
  const name = env["PAPER_EXCHANGE"] || "binance";
  if (name === "binance" || name === "okx") return name;
  throw new Error(`cannot start the sample bot: PAPER_EXCHANGE is ${name}, must be binance or okx`);
}

function required(env: Env, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") throw new Error(`cannot start the sample bot: ${name} is not set`);
  return value;
}

function whole(env: Env, name: string, fallback: number, bounds: { from: number; to: number }): number {
  const text = env[name] || String(fallback);
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= bounds.from && value <= bounds.to) return value;
  throw new Error(`cannot start the sample bot: ${name} is ${text}, must be ${bounds.from} to ${bounds.to}`);
}

/** Ends early when `signal` aborts. */
function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener("abort", done);
  });
}

function print(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 23)} ${line}\n`);
}
