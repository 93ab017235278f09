/** The sample bot as a process of its own on the paper exchange. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, type onTestFinished } from "vitest";
import { openStore } from "../../src/bot/index.ts";
import { decideTrade } from "../../src/demo/bot/strategy.ts";
import { receiveDatagrams } from "./datagram-receiver.ts";
import { OKX_CREDENTIALS, startOkxPaper } from "./okx-paper.ts";
import { ccxtFor, CREDENTIALS, startPaper, until, type Paper } from "./paper.ts";

const RUN_BOT = `import { runSampleBot } from ${JSON.stringify(join(import.meta.dirname, "../../src/demo/bot.ts"))};
await runSampleBot(process.env);`;

interface Bot {
  process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  output: () => string;
}

/** What one test has: its venue, a folder, the notify socket of its bots; all of it ends with the test. */
interface Stage<P> {
  paper: P;
  dir: string;
  /** The next datagram from the bots. */
  next: () => string | undefined;
  start: (env?: Record<string, string>) => Bot;
  /** A bot that was ready, and was killed by SIGKILL. */
  startAndKill: (env?: Record<string, string>) => Promise<void>;
}

type AtEnd = typeof onTestFinished;

function stage(atEnd: AtEnd): Stage<Paper> {
  return stageAt(startPaper({}, atEnd), atEnd);
}

function stageAt<P extends Pick<Paper, "exchange">>(paper: P, atEnd: AtEnd): Stage<P> {
  const dir = mkdtempSync(join(tmpdir(), "bot-"));
  atEnd(() => rmSync(dir, { recursive: true, force: true }));
  const address = `@${join(dir, "notify")}`;
  const next = receiveDatagrams(address, atEnd);
  const start = (env: Record<string, string> = {}): Bot =>
    startBot({ PAPER_URL: paper.exchange.url, NOTIFY_SOCKET: address, ...env }, dir, atEnd);
  return {
    paper,
    dir,
    next,
    start,
    startAndKill: async (env) => {
      const bot = start(env);
      await heard(next, "READY=1", bot);
      bot.process.kill("SIGKILL");
      await bot.process.exited;
      while (next() !== undefined);
    },
  };
}

function startBot(env: Record<string, string>, dir: string, atEnd: AtEnd): Bot {
  const bot = Bun.spawn([process.execPath, "-e", RUN_BOT], {
    cwd: dir,
    env: {
      PATH: process.env["PATH"] ?? "",
      TMPDIR: dir,
      PAPER_KEY: CREDENTIALS.apiKey,
      PAPER_SECRET: CREDENTIALS.apiSecret,
      BOT_TICK_MS: "50",
      ...env,
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  atEnd(async () => {
    bot.kill("SIGKILL");
    await bot.exited;
  });
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    for await (const chunk of stream) output += new TextDecoder().decode(chunk);
  };
  void read(bot.stdout);
  void read(bot.stderr);
  return { process: bot, output: () => output };
}

/** Reads datagrams until one holds `text`. */
async function heard(next: () => string | undefined, text: string, bot: Bot): Promise<string> {
  let found: string | undefined;
  const look = (): boolean => {
    for (let datagram = next(); datagram !== undefined; datagram = next())
      if (datagram.includes(text)) found = datagram;
    return found !== undefined;
  };
  await until(look, `${text} from the bot, which said:\n${bot.output()}`);
  return found ?? "";
}

test.concurrent("runSampleBot() opens, protects and reports its positions, and leaves them on SIGTERM", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, dir, next, start } = stage(atEnd);
  const bot = start({ BOT_STATE: join(dir, "books") });
  await heard(next, "READY=1", bot);
  const beat = await heard(next, "WATCHDOG=1", bot);
  expect(beat).toMatch(/^WATCHDOG=1\nSTATUS=2 positions open\nX_PROGRESS=\d+\nX_EXPOSURE=\d+\.\d\d$/);
  const held = paper.exchange.state();
  expect(held.positions).toMatchObject([
    { symbol: "BTCUSDT", side: "long" },
    { symbol: "ETHUSDT", side: "short" },
  ]);
  expect([held.orders.length, held.algoOrders.length, held.violations]).toEqual([2, 2, []]);
  bot.process.kill("SIGTERM");
  expect(await bot.process.exited).toBe(0);
  expect(paper.exchange.state().flat).toBe(false);
  const store = await openStore({ folder: join(dir, "books") });
  expect(store.report).toMatchObject({ kind: "clean", findings: [] });
  expect((await store.positions()).map(({ symbol, side }) => ({ symbol, side }))).toEqual([
    { symbol: "BTC/USDT:USDT", side: "long" },
    { symbol: "ETH/USDT:USDT", side: "short" },
  ]);
  expect(await store.intents.unfinished()).toEqual([]);
  expect((await store.trades(0)).length).toBeGreaterThanOrEqual(2);
  await store.close();
});

