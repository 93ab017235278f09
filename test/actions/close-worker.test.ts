/** The close as a process of its own: what it says and survives, and that a killed one is finished by the next. */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { workerLineSchema } from "../../src/core/close-job.ts";
import type { CloseJob, CloseReport, WorkerLine } from "../../src/core/close-job.ts";
import { clientOrderId, incidentLineSchema } from "../../src/core/incident.ts";
import type { IncidentLine } from "../../src/core/incident.ts";
import { tryLock } from "../../src/platform/lock.ts";
import { until } from "../platform/until.ts";
import { API_KEY, API_SECRET, holdings, QUICK, quickClock, startRig } from "./rig.ts";
import type { Rig } from "./rig.ts";

const ORDER = "POST /fapi/v1/order";
const WORKER = join(import.meta.dirname, "..", "fixtures", "close-worker.ts");

interface Worker {
  readonly child: Bun.Subprocess<"pipe", "ignore", "pipe">;
  /** Exit code once it ended. */
  readonly exited: Promise<number>;
  readonly lines: () => WorkerLine[];
}

/** Starts the worker with descriptor 3 on a file and the job on its input. */
function startWorker(rig: Rig, job: CloseJob | string, action = "close-positions"): Worker {
  const path = join(rig.folder, `lines-${crypto.randomUUID()}`);
  const fd = openSync(path, "w");
  const child = Bun.spawn([process.execPath, WORKER, action], { stdio: ["pipe", "ignore", "pipe", fd] });
  closeSync(fd);
  void hand(child.stdin, typeof job === "string" ? job : `${JSON.stringify(job)}\n`);
  const lines = (): WorkerLine[] =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => workerLineSchema.parse(JSON.parse(line)));
  return { child, exited: child.exited, lines };
}

/** Writes the job. A worker that refuses it ends without reading the rest, and the pipe with it: that is its answer, not a fault of ours. */
async function hand(input: Bun.FileSink, job: string): Promise<void> {
  try {
    await input.write(job);
    await input.end();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPIPE")) throw error;
  }
}

function readJournal(rig: Rig): IncidentLine[] {
  return readFileSync(join(rig.folder, "incidents", "abc123.ndjson"), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => incidentLineSchema.parse(JSON.parse(line)));
}

