/** What the daemon costs under load: one busy bot, a hundred bots, a crash storm, restarts without end, and whether it grows. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median, type Row } from "./measure.ts";
import { endChild, startDaemon, until, type Daemon, type Options, type Rig } from "./rig.ts";

const TARGETS = {
  idlePercent: 0.25,
  rssMib: 45,
  stormPercent: 1,
  restartsPerSecond: 1_000,
  perBotMib: 0.3,
  growth: 1.05,
};
const MANY = 100;
/** Heartbeats and restarts after which the daemon must be as large as before. */
const HEARTBEATS = 100_000;
const RESTARTS = 1_000;
/** Datagrams of one burst of the notify bot. */
const BURST = 20_000;

/**
 * `warmS`: for some minutes the runtime compiles what the daemon does each second, which is no part of its idling for months.
 * `calmS`: the daemon gives memory back each half minute, and what that frees goes to the kernel until the next one.
 */
const FULL = { settleS: 75, warmS: 300, idleS: 60, stormS: 20, restartS: 60, calmS: 65 };
const QUICK = { settleS: 1, warmS: 1, idleS: 2, stormS: 2, restartS: 2, calmS: 1 };

export async function benchLoad(rig: Rig, options: Options): Promise<readonly Row[]> {
  const spans = options.quick ? QUICK : FULL;
  return [
    ...(await busyBot(rig, options, spans)),
    ...(await manyBots(rig, options, spans.settleS)),
    await crashStorm(rig, options, spans.stormS),
    ...(await endlessRestarts(rig, options, spans.restartS)),
    ...(await growth(rig, options)),
  ];
}

/** Heartbeat at 1 Hz and an HTTP probe each second. */
async function busyBot(rig: Rig, options: Options, spans: typeof FULL): Promise<readonly Row[]> {
  const answer = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
  const folder = join(rig.folder, "beat");
  mkdirSync(folder);
  const script = join(folder, "beat.ts");
  writeFileSync(
    script,
    `import { datagramSender } from ${JSON.stringify(join(import.meta.dirname, "../src/bot/datagram.ts"))};
const sender = datagramSender(process.env["NOTIFY_SOCKET"] ?? "");
setInterval(() => sender?.send(new TextEncoder().encode("WATCHDOG=1")), 1_000);
`,
  );
  const probes = [
    { kind: "heartbeat", timeout: "10s" },
    { kind: "http", url: `http://127.0.0.1:${answer.port}/`, period: "1s", timeout: "900ms" },
  ];
  const daemon = await startDaemon(rig, options, {
    name: "busy",
    bot: { command: [process.execPath, script], probes },
  });
  await Bun.sleep(spans.warmS * 1_000);
  const percent = await cpuPercent(daemon.process.pid, spans.idleS);
  const rss = rssMib(daemon.process.pid);
  await answer.stop(true);
  const what = "one bot, heartbeat and HTTP probe each second";
  return [
    { what: `${what}: CPU over ${spans.idleS} s`, unit: "% of a core", values: [percent], target: TARGETS.idlePercent },
    { what: `${what}: resident memory`, unit: "MiB", values: [rss], target: TARGETS.rssMib },
  ];
}

async function manyBots(rig: Rig, options: Options, settleS: number): Promise<readonly Row[]> {
  const sizes: number[] = [];
  for (const count of [1, MANY]) {
    const extra = Object.fromEntries(
      Array.from({ length: count - 1 }, (_, i) => [`more${i}`, { command: ["sleep", "600"] }]),
    );
    const daemon = await startDaemon(rig, options, { name: `many${count}`, bot: { command: ["sleep", "600"] }, extra });
    await Bun.sleep(settleS * 1_000);
    sizes.push(rssMib(daemon.process.pid));
  }
  const [one = 0, many = 0] = sizes;
  return [
    { what: `daemon with ${MANY} bots: resident memory`, unit: "MiB", values: [many] },
    { what: "each further bot", unit: "MiB", values: [(many - one) / (MANY - 1)], target: TARGETS.perBotMib },
  ];
}

async function crashStorm(rig: Rig, options: Options, spanS: number): Promise<Row> {
  const daemon = await startDaemon(rig, options, { name: "storm", bot: { command: ["false"] }, until: "started" });
  const percent = await cpuPercent(daemon.process.pid, spanS);
  const what = `a bot that ends at once, default policy: CPU over ${spanS} s`;
  return { what, unit: "% of a core", values: [percent], target: TARGETS.stormPercent };
}

/** `period: 0s` is a budget without limit. */
const ENDLESS = { base: "0s", cap: "0s", jitter: 0, period: "0s" };

