/** From the death that spends the restart budget to an account without position and order, beside a plain ccxt script. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Row } from "./measure.ts";
import { firstLine, startDaemon, until, type Daemon, type Options, type Rig } from "./rig.ts";

const ROUNDS = 15;
const QUICK_ROUNDS = 1;
/** Delays of every answer of the venue, ms. */
const LATENCIES_MS = [0, 100];
/** Symbols, each with one position and one order. */
const SYMBOLS = 20;
const QUICK_SYMBOLS = 4;
export const KEYS = { PAPER_KEY: "bench", PAPER_SECRET: "bench", PAPER_PASSPHRASE: "bench" };

interface Times {
  readonly flat: number[];
  readonly verified: number[];
  readonly naive: number[];
}

export async function benchClose(rig: Rig, options: Options): Promise<readonly Row[]> {
  const { venue: name } = options;
  const venueEnv = { ...KEYS, PAPER_EXCHANGE: name, PAPER_SYMBOLS: String(SYMBOLS) };
  const exchange = rig.spawn([options.supervisor, "__paper-exchange"], venueEnv, "pipe");
  const url = /http:\S+/.exec(await firstLine(exchange))?.[0] ?? "";
  const secret = join(rig.folder, "secret");
  writeFileSync(secret, "bench\n", { mode: 0o600 });
  const keys = { apiKeyFile: secret, apiSecretFile: secret, ...(name === "okx" ? { passphraseFile: secret } : {}) };
  const emergency = { exchange: name === "okx" ? "okx" : "binanceusdm", ...keys, endpoint: url };
  // With no restart allowed the first death spends the budget.
  const bot = { command: ["sleep", "600"], restart: { intensity: 0 }, emergency };
  const daemon = await startDaemon(rig, options, { name: "close", bot });
  const rows: Row[] = [];
  const symbols = options.quick ? QUICK_SYMBOLS : SYMBOLS;
  for (const latencyMs of options.quick ? [0] : LATENCIES_MS) {
    const venue = { name, url, latencyMs, symbols };
    const times: Times = { flat: [], verified: [], naive: [] };
    for (let round = 0; round < (options.quick ? QUICK_ROUNDS : ROUNDS); round += 1) {
      await closeOnce(daemon, venue, times);
      times.naive.push(await closeNaively(rig, venue));
    }
    const baseline = { name: "ccxt script, sequential, its limiter on", values: times.naive };
    const what = `${name}: ${symbols} positions and ${symbols} orders, answers after ${latencyMs} ms`;
    rows.push(
      { what: `${what}: flat`, unit: "ms", values: times.flat, baseline },
      { what: `${what}: seen flat again after a quiet period, and locked`, unit: "ms", values: times.verified },
    );
  }
  return rows;
}

export interface Venue {
  readonly name: Options["venue"];
  readonly url: string;
  readonly latencyMs: number;
  readonly symbols: number;
  /** Hedge mode with a long and a short leg on each symbol. */
  readonly bothLegs?: boolean;
}

async function closeOnce(daemon: Daemon, venue: Venue, times: Times): Promise<void> {
  await prepareVenue(venue);
  const bot = (await daemon.status()).bots[0];
  if (bot?.pid === undefined || bot.pid === null) throw new Error("cannot measure: the bot does not run");
  const startMs = performance.now();
  process.kill(bot.pid, "SIGKILL");
  await untilFlat(venue.url);
  times.flat.push(performance.now() - startMs);
  await until("the bot is locked", async () =>
    (await daemon.status()).bots[0]?.state === "locked" ? true : undefined,
  );
  times.verified.push(performance.now() - startMs);
  await daemon.call("POST", "/v1/bots/bot/arm", { reason: "the next round" });
}

export async function closeNaively(rig: Rig, venue: Venue): Promise<number> {
  return (await timeNaively(rig, venue)).flatMs;
}

/** Times from the spawn of the script to its first signed reply and to the flat account, ms. */
export async function timeNaively(rig: Rig, venue: Venue): Promise<{ firstMs: number; flatMs: number }> {
  const { name, url } = venue;
  await prepareVenue(venue);
  const startMs = performance.now();
  const script = rig.spawnSource("naive-close.ts", [], { ...KEYS, PAPER_EXCHANGE: name, PAPER_URL: url });
  await firstLine(script);
  const firstMs = performance.now() - startMs;
  await untilFlat(url);
  const flatMs = performance.now() - startMs;
  await script.exited;
  return { firstMs, flatMs };
}

/** A fresh venue with one position and one order on each symbol. */
export async function prepareVenue({ url, latencyMs, symbols: count, bothLegs = false }: Venue): Promise<void> {
  const symbols = Array.from({ length: count }, (_, i) => `S${String(i).padStart(2, "0")}USDT`);
  await post(url, "reset", {});
  if (bothLegs) await post(url, "set", { hedge: true });
  await post(url, "seed", {
    positions: symbols.flatMap((symbol, i) => {
      const sides = bothLegs ? ["long", "short"] : [i % 2 === 0 ? "long" : "short"];
      return sides.map((side) => ({ symbol, side, amount: 2 }));
    }),
    orders: symbols.map((symbol, i) => ({ symbol, side: i % 2 === 0 ? "buy" : "sell", amount: 1 })),
  });
  await post(url, "set", { latencyMs });
}

async function post(url: string, what: string, body: unknown): Promise<void> {
  const response = await fetch(`${url}/__paper/${what}`, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`cannot prepare the exchange: ${await response.text()}`);
}

function untilFlat(url: string): Promise<boolean> {
  return until("the account is flat", async () => {
    const state: unknown = await (await fetch(`${url}/__paper/state`)).json();
    const flat = typeof state === "object" && state !== null && "flat" in state && state.flat === true;
    return flat ? true : undefined;
  });
}