function expectSound(rig: Rig): void {
  expect(rig.paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
}

/** As `expectSound` after a worker that was killed: the next one does not know what of the venue's rate the first has used. */
function expectSoundInTheEnd(rig: Rig): void {
  const { violations, ...state } = rig.paper.state();
  expect(state).toMatchObject({ flat: true, flips: [] });
  expect(violations.filter((text) => !/ (?:50011|-1003) /.test(text))).toEqual([]);
}

test.concurrent("runAction() closes, tells what it does and exits with the outcome's code", async () => {
  await using rig = startRig({ symbols: 3 });
  await rig.control("seed", holdings(3));
  const { exited, lines } = startWorker(rig, rig.job());
  expect(await exited).toBe(0);
  const said = lines();
  expect(said.flatMap((line) => (line.kind === "progress" ? [line.state] : []))).toEqual(
    expect.arrayContaining(["fencing", "closing", "quiet"]),
  );
  const ends = said.filter(({ kind }) => kind !== "progress");
  expect(ends[0]).toMatchObject({ report: { outcome: "flat" } });
  const stored: unknown = JSON.parse(readFileSync(join(rig.folder, "incidents", "abc123.json"), "utf8"));
  expect(ends).toEqual([
    { kind: "result", report: stored },
    { kind: "unwritten", lines: [], report: false },
  ]);
  expectSound(rig);
});

test.concurrent("runAction() hands over journal and report that the disk does not take, every order with its outcome", async () => {
  await using rig = startRig({ symbols: 3 });
  await rig.control("seed", holdings(3));
  const { exited, lines } = startWorker(rig, rig.job({ incidentsDir: "/dev/full" }));
  expect(await exited).toBe(0);
  const left = lines().flatMap((line) => (line.kind === "unwritten" ? [line] : []));
  expect(left.map(({ report }) => report)).toEqual([true]);
  const journal = left.flatMap((line) => line.lines).map((line) => incidentLineSchema.parse(JSON.parse(line)));
  const idsOf = (wanted: "intent" | "outcome"): string[] =>
    journal.flatMap((line) => (line.kind === wanted && "order" in line ? [line.order.id] : [])).toSorted();
  expect(journal[0]).toMatchObject({ kind: "begin" });
  expect(journal.at(-1)).toMatchObject({ kind: "end", outcome: "flat" });
  expect(idsOf("intent").length).toBeGreaterThanOrEqual(3);
  expect(idsOf("outcome")).toEqual(idsOf("intent"));
  expectSound(rig);
});

test.concurrent.each([
  ["binance", 1],
  ["binance", 4],
  ["binance", 9],
  ["okx", 2],
  ["okx", 9],
] as const)("runAction() on %s killed at order %i is finished by the next run", async (exchange, killAt) => {
  const workers: Worker[] = [];
  let orders = 0;
  const killAtOrder = (line: string): void => {
    if (!line.includes("MARKET")) return;
    orders += 1;
    if (orders === killAt) workers[0]?.child.kill("SIGKILL");
  };
  await using rig = startRig({ exchange, symbols: 10, speed: QUICK, log: killAtOrder });
  await rig.control("seed", holdings(10));
  const worker = startWorker(rig, rig.job());
  workers.push(worker);
  await worker.exited;
  expect(worker.child.signalCode).toBe("SIGKILL");
  expect(rig.paper.state().flat).toBe(false);
  const before = readJournal(rig);
  // As if the machine had died while it wrote.
  writeFileSync(join(rig.folder, "incidents", "abc123.ndjson"), '{"kind":"outco', { flag: "a" });

  const report = await rig.close({}, { clock: quickClock });
  expect(report).toMatchObject({ outcome: "flat", startedAt: before[0]?.at });
  expect(report.before?.positions).toHaveLength(10);
  expectSoundInTheEnd(rig);
  const text = readFileSync(join(rig.folder, "incidents", "abc123.ndjson"), "utf8");
  const intents = text.split("\n").flatMap((line) => {
    const parsed = line.startsWith('{"kind":"intent"') ? incidentLineSchema.parse(JSON.parse(line)) : undefined;
    return parsed?.kind === "intent" ? [parsed] : [];
  });
  expect(new Set(intents.map(({ seq }) => seq)).size).toBe(intents.length);
  const first = intents.slice(0, before.filter(({ kind }) => kind === "intent").length);
  const later = intents.slice(first.length);
  expect(Math.min(...later.map(({ seq }) => seq))).toBeGreaterThan(Math.max(...first.map(({ seq }) => seq)));
  expect(report.orders.map(({ id }) => id)).toEqual(intents.map(({ order }) => order.id));
});

test.concurrent("runAction() goes on when it is asked to end and nobody listens to it", async () => {
  await using rig = startRig({ symbols: 3, latencyMs: 30 });
  await rig.control("seed", holdings(3));
  const job = join(rig.folder, "job");
  writeFileSync(job, `${JSON.stringify(rig.job())}\n`, { mode: 0o600 });
  // Descriptors 1 and 3 are pipes whose reader is gone before the first line.
  const script = `"$0" "$1" close-positions <"$2" 3>&1 & pid=$!; echo $pid >&2; wait $pid; echo $? >"$2.code"`;
  const shell = Bun.spawn(["sh", "-c", `{ ${script}; } | exec true`, process.execPath, WORKER, job], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const reader = shell.stderr.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  await until("it asks the venue", () => rig.paper.state().requests["GET /fapi/v1/exchangeInfo"] !== undefined);
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) process.kill(pid, signal);
  await shell.exited;
  expect(readFileSync(`${job}.code`, "utf8").trim()).toBe("0");
  expectSound(rig);
});

test.concurrent.each([
  ["a job that is not JSON", "{ secret-in-the-job", "the job is not one line of JSON"],
  ["a job with a field that does not exist", `{"version":1,"apiSecrets":"secret-in-the-job"}\n`, "apiSecrets"],
  ["a job above 1 MiB", "secret-in-the-job".repeat(70_000), "larger than 1048576 bytes"],
  ["no job", "", "the job is not one line of JSON"],
])("runAction() refuses %s as an internal error and does not repeat it", async (_, text, why) => {
  await using rig = startRig();
  const { child, exited } = startWorker(rig, text);
  const said = await new Response(child.stderr).text();
  expect(await exited).toBe(16);
  expect(said).toContain(why);
  expect(said).not.toContain("secret-in-the-job");
});

test.concurrent("runAction() names the known actions for an unknown one", async () => {
  await using rig = startRig();
  const { child, exited } = startWorker(rig, "", "close-everything");
  expect(await new Response(child.stderr).text()).toContain("known are close-positions");
  expect(await exited).toBe(2);
});

test.concurrent("closePositions() refuses while a process of the bot lives, and closes when it is dead", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  const mark = `INVOCATION_ID=${crypto.randomUUID()}`;
  const bot = Bun.spawn(["sleep", "60"], { env: { INVOCATION_ID: mark.slice("INVOCATION_ID=".length) } });
  try {
    const report = await rig.close({ fence: { environ: [mark], cgroups: [], processes: [] } });
    expect(report).toMatchObject({ outcome: "refused", calls: 0, fence: { proven: false, pids: [bot.pid] } });
    expect(report.reason).toContain(String(bot.pid));
    expect(rig.paper.state().requests).toEqual({});
    const plan = await rig.close({ mode: "plan", fence: { environ: [mark], cgroups: [], processes: [] } });
    expect(plan).toMatchObject({ outcome: "planNotEmpty", fence: { proven: false } });
  } finally {
    bot.kill("SIGKILL");
    await bot.exited;
  }
  const report = await rig.close({ fence: { environ: [mark], cgroups: [], processes: [] } });
  expect(report).toMatchObject({ outcome: "flat", fence: { proven: true, pids: [] } });
  expectSound(rig);
});