test.concurrent("runSampleBot() trades contracts on OKX, protects both positions, and takes them over after SIGKILL", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, next, start } = stageAt(startOkxPaper({}, atEnd), atEnd);
  const env = { PAPER_EXCHANGE: "okx", PAPER_PASSPHRASE: OKX_CREDENTIALS.apiPassphrase };
  const first = start(env);
  await heard(next, "WATCHDOG=1", first);
  const held = paper.exchange.state();
  expect(held.positions).toMatchObject([
    { symbol: "BTC-USDT-SWAP", side: "long" },
    { symbol: "ETH-USDT-SWAP", side: "short" },
  ]);
  for (const { notional } of held.positions) expect(Math.abs(notional - 1_500)).toBeLessThan(150);
  expect([held.orders.length, held.algoOrders.length, held.violations]).toEqual([2, 2, []]);
  first.process.kill("SIGKILL");
  await first.process.exited;
  while (next() !== undefined);
  const second = start(env);
  await heard(next, "READY=1", second);
  const after = paper.exchange.state();
  expect([after.positions.length, after.orders.length, after.algoOrders.length]).toEqual([2, 2, 2]);
  expect(after.fills).toEqual(held.fills);
  expect(second.output()).toContain("reconciled: 2 positions in the books, 0 findings");
});

test.concurrent("runSampleBot() takes its positions over after SIGKILL instead of opening them again", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, dir, next, start, startAndKill } = stage(atEnd);
  await startAndKill();
  const before = paper.exchange.state();
  const second = start();
  await heard(next, "READY=1", second);
  const after = paper.exchange.state();
  expect([after.positions.length, after.orders.length, after.algoOrders.length]).toEqual([2, 2, 2]);
  expect(after.fills).toEqual(before.fills);
  expect(second.output()).toContain("reconciled: 2 positions in the books, 0 findings");
  expect(existsSync(join(dir, "bot-state", "state.db"))).toBe(true);
});

test.concurrent("runSampleBot() makes up for a stop that vanished while it was dead, and opens nothing until that is long over", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, next, start, startAndKill } = stage(atEnd);
  await startAndKill();
  await ccxtFor(paper.exchange.url).cancelAllOrders("BTC/USDT:USDT", { trigger: true });
  expect(paper.exchange.state().algoOrders).toHaveLength(1);
  const second = start();
  await heard(next, "READY=1", second);
  expect(second.output()).toMatch(/long 0\.\d+ BTC\/USDT:USDT: 0\.\d+ has no stop at the venue; it belongs at \d+/);
  expect(paper.exchange.state().algoOrders).toHaveLength(2);
  expect(await heard(next, "WATCHDOG=1", second)).toContain("STATUS=level minimal, 2 positions open");
});

test.concurrent("runSampleBot() learns what became of an order whose reply was lost", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, next, start } = stage(atEnd);
  await paper.control("fault", { match: "POST /fapi/v1/order", kind: "dropAfter" });
  const bot = start({ BOT_SYMBOLS: "BTC/USDT:USDT" });
  await heard(next, "READY=1", bot);
  expect(bot.output()).toMatch(/buy market BTC\/USDT:USDT: accepted as sv[0-9a-f]{30}/);
  const { fills, requests } = paper.exchange.state();
  // Asked about, not sent again.
  expect([fills.length, requests["GET /fapi/v1/order"]]).toEqual([1, 1]);
});

