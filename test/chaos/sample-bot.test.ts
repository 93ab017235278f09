/** The sample bot of the demo under the compiled binary: it sits an outage of its venue out, and what it hangs in is named, settled and reconciled. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { expect, test } from "vitest";
import { ROOMY } from "./dumps.ts";
import { CREDENTIALS, emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { startPaper, type Paper } from "./paper.ts";

function sampleBot(
  rig: Rig,
  paper: Paper,
  heartbeat: string,
  more: Readonly<Record<string, string>> = {},
): BotSettings {
  return {
    command: [rig.binary, "__sample-bot"],
    env: {
      PAPER_URL: paper.url,
      PAPER_KEY: CREDENTIALS.apiKey,
      PAPER_SECRET: CREDENTIALS.apiSecret,
      BOT_TICK_MS: "100",
      ...more,
    },
    ready: "notify",
    probes: [
      { kind: "heartbeat", timeout: heartbeat },
      { kind: "progress", timeout: "10m" },
    ],
    dump: ROOMY,
  };
}

async function recorded(rig: Rig, type: string): Promise<readonly string[]> {
  const { out } = await rig.cli("blackbox", "grep", "bot", ".", "--type", type, "--json");
  return out.split("\n").filter(Boolean);
}

test.concurrent("an outage of the venue: the breaker opens, the level rises, the budget holds, and nobody restarts anything", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = new Rig();
  rig.configure({ bot: sampleBot(rig, paper, "30s") });
  await rig.run();
  const before = await rig.botUntil("it trades", (bot) => bot.heartbeat.status === "2 positions open");
  const fills = paper.state().fills.length;
  await paper.control("fault", { match: "/fapi/", kind: "http", status: 503, times: 7 });
  await rig.botUntil("it is degraded", (bot) => bot.heartbeat.status === "level degraded, 2 positions open");
  await until("it has looked whether the venue is back, in vain", () => rig.log.split("half-open → open").length > 2);
  const during = await rig.bot();
  expect(during).toMatchObject({ pid: before.pid, health: "healthy", restarts: { total: 0 } });
  await until("it trades on", () => rig.log.includes("ticks work again"));
  expect(await rig.bot()).toMatchObject({ pid: before.pid, health: "healthy", restarts: { total: 0 } });
  const breaker = await recorded(rig, "breaker");
  expect(breaker.some((line) => line.includes('"to":"open"'))).toBe(true);
  expect(breaker.some((line) => line.includes('"to":"closed"'))).toBe(true);
  expect(await recorded(rig, "level")).not.toEqual([]);
  // Far from the hundred of an hour, however long the outage lasts: the breaker keeps them.
  expect((await recorded(rig, "retry.scheduled")).length).toBeLessThanOrEqual(20);
  const after = paper.state();
  expect(after.violations).toEqual([]);
  expect(after.positions).toHaveLength(2);
  expect(new Set(after.fills.map(({ clientOrderId }) => clientOrderId)).size).toBe(after.fills.length);
  expect(after.fills.length).toBeGreaterThanOrEqual(fills);
});

/** The venue behind a load balancer, which answers for it while it is down. */
function balancerOf(paper: Paper): AsyncDisposable & { readonly url: string; down: boolean } {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      if (balancer.down) return new Response("<html>502 Bad Gateway</html>", { status: 502 });
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      return fetch(`${paper.url}${pathname}${search}`, { method, headers, body: await request.arrayBuffer() });
    },
  });
  const url = server.url.href.replace(/\/$/, "");
  const balancer = { url, down: false, [Symbol.asyncDispose]: () => server.stop(true) };
  return balancer;
}

/** Long enough for the breaker to look in vain several times; a short outage of an exchange. */
const OUTAGE_MS = 30_000;

const OUTAGE_TEST = { concurrent: true, timeout: 300_000 };