test.concurrent("closePositions() of an incident that ended flat looks once, sends nothing and repeats the orders", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  const [first, second] = await Promise.all([rig.close(), rig.close()]);
  const { outcome, verified, before, after, orders } = first;
  expect(first.outcome).toBe("flat");
  expect(second).toMatchObject({ outcome, verified, before, after, orders, fence: { proven: true } });
  // Markets, positions, orders and conditional orders.
  expect(second).toMatchObject({ calls: 4, quietMs: 0, reason: expect.stringContaining("still shows no position") });
  expect(rig.paper.state().requests["POST /fapi/v1/order"]).toBe(2);
  expectSound(rig);
});

test.concurrent("closePositions() of an incident that ended flat closes what was opened since", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(1));
  const first = await rig.close({}, { clock: quickClock });
  await rig.control("seed", { positions: [{ symbol: "S01USDT", side: "short", amount: 2 }] });
  const second = await rig.close({}, { clock: quickClock });
  expect(second).toMatchObject({ outcome: "flat", verified: true, before: first.before });
  expect(second.reason).toContain("the incident had ended flat before and something was open again");
  expect(second.orders.map(({ symbol }) => symbol)).toEqual(["S00/USDT:USDT", "S01/USDT:USDT"]);
  expect(new Set(second.orders.map(({ id }) => id)).size).toBe(2);
  expectSound(rig);
});

