/** How long the daemon takes for a burst of notify datagrams, and how long its loop is deaf to `status` meanwhile. */
import { join } from "node:path";
import type { Row } from "./measure.ts";
import { firstLine, startDaemon, until, type Daemon, type Options, type Rig } from "./rig.ts";

/** Datagrams of one burst. */
export const BURST = 20_000;
const ROUNDS = 15;
const QUICK_ROUNDS = 2;
/** The project's promise for the longest delay, ms. */
const TARGET_MS = 100;
/** Pause between two questions during a burst, ms. */
const ASK_MS = 2;

export async function benchNotify(rig: Rig, options: Options): Promise<readonly Row[]> {
  const bot = { command: [process.execPath, join(import.meta.dirname, "notify-bot.ts")], ready: "notify" };
  const daemon = await startDaemon(rig, options, { name: "notify", bot });
  const path = join(rig.folder, "sink");
  const sink = rig.spawnSource("notify-sink.ts", [path]);
  await firstLine(sink);
  const speaker = rig.spawnSource("notify-bot.ts", [], { NOTIFY_SOCKET: path });
  const pid = (await daemon.status()).bots[0]?.pid;
  if (pid === undefined || pid === null) throw new Error("cannot measure: the bot has no pid");
  await quietAnswers(daemon);
  const [whole, delays, quiet, bare]: [number[], number[], number[], number[]] = [[], [], [], []];
  // The speaker's handler must be in place: its first word is READY=1, which the sink does not print.
  await Bun.sleep(1_000);
  for (let burst = 1; burst <= (options.quick ? QUICK_ROUNDS : ROUNDS); burst += 1) {
    quiet.push(await quietAnswers(daemon));
    const { tookMs, longestMs } = await listen(daemon, pid, burst);
    whole.push(tookMs);
    delays.push(longestMs);
    const startMs = performance.now();
    speaker.kill("SIGUSR2");
    await firstLine(sink);
    bare.push(performance.now() - startMs);
  }
  return [
    {
      what: "all datagrams read and judged",
      unit: "ms",
      values: whole,
      baseline: { name: "a loop that only reads them", values: bare },
    },
    {
      what: "slowest `GET /v1/status` during the burst",
      unit: "ms",
      values: delays,
      baseline: { name: "slowest of 20 without a burst", values: quiet },
      target: TARGET_MS,
      targetOf: "worst",
    },
  ];
}

/** Sends the bot into its burst and asks for the status until it shows the last datagram. */
async function listen(daemon: Daemon, pid: number, burst: number): Promise<{ tookMs: number; longestMs: number }> {
  const startMs = performance.now();
  let longestMs = 0;
  process.kill(pid, "SIGUSR2");
  await until(`burst ${burst} was read`, async () => {
    const { status, tookMs } = await ask(daemon);
    longestMs = Math.max(longestMs, tookMs);
    return status.bots[0]?.heartbeat.status === `burst ${burst}` ? true : undefined;
  });
  return { tookMs: performance.now() - startMs, longestMs };
}

async function ask(daemon: Daemon) {
  const startMs = performance.now();
  const status = await daemon.status();
  return { status, tookMs: performance.now() - startMs };
}

/** The slowest of 20 answers while nothing else happens. */
async function quietAnswers(daemon: Daemon): Promise<number> {
  let longestMs = 0;
  for (let i = 0; i < 20; i += 1) {
    longestMs = Math.max(longestMs, (await ask(daemon)).tookMs);
    await Bun.sleep(ASK_MS);
  }
  return longestMs;
}
