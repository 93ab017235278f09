/** The close worker by itself: from its spawn to a flat account that was verified, and its exit, beside a plain ccxt script. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { CloseReport } from "../src/core/close-job.ts";
import { KEYS, prepareVenue, timeNaively, type Venue } from "./close.ts";
import type { Row } from "./measure.ts";
import { ENV, firstLine, type Options, type Rig } from "./rig.ts";

const ROUNDS = 9;
/** The most that the paper exchange lists beside its three own; with both legs twice as many positions. */
const MANY = 100;
const MANY_ROUNDS = 5;

interface Case {
  readonly symbols: number;
  readonly latencyMs: number;
  readonly rounds: number;
  /** Longest time without the quiet period, ms. */
  readonly target: number;
  readonly naive: boolean;
  /** Hedge mode: two positions on each symbol. */
  readonly bothLegs: boolean;
}

const CASES: readonly Case[] = [
  { symbols: 20, latencyMs: 10, rounds: ROUNDS, target: 350, naive: true, bothLegs: false },
  { symbols: 20, latencyMs: 100, rounds: ROUNDS, target: 1_000, naive: true, bothLegs: false },
  { symbols: MANY, latencyMs: 100, rounds: MANY_ROUNDS, target: 5_000, naive: false, bothLegs: true },
];
const QUICK_CASES: readonly Case[] = [
  { symbols: 4, latencyMs: 10, rounds: 1, target: 350, naive: false, bothLegs: false },
];

interface Run {
  /** Spawn to exit, less the quiet period, ms. */
  readonly workMs: number;
  readonly quietMs: number;
  readonly calls: number;
  /** Spawn to the first reply to a signed request, ms. */
  readonly firstMs: number;
  readonly peakMiB: number;
  /** User and system, ms: unlike the times it hardly depends on what else the machine does. */
  readonly cpuMs: number;
}

/** Readings of the account by the worker of the limits. */
const LOOKS = 9;

export async function benchWorker(rig: Rig, options: Options): Promise<readonly Row[]> {
  const { venue: name } = options;
  const exchange = rig.spawn(
    [options.supervisor, "__paper-exchange"],
    { ...KEYS, PAPER_EXCHANGE: name, PAPER_SYMBOLS: String(MANY) },
    "pipe",
  );
  const url = /http:\S+/.exec(await firstLine(exchange))?.[0] ?? "";
  const rows: Row[] = [...(await benchLooks(rig, options, { name, url, latencyMs: 10, symbols: 20 }))];
  for (const { symbols, latencyMs, rounds, target, naive, bothLegs } of options.quick ? QUICK_CASES : CASES) {
    const venue = { name, url, latencyMs, symbols, bothLegs };
    const runs: Run[] = [];
    const baseline: { firstMs: number; flatMs: number }[] = [];
    await keepMarkets(rig, options, venue);
    for (let round = 0; round < rounds; round += 1) {
      await prepareVenue(venue);
      runs.push(await closeByWorker(rig, options, venue, `${symbols}x${latencyMs}x${round}`));
      if (naive) baseline.push(await timeNaively(rig, venue));
    }
    const positions = bothLegs ? symbols * 2 : symbols;
    const what = `${name}: ${positions} positions and ${symbols} orders, answers after ${latencyMs} ms`;
    const values = (field: keyof Run): number[] => runs.map((run) => run[field]);
    rows.push(
      {
        what: `${what}: spawn to verified flat and exit, less the quiet period`,
        unit: "ms",
        values: values("workMs"),
        target,
        ...(naive
          ? {
              baseline: {
                name: "ccxt script, sequential, its limiter on, flat",
                values: baseline.map(({ flatMs }) => flatMs),
              },
            }
          : {}),
      },
      { what: `${what}: quiet period`, unit: "ms", values: values("quietMs") },
      { what: `${what}: requests`, unit: "calls", values: values("calls"), ...(symbols === 20 ? { target: 70 } : {}) },
      {
        what: `${what}: first signed reply after the spawn`,
        unit: "ms",
        values: values("firstMs"),
        ...(latencyMs === 10 ? { target: 130 } : {}),
        ...(naive ? { baseline: { name: "the same script", values: baseline.map(({ firstMs }) => firstMs) } } : {}),
      },
      { what: `${what}: CPU time`, unit: "ms", values: values("cpuMs") },
      { what: `${what}: peak of resident memory`, unit: "MiB", values: values("peakMiB"), target: 110 },
    );
  }
  return rows;
}

async function closeByWorker(rig: Rig, options: Options, { name, url }: Venue, id: string): Promise<Run> {
  const folder = rig.folderFor(id);
  const job = closeJob(rig, folder, { name, url });
  const bornAtMs = Date.now();
  const startMs = performance.now();
  const worker = Bun.spawn({
    cmd: [options.supervisor, "__action", "close-positions"],
    cwd: folder,
    env: ENV,
    stdio: [Buffer.from(`${JSON.stringify(job)}\n`), "ignore", "pipe", "pipe"],
  });
  const peak = watchPeak(worker.pid);
  const [log, lines] = await Promise.all([
    new Response(worker.stderr).text(),
    new Response(Bun.file(worker.stdio[3] ?? -1).stream()).text(),
  ]);
  await worker.exited;
  const tookMs = performance.now() - startMs;
  const report = reportOf(lines);
  if (report.outcome !== "flat") throw new Error(`cannot measure: the close ended ${report.outcome}: ${report.reason}`);
  const { quietMs, calls } = report;
  const cpuMs = Number(worker.resourceUsage()?.cpuTime.total ?? 0) / 1_000;
  return { workMs: tookMs - quietMs, quietMs, calls, firstMs: firstSignedAtMs(log) - bornAtMs, peakMiB: peak(), cpuMs };
}