test.concurrent("closePositions() of an incident that ended flat does not call an account flat that it cannot read", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  expect(await rig.close({}, { clock: quickClock })).toMatchObject({ outcome: "flat" });
  await rig.control("fault", { match: "GET /fapi/", kind: "http", status: 503, times: 1_000 });
  expect(await rig.close({ venue: { timeoutMs: 500 } })).toMatchObject({ outcome: "unreadable", verified: false });
});

test.concurrent("closePositions() has a new allowance of orders in each run, and new order ids", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match: ORDER, kind: "http", status: 503, times: 1 });
  const job = rig.job();
  const folder = mkdirSync(job.incidentsDir, { recursive: true }) ?? job.incidentsDir;
  // An earlier run in which the venue answered none of more orders than the cap allows.
  const sentAt = new Date(Date.now() - 3_600_000).toISOString();
  const earlier = Array.from({ length: 80 }, (_, n): IncidentLine => {
    const id = clientOrderId(job.incident, "run001", n + 1);
    const sent = { id, symbol: "S00/USDT:USDT", side: "sell", positionSide: "long", amount: 3 } as const;
    return {
      kind: "intent",
      at: sentAt,
      round: n,
      seq: n + 1,
      order: { ...sent, outcome: "unknown", sentAt, ackMs: 0 },
    };
  });
  writeFileSync(join(folder, "abc123.ndjson"), earlier.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const report = await rig.close({}, { clock: quickClock });
  expect(report).toMatchObject({ outcome: "flat", errors: { unknown: 1 } });
  expect(report.orders).toHaveLength(82);
  expect(new Set(report.orders.map(({ id }) => id)).size).toBe(82);
  expect(
    readJournal(rig)
      .flatMap((line) => (line.kind === "intent" ? [line.seq] : []))
      .slice(80),
  ).toEqual([81, 82]);
  expectSound(rig);
});

test.concurrent("closePositions() sets aside what is in the place of its journal, and repeats no order id", async () => {
  await using rig = startRig({ symbols: 1 });
  const { incidentsDir } = rig.job();
  const ids: string[] = [];
  for (let run = 0; run < 2; run += 1) {
    // A folder in the journal's place: there, and not to be read.
    rmSync(join(incidentsDir, "abc123.ndjson"), { force: true });
    mkdirSync(join(incidentsDir, "abc123.ndjson"), { recursive: true });
    await rig.control("seed", holdings(1));
    const report = await rig.close({}, { clock: quickClock });
    expect(report).toMatchObject({ outcome: "flat" });
    ids.push(...report.orders.map(({ id }) => id));
  }
  expect(new Set(ids).size).toBe(2);
  expect(readdirSync(incidentsDir).filter((name) => name.includes(".damaged-"))).not.toEqual([]);
  expectSound(rig);
});

test.concurrent("closePositions() journals the end of a run without the orders of earlier ones", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  await rig.control("fault", { match: ORDER, kind: "apiCode", code: -2019, msg: "margin", times: 1_000 });
  const first = await rig.close({ venue: { timeoutMs: 300 } });
  const second = await rig.close({ venue: { timeoutMs: 300 } });
  expect(second.outcome).toBe("residual");
  expect(second.orders.length).toBeGreaterThan(first.orders.length);
  const ends = readJournal(rig).flatMap((line) => (line.kind === "end" ? [line] : []));
  expect(ends.map(({ orders }) => orders)).toEqual([
    first.orders.map(({ id }) => id),
    second.orders.slice(first.orders.length).map(({ id }) => id),
  ]);
  expect(ends[1]).toMatchObject({ outcome: "residual", rounds: second.rounds, calls: second.calls });
  expect(Object.keys(ends[1] ?? {})).not.toContain("report");
});

