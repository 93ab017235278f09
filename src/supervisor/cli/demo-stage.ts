/** The stage of the demo: a scratch folder, the paper exchange and the daemon as processes of their own. */
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import type { Status } from "../../core/status.ts";
import { sleep, systemClock } from "../../platform/clock.ts";
import { ownPids } from "../../platform/subreaper.ts";
import { ownProgram } from "../../platform/worker.ts";
import { callDaemon, DaemonDownError } from "./client.ts";
import type { Place } from "./place.ts";

/** Keys of the paper account; worth nothing anywhere else. */
const PAPER_KEY = "paper-key";
const PAPER_SECRET = "paper-secret";
const PAPER_PASSPHRASE = "paper-passphrase";
/** Longest wait for a process to speak or to end, ms. */
const PATIENCE_MS = 20_000;
/** Enough to tell why a bot ended. */
const LAST_WORDS_CHARS = 2_000;
/** Time between two looks at something that is awaited, ms. */
const LOOK_MS = 50;

/**
 * Ends the stage when the demo is killed, and our end of its standard input with it; also a bot whose daemon is dead by then. Takes the
 * folder, the pids of daemon and exchange, and the command that ends such a bot. One that is dead by then may have lost its pid to a
 * stranger, who has another working folder.
 */
export const LEASH = `trap '' INT TERM HUP; read -r word; [ "$word" = done ] && exit; folder=$1 daemon=$2 exchange=$3; shift 3
ours() { [ /proc/$1/cwd -ef "$folder" ]; }
ours $daemon && kill $daemon; turns=0; while [ $turns -lt 200 ] && ours $daemon; do sleep 0.1; turns=$((turns + 1)); done; ours $daemon && kill -9 $daemon
"$@"; ours $exchange && kill $exchange; rm -rf "$folder"`;

const paperStateSchema = z.object({
  positions: z.array(z.looseObject({ symbol: z.string(), side: z.string().optional(), amount: z.number() })),
  orders: z.array(z.unknown()),
  algoOrders: z.array(z.unknown()),
  flat: z.boolean(),
});
export type PaperState = z.output<typeof paperStateSchema>;

/** What the venue itself says of the account, asked past bot and supervisor. */
export async function askVenue(url: string): Promise<PaperState> {
  const response = await fetch(`${url}/__paper/state`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  return paperStateSchema.parse(await response.json());
}

export type PaperVenue = "binance" | "okx";

/** ccxt's name of what each paper venue stands for. */
const CCXT_ID: Readonly<Record<PaperVenue, string>> = { binance: "binanceusdm", okx: "okx" };

export interface Stage {
  readonly exchange: PaperVenue;
  readonly dir: string;
  readonly place: Place;
  readonly venueUrl: string;
  /** While this file exists, the bot dies at each start. */
  readonly crashFile: string;
  /** Ends both processes, and a bot whose daemon is dead, and waits for their ends. */
  readonly strike: () => Promise<void>;
}

/** Puts everything up; resolves when the daemon answers. Whatever was started is ended again when something fails. */
export async function setStage(port: number, exchange: PaperVenue): Promise<Stage> {
  const dir = mkdtempSync(join(tmpdir(), "supervisor-demo-"));
  const children: Bun.Subprocess[] = [];
  let leash: Bun.Subprocess<"pipe", "ignore", "ignore"> | undefined;
  const strike = async (): Promise<void> => {
    for (const child of children.toReversed()) {
      child.kill("SIGTERM");
      await patiently(child);
    }
    // A daemon that was killed, to see what becomes of its bot, has left that alive.
    const [, daemon] = children;
    if (daemon !== undefined && daemon.exitCode !== 0) await patiently(start(dir, "end-bots", endBots(dir), {}));
    rmSync(dir, { recursive: true, force: true });
    void leash?.stdin.write("done\n");
    await leash?.stdin.end();
  };
  try {
    const venueUrl = await startExchange(dir, { port, exchange }, children);
    const crashFile = join(dir, "crash");
    writeConfig(dir, { exchange, venueUrl, crashFile });
    const place = placeOf(dir);
    const daemon = startDaemon(dir, children);
    leash = holdLeash(dir, children);
    await until(async () => {
      if (daemon.exitCode !== null) throw new Error(`the daemon did not start: ${await readLog(dir, "daemon")}`);
      return answers(place);
    }, "the daemon to answer");
    return { exchange, dir, place, venueUrl, crashFile, strike };
  } catch (error) {
    await strike();
    throw error;
  }
}

/** Looks until `reached` answers something; throws after `PATIENCE_MS` and says what was awaited. */
export async function until<T>(reached: () => Promise<T | undefined>, what: string): Promise<T> {
  const endMs = systemClock.monotonicMs() + PATIENCE_MS;
  for (;;) {
    const answer = await reached();
    if (answer !== undefined) return answer;
    if (systemClock.monotonicMs() > endMs) throw new Error(`waited ${PATIENCE_MS / 1_000} s in vain for ${what}`);
    await sleep(systemClock, LOOK_MS);
  }
}

/** The status as the daemon gives it. */
export async function askStatus(place: Place): Promise<Status> {
  // Safe: our own daemon made the answer.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (await callDaemon(place, "GET", "/v1/status")) as Status;
}

/** Until the process has ended, which it does at the latest when its time is over. */
async function patiently(child: Bun.Subprocess): Promise<void> {
  const cancel = systemClock.after(PATIENCE_MS, () => child.kill("SIGKILL"));
  await child.exited;
  cancel();
}

async function answers(place: Place): Promise<true | undefined> {
  try {
    await askStatus(place);
    return true;
  } catch (error) {
    if (error instanceof DaemonDownError) return undefined;
    throw error;
  }
}

function placeOf(dir: string): Place {
  const stateDir = join(dir, "state");
  return {
    file: join(dir, "supervisor.yaml"),
    dirs: { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") },
  };
}

/** Starts a process of this same binary whose output goes to a file of the scratch folder. */
function start(dir: string, name: string, args: readonly string[], env: Record<string, string>): Bun.Subprocess {
  const log = openSync(join(dir, `${name}.log`), "a", 0o600);
  const child = Bun.spawn({
    cmd: [...ownProgram(), ...args],
    cwd: dir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: dir, LANG: "C.UTF-8", ...env },
    stdio: ["ignore", log, log],
    // A session of its own: Ctrl-C in the terminal reaches the demo, which then ends them in order.
    detached: true,
    onExit: (ended) => void ownPids.delete(ended.pid),
  });
  ownPids.add(child.pid);
  return child;
}

function endBots(dir: string): readonly string[] {
  return ["__end-bots", "--config", join(dir, "supervisor.yaml")];
}

/** A session of its own, as of the other two: whoever kills ours is not to kill it. */
function holdLeash(dir: string, [exchange, daemon]: readonly Bun.Subprocess[]) {
  const pids = [daemon, exchange].map((child) => String(child?.pid));
  const child = Bun.spawn({
    cmd: ["/bin/sh", "-c", LEASH, "sh", dir, ...pids, ...ownProgram(), ...endBots(dir)],
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LANG: "C.UTF-8" },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    onExit: (ended) => void ownPids.delete(ended.pid),
  });
  ownPids.add(child.pid);
  return child;
}