/** With the markets that the daily preflight keeps. */
function accessTo(rig: Rig, { name, url }: Pick<Venue, "name" | "url">): object {
  return {
    exchange: name === "okx" ? "okx" : "binanceusdm",
    endpoint: url,
    sandbox: false,
    symbols: [],
    timeoutMs: 60_000,
    apiKey: "bench",
    apiSecret: "bench",
    ...(name === "okx" ? { passphrase: "bench" } : {}),
    marketsFile: join(rig.folder, `markets-${name}.json`),
  };
}

async function keepMarkets(rig: Rig, options: Options, venue: Venue): Promise<void> {
  await prepareVenue(venue);
  const access = accessTo(rig, venue);
  await runAction(options, "preflight", {
    bot: "bot",
    account: "bot",
    venue: access,
    allowWithdraw: true,
    drill: false,
  });
}

/** One action as the daemon starts it; its CPU time and peak, and what it said. */
async function runAction(
  options: Options,
  action: string,
  job: object,
): Promise<{ cpuMs: number; peakMiB: number; said: string }> {
  const worker = Bun.spawn({
    cmd: [options.supervisor, "__action", action],
    env: ENV,
    stdio: [Buffer.from(`${JSON.stringify({ version: 1, ...job })}\n`), "ignore", "ignore", "pipe"],
  });
  const said = await new Response(Bun.file(worker.stdio[3] ?? -1).stream()).text();
  await worker.exited;
  const usage = worker.resourceUsage();
  return {
    cpuMs: Number(usage?.cpuTime.total ?? 0) / 1_000,
    // The kernel's high-water mark (ru_maxrss, getrusage(2)), which Bun gives in bytes.
    peakMiB: (usage?.maxRSS ?? 0) / 1_048_576,
    said,
  };
}

/** One reading of the limits: what the daemon's worker costs every `emergency.limits.period`. */
async function benchLooks(rig: Rig, options: Options, venue: Venue): Promise<readonly Row[]> {
  await keepMarkets(rig, options, venue);
  const looks: Awaited<ReturnType<typeof runAction>>[] = [];
  for (let n = 0; n < (options.quick ? 1 : LOOKS); n += 1) {
    const look = await runAction(options, "watch-account", {
      venue: accessTo(rig, venue),
      loss: { sinceMs: null },
      deadman: null,
    });
    if (!look.said.includes('"exposure":')) throw new Error(`cannot measure: the reading failed: ${look.said}`);
    looks.push(look);
  }
  const what = `${venue.name}: one reading for the limits, 20 positions`;
  const refused = await benchRefusal(rig, options, venue);
  return [
    refused,
    { what: `${what}: CPU time (of 30 s by default)`, unit: "ms", values: looks.map(({ cpuMs }) => cpuMs) },
    { what: `${what}: peak of resident memory`, unit: "MiB", values: looks.map(({ peakMiB }) => peakMiB), target: 110 },
  ];
}

/** A key that may only read: the spawn to the exit with 13. */
async function benchRefusal(rig: Rig, options: Options, venue: Venue): Promise<Row> {
  const values: number[] = [];
  for (let n = 0; n < (options.quick ? 1 : LOOKS); n += 1) {
    await prepareVenue(venue);
    await fetch(`${venue.url}/__paper/set`, { method: "POST", body: JSON.stringify({ canTrade: false }) });
    const folder = rig.folderFor(`refused-${n}`);
    const startMs = performance.now();
    const { said } = await runAction(options, "close-positions", closeJob(rig, folder, venue));
    values.push(performance.now() - startMs);
    const { outcome } = reportOf(said);
    if (outcome !== "keyRefused") throw new Error(`cannot measure: the close ended ${outcome}`);
  }
  const what = `${venue.name}: a key without the right to trade, spawn to exit with 13, answers after ${venue.latencyMs} ms`;
  return { what, unit: "ms", values, target: 2_000 };
}

function closeJob(rig: Rig, folder: string, venue: Pick<Venue, "name" | "url">): object {
  return {
    version: 1,
    mode: "close",
    incident: "bench01",
    trigger: "operator",
    bot: "bot",
    account: "bot",
    incidentsDir: join(folder, "incidents"),
    accountLock: join(folder, "account.lock"),
    fence: { environ: [`INVOCATION_ID=${crypto.randomUUID()}`], cgroups: [], processes: [] },
    venue: accessTo(rig, venue),
  };
}

function reportOf(lines: string): CloseReport {
  const last = lines.trim().split("\n").at(-1) ?? "";
  // Safe: the last line of the worker is its result, and a bench is no judge of its shape.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (JSON.parse(last) as { report: CloseReport }).report;
}

/** Wall time of the end of the first signed request in the worker's log, ms. */
function firstSignedAtMs(log: string): number {
  const line = log.split("\n").find((text) => /positionRisk|account\/positions/.test(text)) ?? "";
  return Date.parse(/"time":"([^"]+)"/.exec(line)?.[1] ?? "");
}

/** Reads the high-water mark of a process (VmHWM, proc(5)) until it is gone; its quiet period leaves time for a last look. */
function watchPeak(pid: number): () => number {
  let peakMiB = 0;
  const timer = setInterval(() => {
    try {
      const kib = /VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      if (kib !== undefined) peakMiB = Math.max(peakMiB, Number(kib) / 1_024);
    } catch {
      // Gone.
    }
  }, 50);
  return () => {
    clearInterval(timer);
    return peakMiB;
  };
}