test(
  "an outage of 30 s beside moving prices: the bot beats on, spares its budget, and then trades as before",
  OUTAGE_TEST,
  async () => {
    await using paper = await startPaper({ empty: true });
    await using balancer = balancerOf(paper);
    await using rig = new Rig();
    // Silence of a third of the outage would be its end.
    rig.configure({ bot: sampleBot(rig, { ...paper, url: balancer.url }, "10s") });
    await rig.run();
    const before = await rig.botUntil("it trades", (bot) => bot.heartbeat.status === "2 positions open");
    const move = setInterval(() => void jump(paper), 150);
    try {
      balancer.down = true;
      const [during] = await Promise.all([
        rig.botUntil("it is degraded", (bot) => /^level (degraded|minimal)/.test(bot.heartbeat.status ?? "")),
        Bun.sleep(OUTAGE_MS),
      ]);
      expect(during.pid).toBe(before.pid);
      balancer.down = false;
      await until("it trades on", () => rig.log.includes("ticks work again"), 60_000);
      const fills = paper.state().fills.length;
      await until("an order is filled", () => paper.state().fills.length > fills, 120_000);
    } finally {
      clearInterval(move);
    }
    expect(rig.log.split("half-open → open").length).toBeGreaterThan(2);
    expect(await rig.bot()).toMatchObject({ pid: before.pid, health: "healthy", restarts: { total: 0 } });
    expect((await recorded(rig, "retry.scheduled")).length).toBeLessThanOrEqual(20);
    const { fills, violations } = paper.state();
    expect(violations).toEqual([]);
    expect(new Set(fills.map(({ clientOrderId }) => clientOrderId)).size).toBe(fills.length);
  },
);

test.concurrent("a bot that hangs in an order: the dump names it, and the next start settles the order and reconciles", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = new Rig();
  const hang = rig.path("hang");
  rig.configure({ bot: sampleBot(rig, paper, "5s", { BOT_HANG_FILE: hang }) });
  await rig.run();
  await rig.botUntil("it trades", (bot) => bot.heartbeat.status === "2 positions open");
  rig.write("hang", "");
  // Prices that jump make it trade.
  const move = setInterval(() => void jump(paper), 150);
  try {
    await until(
      "it is dumped",
      () => existsSync(rig.state("dumps")) && readdirSync(rig.state("dumps")).some((name) => name.endsWith(".zst")),
    );
  } finally {
    clearInterval(move);
    rmSync(hang, { force: true });
  }
  const { out } = await rig.cli("dump", "show", "bot");
  expect(out).toMatch(/in progress since .*: place_order/);
  expect(out).toContain("order.sent");
  expect(out).toContain("it hung where it is shown above");
  expect(out).toMatch(/position long 0\.\d+ BTC\/USDT:USDT open/);
  expect(out).toMatch(/order sv[0-9a-f]{30} (buy|sell) .* (intent|sent)/);
  await until("the next start reconciles", () => rig.log.includes("reconciled: 2 positions in the books"));
  expect(rig.log).toMatch(/sv[0-9a-f]{30}: never reached the venue/);
  await rig.botUntil("it trades again", (bot) => bot.generation >= 2 && bot.heartbeat.status === "2 positions open");
  expect(paper.state().violations).toEqual([]);
});

let jumped = 0;

/** Half a percent up, half a percent down: outside the strategy's band around its average, and far from stops and resting orders. */
async function jump(paper: Paper): Promise<void> {
  jumped += 1;
  const factor = jumped % 8 < 4 ? 1.005 : 0.995;
  const prices = paper.state().positions.map(({ symbol, entryPrice }) => [symbol, entryPrice * factor] as const);
  await paper.control("set", { prices: Object.fromEntries(prices) });
}

test.concurrent("a bot that is armed again after its emergency knows who has closed its positions, and trades at once", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = new Rig();
  rig.configure({ bot: { ...sampleBot(rig, paper, "30s"), emergency: emergencyAt(paper.url) } });
  await rig.run();
  await rig.botUntil("it trades", (bot) => bot.heartbeat.status === "2 positions open");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  const { emergency } = await rig.botIn("locked");
  expect((await rig.cli("arm", "bot", "--reason", "looked at it")).code).toBe(0);
  if ((await rig.bot()).pid === null) await rig.cli("start", "bot");
  await rig.botUntil("it trades again", (bot) => bot.heartbeat.status === "2 positions open");
  const said = rig.log.match(/was closed by the supervisor \(incident (\w+)\)/g) ?? [];
  expect(said).toEqual(Array(2).fill(`was closed by the supervisor (incident ${emergency.incident})`));
  expect(paper.state().violations).toEqual([]);
});
