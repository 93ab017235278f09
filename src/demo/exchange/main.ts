/** The paper exchange as a process of its own, set up by PAPER_* variables; so it outlives a bot and a supervisor that are killed. */
import { startPaperExchange } from "./server.ts";
import type { PaperVenue } from "./venue.ts";

/**
 * Serves until SIGTERM or SIGINT. Reads PAPER_KEY, PAPER_SECRET (both needed), PAPER_EXCHANGE (binance or okx; default
 * binance), PAPER_PASSPHRASE (asked for by okx only), PAPER_PORT (default 0: the kernel picks), PAPER_SEED, PAPER_SYMBOLS
 * (synthetic symbols) and PAPER_LATENCY_MS; prints `paper exchange on URL` once it listens.
 * Throws when a variable is missing or no number, or the port is taken.
 */
export async function runPaperExchange(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const exchange = startPaperExchange({
    apiKey: required(env, "PAPER_KEY"),
    apiSecret: required(env, "PAPER_SECRET"),
    apiPassphrase: env["PAPER_PASSPHRASE"] ?? "",
    exchange: venue(env),
    port: whole(env, "PAPER_PORT", 0),
    seed: whole(env, "PAPER_SEED", 1),
    symbols: whole(env, "PAPER_SYMBOLS", 0),
    latencyMs: whole(env, "PAPER_LATENCY_MS", 0),
    log: print,
  });
  print(`paper exchange on ${exchange.url}`);
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  await exchange.stop();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function required(env: Readonly<Record<string, string | undefined>>, name: string): string {
  const value = env[name];
  if (value === undefined || value === "") throw new Error(`cannot start the paper exchange: ${name} is not set`);
  return value;
}

function venue(env: Readonly<Record<string, string | undefined>>): PaperVenue {
  const name = env["PAPER_EXCHANGE"] || "binance";
  if (name === "binance" || name === "okx") return name;
  throw new Error(`cannot start the paper exchange: PAPER_EXCHANGE is ${name}, must be binance or okx`);
}

function whole(env: Readonly<Record<string, string | undefined>>, name: string, fallback: number): number {
  const text = env[name];
  if (text === undefined || text === "") return fallback;
  if (!/^\d{1,9}$/.test(text))
    throw new Error(`cannot start the paper exchange: ${name} is ${text}, not a whole number`);
  return Number(text);
}