test.concurrent("closePositions() waits for the account's lock and says so", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  const lock = tryLock(rig.job().accountLock);
  const waiting: WorkerLine[] = [];
  const progress = (line: WorkerLine): void => {
    if (line.kind !== "progress" || !line.text.includes("waiting")) return;
    waiting.push(line);
    expect(rig.paper.state().requests).toEqual({});
    lock?.release();
  };
  expect(await rig.close({}, { progress })).toMatchObject({ outcome: "flat" });
  // The other one closes: that the bot is dead was proven before.
  const text = "another close of the account is running; waiting for it";
  expect(waiting).toEqual([{ kind: "progress", state: "closing", text }]);
  expect(readJournal(rig)).toContainEqual({ kind: "step", at: expect.any(String), text });
});

test.concurrent("closePositions() tells what two runs of an incident did in the order of time, and the errors of both", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match: ORDER, kind: "apiCode", code: -2019, msg: "margin", times: 1_000 });
  let second: Promise<CloseReport> | undefined;
  // It waits for the first, which has the lock, and tells so before the first has ended.
  const begun = (): void => void (second ??= rig.close({ venue: { timeoutMs: 300 } }, { progress: () => {} }));
  const first = await rig.close({ venue: { timeoutMs: 300 } }, { progress: begun });
  const report = await second;
  const times = report?.timeline?.map(({ at }) => at) ?? [];
  expect(times).toEqual(times.toSorted());
  const texts = report?.timeline?.map(({ text }) => text) ?? [];
  expect(texts.findIndex((text) => text.includes("waiting for it"))).toBeLessThan(
    texts.indexOf("a further run begins"),
  );
  const refused = first.errors["rejected:other"] ?? 0;
  expect(refused).toBeGreaterThan(0);
  expect(report?.errors["rejected:other"]).toBeGreaterThan(refused);
});

test.concurrent("closePositions() refuses when the lock stays held", async () => {
  await using rig = startRig();
  const lock = tryLock(rig.job().accountLock);
  const stop = new AbortController();
  const progress = (): void => stop.abort();
  expect(await rig.close({}, { progress, signal: stop.signal })).toMatchObject({ outcome: "refused", calls: 0 });
  lock?.release();
});

test.concurrent("closePositions() closes when neither lock nor journal can be written", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  const file = join(rig.folder, "file");
  writeFileSync(file, "");
  const report = await rig.close({ incidentsDir: join(file, "incidents"), accountLock: join(file, "lock") });
  expect(report).toMatchObject({ outcome: "flat", errors: { lock: 1, journal: expect.any(Number) } });
  expectSound(rig);
});

test.concurrent("closePositions() finishes its round and reports the rest when it is stopped", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  await rig.control("fault", { match: "POST /fapi/v1/order", kind: "dropBefore", times: 1_000 });
  const stop = new AbortController();
  const progress = (line: WorkerLine): void => {
    if (line.kind === "progress" && line.text.startsWith("round 1:")) stop.abort();
  };
  const report = await rig.close({}, { progress, signal: stop.signal });
  expect(report).toMatchObject({ outcome: "residual", rounds: 1 });
  expect(report.orders).toHaveLength(2);
});

test.concurrent("closePositions() leaves no secret in any file, line or report", async () => {
  await using rig = startRig({ symbols: 2 });
  await rig.control("seed", holdings(2));
  const echo = `who is ${API_KEY} with ${API_SECRET}`;
  await rig.control("fault", { match: "POST /fapi/v1/order", kind: "apiCode", code: -2019, msg: echo, times: 2 });
  await rig.control("fault", { match: "POST /fapi/v1/order", kind: "dropBefore", times: 2 });
  const report = await rig.close({}, { clock: quickClock });
  expect(report.orders.filter(({ error }) => error !== undefined)).toHaveLength(4);
  const files = readdirSync(rig.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const texts = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"));
  for (const text of [...texts, JSON.stringify(report), JSON.stringify(rig.lines)]) {
    expect(text).not.toContain(API_KEY);
    expect(text).not.toContain(API_SECRET);
    expect(text).not.toContain("signature");
  }
});
