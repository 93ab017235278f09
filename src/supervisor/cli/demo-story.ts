/** The story of the demo, act by act: what is done to the bot, what the supervisor does, and what the venue says. */
import { styleText } from "node:util";
import { writeFileSync } from "node:fs";
import type { BotStatus } from "../../core/status.ts";
import { systemClock } from "../../platform/clock.ts";
import { statusTable } from "../../report/status-table.ts";
import { callDaemon, request } from "./client.ts";
import {
  askStatus,
  askVenue,
  lastWords,
  readLog,
  setStage,
  until,
  type PaperState,
  type PaperVenue,
  type Stage,
} from "./demo-stage.ts";
import { ownCommand } from "./own-command.ts";
import { followEvents } from "./follow-events.ts";
import type { CliIo } from "./verb.ts";

const BOT = "momentum";
const LANGUAGE: Readonly<Record<PaperVenue, string>> = {
  binance: "Binance futures",
  okx: "OKX swaps, counted in contracts",
};

export interface StoryOptions {
  readonly port: number;
  readonly exchange: PaperVenue;
  readonly keep: boolean;
  readonly io: CliIo;
}

/** Plays the demo; true when the account ended flat and the bot locked. Ends all it started unless `keep` is given. */
export async function tellStory({ port, exchange, keep, io }: StoryOptions): Promise<boolean> {
  const startMs = systemClock.monotonicMs();
  const say = narrator(io, startMs);
  // From the first process on: an interrupt during the set-up must not leave one behind.
  const interrupted = untilInterrupted();
  const stage = await setStage(port, exchange);
  try {
    const story = play(stage, say, io);
    const safe = await Promise.race([story, interrupted.then(() => undefined)]);
    // An interrupted story ends by itself once its daemon is gone; nobody waits for how.
    story.catch(() => {});
    if (safe === undefined) return false;
    const seconds = (systemClock.monotonicMs() - startMs) / 1_000;
    say.line(safe ? `Done in ${seconds.toFixed(0)} s: the account is flat.` : "The account did NOT end flat.");
    if (keep) await leaveRunning(stage, io, interrupted);
    return safe;
  } catch (error) {
    io.err(`the demo failed: ${error instanceof Error ? error.message : String(error)}`);
    io.err(await readLog(stage.dir, "daemon"));
    const words = await lastWords(stage.dir);
    if (words !== "") io.err(`the bot's last words:\n${words}`);
    return false;
  } finally {
    await stage.strike();
  }
}

interface Narrator {
  readonly act: (title: string) => void;
  readonly line: (text: string) => void;
  /** A line of the supervisor's own events. */
  readonly event: (text: string) => void;
}

function narrator(io: CliIo, startMs: number): Narrator {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
    io.colour ? styleText(style, text, { validateStream: false }) : text;
  const stamp = (): string => `${((systemClock.monotonicMs() - startMs) / 1_000).toFixed(1).padStart(5)}s`;
  return {
    act: (title) => io.out(`\n${paint("bold", `${stamp()}  ${title}`)}`),
    line: (text) => io.out(`${stamp()}  ${text}`),
    event: (text) => io.out(paint("dim", `${stamp()}    | ${text}`)),
  };
}

async function play(stage: Stage, say: Narrator, io: CliIo): Promise<boolean> {
  say.act("A paper exchange, a bot that trades on it, and a supervisor that watches it");
  say.line(`exchange ${stage.venueUrl} speaks ${LANGUAGE[stage.exchange]}; the bot trades through unmodified ccxt`);
  say.line(`everything lives in ${stage.dir}; lines with | are the supervisor's own events`);
  const events = await request(stage.place, "GET", "/v1/events");
  void followEvents(events, (entry) => {
    if (entry.level !== "debug" && entry.bot === BOT) say.event(entry.text);
  });
  await running(stage, () => true);
  const open = await until(async () => {
    const state = await askVenue(stage.venueUrl);
    return state.positions.length >= 2 ? state : undefined;
  }, "the bot to open its positions");
  say.line(`the venue says: ${describe(open)}`);

  await actKill(stage, say);
  await actHang(stage, say);
  await actCrashLoop(stage, say);
  return ending(stage, say, io);
}