async function endlessRestarts(rig: Rig, options: Options, spanS: number): Promise<readonly Row[]> {
  const bot = { command: ["true"], restart: ENDLESS };
  const daemon = await startDaemon(rig, options, { name: "endless", bot, until: "started" });
  await Bun.sleep(1_000);
  const from = { restarts: await restartsOf(daemon), atMs: performance.now() };
  await Bun.sleep(spanS * 1_000);
  const perSecond = ((await restartsOf(daemon)) - from.restarts) / ((performance.now() - from.atMs) / 1_000);
  const afterwards = rssMib(daemon.process.pid);
  // It would take a core from all that is measured after it.
  await endChild(daemon.process);
  return [
    {
      what: `a bot that ends at once, no delay, no limit: restarts over ${spanS} s`,
      unit: "/s",
      values: [perSecond],
      atLeast: TARGETS.restartsPerSecond,
    },
    { what: "the daemon after it: resident memory", unit: "MiB", values: [afterwards] },
  ];
}

/** Weighings on either side: a heap that was collected is larger and smaller by some per cent each time. */
const WEIGHINGS = 3;
/** Time of a weighing, s: pages of its program, up to 20 MiB, go from the daemon once in it, and come back one after the other. */
const WEIGHING_S = 30;

/** Of rounds of both, of which the first fill every buffer, the later must not make it larger. */
async function growth(rig: Rig, options: Options): Promise<readonly Row[]> {
  const command = [process.execPath, join(import.meta.dirname, "notify-bot.ts")];
  const beats = await startDaemon(rig, options, { name: "beats", bot: { command, ready: "notify" } });
  const crashes = await startDaemon(rig, options, {
    name: "crashes",
    bot: { command: ["sleep", "600"], restart: ENDLESS },
  });
  const bursts = options.quick ? 1 : HEARTBEATS / BURST;
  const restarts = options.quick ? 20 : RESTARTS;
  let said = 0;
  const beat = async (): Promise<void> => {
    for (let i = 0; i < bursts; i += 1) {
      const bot = (await beats.status()).bots[0];
      if (bot?.pid === undefined || bot.pid === null) throw new Error("cannot measure: the bot does not run");
      process.kill(bot.pid, "SIGUSR2");
      said += 1;
      const wanted = `burst ${said}`;
      await until(wanted, async () =>
        (await beats.status()).bots[0]?.heartbeat?.status === wanted ? true : undefined,
      );
    }
  };
  const crash = async (): Promise<void> => {
    for (let i = 0; i < restarts; i += 1) await killOnce(crashes);
  };
  const { calmS } = options.quick ? QUICK : FULL;
  const weighings = options.quick ? 1 : WEIGHINGS;
  const rounds = async (): Promise<readonly (readonly Weight[])[]> => {
    const weights: Weight[][] = [[], []];
    for (let round = 0; round < weighings; round += 1) {
      await beat();
      await crash();
      const weighingS = Math.min(WEIGHING_S, calmS);
      await Bun.sleep((calmS - weighingS) * 1_000);
      const weighed = await Promise.all([beats, crashes].map((daemon) => weigh(daemon, weighingS)));
      weighed.forEach((weight, i) => weights[i]?.push(weight));
    }
    return weights;
  };
  const [before, after] = [await rounds(), await rounds()];
  return [`${weighings * bursts * BURST} heartbeats`, `${weighings * restarts} restarts`].flatMap((what, i): Row[] => {
    const compared = (key: keyof Weight) => ({
      values: after[i]?.map((weight) => weight[key]) ?? [],
      baseline: { name: "after as many before them", values: before[i]?.map((weight) => weight[key]) ?? [] },
    });
    return [
      { what: `resident memory after ${what}`, unit: "MiB", ...compared("rss"), targetRatio: TARGETS.growth },
      { what: `descriptors after ${what}`, unit: "files", ...compared("files"), targetRatio: 1 },
    ];
  });
}

async function killOnce(daemon: Daemon): Promise<void> {
  const pid = await until("the bot runs", async () => (await daemon.status()).bots[0]?.pid ?? undefined);
  process.kill(pid, "SIGKILL");
  await until("the next one", async () => {
    const next = (await daemon.status()).bots[0]?.pid ?? undefined;
    return next !== undefined && next !== pid ? true : undefined;
  });
}

async function restartsOf(daemon: Daemon): Promise<number> {
  return (await daemon.status()).bots[0]?.restarts.total ?? 0;
}

interface Weight {
  readonly rss: number;
  readonly files: number;
}

/** The middle of a reading each second. */
async function weigh({ process: { pid } }: Daemon, spanS: number): Promise<Weight> {
  const readings: number[] = [];
  for (let second = 0; second < spanS; second += 1) {
    await Bun.sleep(1_000);
    readings.push(rssMib(pid));
  }
  return { rss: median(readings), files: readdirSync(`/proc/${pid}/fd`).length };
}

async function cpuPercent(pid: number, spanS: number): Promise<number> {
  const before = cpuMs(pid);
  await Bun.sleep(spanS * 1_000);
  return (cpuMs(pid) - before) / (spanS * 10);
}

export function rssMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) / 1_024;
}

/** CPU time of all threads so far, ms, finer than the ticks of /proc/PID/stat. */
export function cpuMs(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const spentNs = tasks.map((tid) =>
    Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, "utf8").split(" ", 1)[0]),
  );
  return spentNs.reduce((sum, ns) => sum + ns, 0) / 1_000_000;
}