async function startExchange(
  dir: string,
  { port, exchange }: { readonly port: number; readonly exchange: PaperVenue },
  children: Bun.Subprocess[],
): Promise<string> {
  const env = { PAPER_EXCHANGE: exchange, PAPER_KEY, PAPER_SECRET, PAPER_PASSPHRASE, PAPER_PORT: String(port) };
  const child = start(dir, "exchange", ["__paper-exchange"], env);
  children.push(child);
  return until(async () => {
    const text = await readLog(dir, "exchange");
    if (child.exitCode !== null) throw new Error(`the paper exchange did not start: ${text}`);
    return /paper exchange on (\S+)/.exec(text)?.[1];
  }, "the paper exchange to listen");
}

function startDaemon(dir: string, children: Bun.Subprocess[]): Bun.Subprocess {
  const daemon = start(dir, "daemon", ["run", "--config", join(dir, "supervisor.yaml")], {});
  children.push(daemon);
  return daemon;
}

/** What a process of the stage has printed. */
export async function readLog(dir: string, name: "daemon" | "exchange"): Promise<string> {
  return (await Bun.file(join(dir, `${name}.log`)).text()).trim();
}

/** What the bot printed last; empty when it never ran. */
export async function lastWords(dir: string): Promise<string> {
  const log = Bun.file(join(dir, "state", "log", "momentum.log"));
  return (await log.exists()) ? (await log.text()).slice(-LAST_WORDS_CHARS).trim() : "";
}

function writeConfig(
  dir: string,
  {
    exchange,
    venueUrl,
    crashFile,
  }: { readonly exchange: PaperVenue; readonly venueUrl: string; readonly crashFile: string },
): void {
  const paper = { PAPER_EXCHANGE: exchange, PAPER_URL: venueUrl, PAPER_KEY, PAPER_SECRET, PAPER_PASSPHRASE };
  const config = {
    version: 1,
    stateDir: "state",
    bots: {
      momentum: {
        command: [...ownProgram(), "__sample-bot"],
        account: "paper-main",
        env: { ...paper, BOT_CRASH_FILE: crashFile },
        ready: "notify",
        startTimeout: "10s",
        stopTimeout: "3s",
        restart: { base: "500ms", factor: 2, cap: "10s", jitter: 0.1, resetAfter: "1s", intensity: 5, period: "10m" },
        probes: [
          { kind: "heartbeat", timeout: "3s" },
          { kind: "progress", name: "ticks", timeout: "2m" },
        ],
        emergency: {
          closeAfter: "60s",
          exchange: CCXT_ID[exchange],
          endpoint: venueUrl,
          apiKeyFile: "keys/key",
          apiSecretFile: "keys/secret",
          ...(exchange === "okx" ? { passphraseFile: "keys/passphrase" } : {}),
          timeout: "30s",
        },
      },
    },
  };
  const keys = join(dir, "keys");
  mkdirSync(keys, { mode: 0o700 });
  writeFileSync(join(keys, "key"), `${PAPER_KEY}\n`, { mode: 0o600 });
  writeFileSync(join(keys, "secret"), `${PAPER_SECRET}\n`, { mode: 0o600 });
  if (exchange === "okx") writeFileSync(join(keys, "passphrase"), `${PAPER_PASSPHRASE}\n`, { mode: 0o600 });
  writeFileSync(join(dir, "supervisor.yaml"), Bun.YAML.stringify(config, undefined, 2), { mode: 0o600 });
}