test.concurrent("runSampleBot() lives on without progress and degrades while its venue is down, and spares the venue", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, next, start } = stage(atEnd);
  const bot = start();
  await heard(next, "WATCHDOG=1", bot);
  await paper.control("fault", { match: "/fapi/", kind: "http", status: 503, times: 100_000 });
  await until(() => bot.output().includes("breaker venue.market: closed → open"), `an open breaker; ${bot.output()}`);
  while (next() !== undefined);
  const beat = await heard(next, "level degraded, 2 positions open", bot);
  const progress = /X_PROGRESS=(\d+)/.exec(beat)?.[1] ?? "";
  const asked = (): number => paper.exchange.state().requests["GET /fapi/v1/ticker/24hr"] ?? 0;
  const before = asked();
  let beats = 0;
  while (beats < 20) {
    const one = await heard(next, "WATCHDOG=1", bot);
    expect(/X_PROGRESS=(\d+)/.exec(one)?.[1]).toBe(progress);
    beats += 1;
  }
  // Twenty rounds, of which most asked nothing.
  expect(asked() - before).toBeLessThan(10);
  await paper.control("reset", {});
  await until(() => bot.output().includes("ticks work again"), `a tick that works; ${bot.output()}`);
  expect(bot.output()).toMatch(/breaker venue\.market: half-open → closed/);
  expect(paper.exchange.state().violations).toEqual([]);
});

test.concurrent("runSampleBot() places no order while the no-new-orders file exists", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, dir, next, start } = stage(atEnd);
  writeFileSync(join(dir, "freeze"), "");
  const bot = start({ SUPERVISOR_NO_NEW_ORDERS: join(dir, "freeze") });
  expect(await heard(next, "WATCHDOG=1", bot)).toContain("STATUS=0 positions open");
  expect(paper.exchange.state().requests["POST /fapi/v1/order"]).toBeUndefined();
});

test.concurrent("runSampleBot() answers /health", async ({ onTestFinished: atEnd }) => {
  const { start } = stage(atEnd);
  const probe = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const port = String(probe.port);
  await probe.stop(true);
  const bot = start({ BOT_HTTP_PORT: port });
  const health = async (): Promise<Response | undefined> =>
    fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
  await until(async () => (await health()) !== undefined, `the health endpoint; ${bot.output()}`);
  const reply = await health();
  expect([reply?.status, await reply?.json()]).toEqual([200, { ok: true, lastTickAgeMs: expect.any(Number) }]);
});

test.concurrent("runSampleBot() dies with 1 while the crash file exists and with 78 on wrong settings", async ({
  onTestFinished: atEnd,
}) => {
  const { paper, dir, start } = stage(atEnd);
  writeFileSync(join(dir, "crash"), "");
  const crashing = start({ BOT_CRASH_FILE: join(dir, "crash") });
  const wrong = start({ BOT_TICK_MS: "soon" });
  expect(await Promise.all([crashing.process.exited, wrong.process.exited])).toEqual([1, 78]);
  await until(() => wrong.output() !== "", "a message");
  expect(wrong.output()).toContain("cannot start the sample bot: BOT_TICK_MS is soon, must be 50 to 60000");
  expect(paper.exchange.state().requests).toEqual({});
});

test("decideTrade() buys below the average, sells above it and stays inside its band", () => {
  const prices = [100, 100, 100, 100, 100];
  expect(decideTrade(prices, 99.9, "long", 1_500)).toBe("buy");
  expect(decideTrade(prices, 100.1, "long", 1_500)).toBe("sell");
  expect(decideTrade(prices, 100.01, "long", 1_500)).toBeUndefined();
  expect(decideTrade(prices.slice(1), 99, "long", 1_500)).toBeUndefined();
  expect(decideTrade(prices, 99, "long", 2_300)).toBeUndefined();
  expect(decideTrade(prices, 101, "long", 1_000)).toBeUndefined();
  expect(decideTrade(prices, 101, "short", 1_000)).toBe("sell");
});