async function actKill(stage: Stage, say: Narrator): Promise<void> {
  const before = await bot(stage);
  say.act("First the bot is killed: kill -9, as the kernel does when memory runs out");
  kill(before, "SIGKILL");
  const after = await running(stage, (now) => now.pid !== before.pid);
  say.line(
    `pid ${before.pid} is gone, pid ${after.pid} trades; restarts: ${after.restarts.total}; ${await venue(stage)}`,
  );
}

async function actHang(stage: Stage, say: Narrator): Promise<void> {
  const before = await bot(stage);
  say.act("Then it hangs: kill -STOP; it is alive, holds its port and its positions, and does nothing");
  kill(before, "SIGSTOP");
  say.line("a supervisor that only looks at the process sees nothing wrong; the missing heartbeat tells");
  const after = await running(stage, (now) => now.pid !== before.pid);
  say.line(`cause: ${after.lastExit?.cause ?? "unknown"}; pid ${after.pid} trades again; ${await venue(stage)}`);
}

async function actCrashLoop(stage: Stage, say: Narrator): Promise<void> {
  const before = await bot(stage);
  say.act("Now it breaks for good: from here on it crashes at every start");
  writeFileSync(stage.crashFile, "");
  kill(before, "SIGKILL");
  const { intensity } = before.restarts;
  say.line(`more than ${intensity} restarts in 10 minutes and the supervisor gives up; its positions are still open`);
  await until(async () => {
    const now = await bot(stage);
    return now.state === "locked" || undefined;
  }, "the bot to be locked");
}

async function ending(stage: Stage, say: Narrator, io: CliIo): Promise<boolean> {
  say.act("What is left, asked from the venue itself and from the supervisor");
  const state = await askVenue(stage.venueUrl);
  say.line(`the venue says: ${describe(state)}`);
  const status = await askStatus(stage.place);
  io.out(statusTable(status, { colour: io.colour, columns: io.columns, detail: false }));
  const refusal = await refusedStart(stage);
  say.line(`supervisor start ${BOT}: ${refusal ?? "NOT refused"}`);
  const locked = status.bots.every((each) => each.state === "locked" && each.emergency.state === "flat");
  return state.flat && locked && refusal !== undefined;
}

async function refusedStart(stage: Stage): Promise<string | undefined> {
  try {
    await callDaemon(stage.place, "POST", `/v1/bots/${BOT}/start`);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function bot(stage: Stage): Promise<BotStatus> {
  const found = (await askStatus(stage.place)).bots.find((each) => each.name === BOT);
  if (found === undefined) throw new Error(`internal error: the daemon does not know ${BOT}`);
  return found;
}

function running(stage: Stage, also: (now: BotStatus) => boolean): Promise<BotStatus> {
  return until(async () => {
    const now = await bot(stage);
    return now.state === "running" && now.health === "healthy" && also(now) ? now : undefined;
  }, "the bot to run");
}

function kill({ pid }: BotStatus, signal: NodeJS.Signals): void {
  if (pid === null) throw new Error("internal error: the bot has no pid");
  process.kill(pid, signal);
}

async function venue(stage: Stage): Promise<string> {
  return `the venue says: ${describe(await askVenue(stage.venueUrl))}`;
}

function describe({ positions, orders, algoOrders, flat }: PaperState): string {
  if (flat) return "no position, no order";
  const held = positions.map(
    ({ symbol, side, amount }) => `${side === undefined ? "" : `${side} `}${amount} ${symbol}`,
  );
  return `${held.join(", ") || "no position"}; ${orders.length} open orders, ${algoOrders.length} stops`;
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    // SIGHUP: the terminal was closed, and nothing of the demo may stay behind.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
}

async function leaveRunning(stage: Stage, io: CliIo, interrupted: Promise<void>): Promise<void> {
  const config = `--config ${stage.place.file}`;
  const supervisor = ownCommand(io.cwd);
  io.out(
    [
      "",
      "Everything is still running. In another terminal:",
      `  ${supervisor} status ${config}`,
      `  ${supervisor} events -f ${config}`,
      `  rm ${stage.crashFile}; ${supervisor} arm ${BOT} --reason "it was a demo" ${config}`,
      `  ${supervisor} emergency plan ${BOT} ${config}`,
      "Ctrl-C here ends it and removes the folder.",
    ].join("\n"),
  );
  await interrupted;
}
