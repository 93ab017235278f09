/**
 * A close is killed at every line that it journals, its worker, its supervisor or both, on its way to each of its ends: a smaller exposure,
 * a sold wallet, loans repaid. The next one goes there, once.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  checkLife,
  eachOf,
  incidentsOf,
  isOrdered,
  killAtEveryLine,
  linesOf,
  watch,
  type Stage,
} from "./every-line.ts";
import { script } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { checkJournal } from "./invariants.ts";
import { owedOn } from "./margin.ts";
import { startPaper, type Paper } from "./paper.ts";
import { findProcess } from "./processes.ts";

/** What a close is to come to, and how the account is then. */
interface Aim {
  readonly args: readonly string[];
  readonly state: string;
  readonly check: (paper: Paper) => void;
}

/** Half of what is held is to go, each position by its share, in one order. */
const HALF: Aim = {
  args: ["--reduce-to", "14000"],
  state: "residual",
  check: (paper) => {
    const state = paper.state();
    expect(state).toMatchObject({ flips: [], violations: [], orders: [] });
    const left = state.positions.reduce((sum, { notional }) => sum + notional, 0);
    expect(left).toBeLessThanOrEqual(14_000 * 1.005);
    // A lot of Bitcoin is the dearest.
    expect(left).toBeGreaterThan(14_000 - 100);
  },
};

/** Everything is sold, and nothing twice. */
const SOLD: Aim = {
  args: [],
  state: "flat",
  check: (paper) => {
    const state = paper.state();
    expect(state).toMatchObject({ positions: [], orders: [], flips: [], violations: [] });
    expect(state.fills.map(({ symbol, quantity }) => `${quantity} ${symbol}`).toSorted()).toEqual([
      "0.25 BTCUSDT",
      "4 ETHUSDT",
    ]);
  },
};

/** Everything in these wallets is sold, bought back and repaid once, and nothing borrowed. */
function repaid(wallets: readonly string[]): Aim {
  return {
    args: [],
    state: "flat",
    check: (paper) => {
      const { flips, violations, margin } = paper.state();
      expect({ flips, violations }).toEqual({ flips: [], violations: [] });
      for (const wallet of wallets) {
        expect(owedOn(margin, wallet)).toMatchObject({ orders: 0, borrowed: 0 });
        expect(owedOn(margin, wallet).worth).toBeLessThan(5.4);
      }
    },
  };
}
const REPAID = repaid(["cross"]);
const REPAID_PAIRS = repaid(["BTCUSDT", "ETHUSDT"]);

/** Closes by the command with a kill of the worker, or of worker and daemon, at a line (0: none), and waits until the account is as aimed at. */
async function aimedOnce(
  { rig, paper }: { rig: Rig; paper: Paper },
  aim: Aim,
  line: number,
  daemonToo: boolean,
): Promise<number> {
  await rig.run();
  await rig.botIn("running");
  const asked = rig.cli("emergency", "close", "bot", ...aim.args, "--yes");
  const { emergency } = await rig.botUntil("the close has begun", (bot) => bot.emergency.incident !== null);
  const journal = rig.state(`bots/bot/incidents/${emergency.incident}.ndjson`);
  const watcher = watch(journal, line, "worker", rig.folder);
  try {
    if (line > 0) await watcher.exited;
    if (daemonToo) {
      await rig.endDaemon("SIGKILL");
      await rig.run();
    }
    await asked;
    await rig.botUntil(
      "the close has ended",
      (bot) => bot.state === "locked" && bot.emergency.state === aim.state,
      AIM_PATIENCE_MS,
    );
  } finally {
    watcher.kill();
  }
  aim.check(paper);
  checkJournal(rig.journal);
  return linesOf(journal);
}

/** Some thirty stories, four at a time beside those of the other tests. */
const AIMED_DEADLINE_MS = 600_000;
/** An order of unknown fate is waited out, each time. */
const AIM_PATIENCE_MS = 60_000;

const WALLETS = {
  binance: { venue: "binance", config: {} },
  spot: { venue: "binance-spot", config: { exchange: "binance", spot: {} } },
  cross: { venue: "binance-margin", config: { exchange: "binance", margin: { mode: "cross" } } },
  isolated: { venue: "binance-margin", config: { exchange: "binance", margin: { mode: "isolated" } } },
} as const;

async function killWorkerOnTheWayTo(aim: Aim, wallet: keyof typeof WALLETS): Promise<number> {
  const { venue, config } = WALLETS[wallet];
  const open = async (line: number, daemonToo = false): Promise<number> => {
    await using paper = await startPaper({ venue });
    await using rig = new Rig();
    const command = script("crash-unless.sh", rig.path("starts"), rig.path("sound"));
    rig.configure({ bot: { command, emergency: emergencyAt(paper.url, config) } });
    writeFileSync(rig.path("sound"), "");
    return await aimedOnce({ rig, paper }, aim, line, daemonToo);
  };
  const lines = await open(0);
  // Each line twice: the worker alone, and the daemon with it.
  await eachOf(2 * lines, async (n) => {
    await open(Math.ceil(n / 2), n % 2 === 0);
  });
  return lines;
}

test.concurrent(
  "a close worker killed at any line on the way to a smaller exposure, with or without its supervisor, is followed by one that goes there, and not below it",
  async () => {
    expect(await killWorkerOnTheWayTo(HALF, "binance")).toBeGreaterThan(5);
  },
  AIMED_DEADLINE_MS,
);

test.concurrent(
  "a close worker killed at any line of the sale of a spot wallet, with or without its supervisor, is followed by one that sells the rest, and nothing twice",
  async () => {
    expect(await killWorkerOnTheWayTo(SOLD, "spot")).toBeGreaterThan(5);
  },
  AIMED_DEADLINE_MS,
);

test.concurrent.each([
  { wallet: "cross", aim: REPAID, what: "a cross margin wallet" },
  { wallet: "isolated", aim: REPAID_PAIRS, what: "the wallets of isolated pairs" },
] as const)(
  "a close worker killed at any line of the close of $what, with or without its supervisor, is followed by one that repays the rest, and nothing twice",
  async ({ wallet, aim }) => {
    expect(await killWorkerOnTheWayTo(aim, wallet)).toBeGreaterThan(7);
  },
  AIMED_DEADLINE_MS,
);

/** A cut for an exposure over its limit, whose orders wait at the touch first; its worker is killed at a line (0: not). */
async function waitingOnce(line: number): Promise<{ lines: number; waited: boolean }> {
  // The orders of a killed worker and of the next, each looked at again and again within a minute, come near the venue's allowance.
  await using paper = await startPaper({ venue: "binance", speed: 2 });
  await using rig = new Rig();
  const limits = { maxExposure: 14_000, style: "limit-then-market", period: "10s" };
  const command = script("crash-unless.sh", rig.path("starts"), rig.path("sound"));
  rig.configure({ bot: { command, emergency: emergencyAt(paper.url, { limits, timeout: "60s" }) } });
  writeFileSync(rig.path("sound"), "");
  await rig.run();
  const { emergency } = await rig.botUntil(
    "the cut has begun",
    (bot) => bot.emergency.incident !== null,
    AIM_PATIENCE_MS,
  );
  const journal = rig.state(`bots/bot/incidents/${emergency.incident}.ndjson`);
  const watcher = watch(journal, line, "worker", rig.folder);
  try {
    if (line > 0) await watcher.exited;
    await rig.botUntil("the cut has ended", (bot) => bot.state === "locked", AIM_PATIENCE_MS);
    await rig.botUntil("it is told", ({ emergency: { state } }) => state === HALF.state, AIM_PATIENCE_MS);
  } finally {
    watcher.kill();
  }
  HALF.check(paper);
  checkJournal(rig.journal);
  // The account is read on, by workers that may outlive their daemon by a moment.
  await rig.endDaemon("SIGTERM");
  await until("the last reading has ended", () => findProcess(rig.folder, "__action", "watch-account") === undefined);
  return { lines: linesOf(journal), waited: readFileSync(journal, "utf8").includes('"restedAt"') };
}

test.concurrent(
  "a close worker killed at any line while its orders wait at the touch is followed by one that cancels them and goes on, and not below the limit",
  async () => {
    const { lines, waited } = await waitingOnce(0);
    expect(waited).toBe(true);
    expect(lines).toBeGreaterThan(15);
    await eachOf(lines, async (line) => {
      await waitingOnce(line);
    });
  },
  AIMED_DEADLINE_MS,
);

/** The close by the command, up to the end of the daemon; told again, it goes on where a daemon was killed. */
async function aimedStage(aim: Aim, wallet: keyof typeof WALLETS): Promise<Stage> {
  const { venue, config } = WALLETS[wallet];
  const paper = await startPaper({ venue });
  const rig = new Rig();
  const command = script("crash-unless.sh", rig.path("starts"), rig.path("sound"));
  rig.configure({ bot: { command, emergency: emergencyAt(paper.url, config) } });
  writeFileSync(rig.path("sound"), "");
  return {
    rig,
    async tell() {
      await rig.run();
      await rig.botUntil("there is a bot, or a close", ({ state }) => state === "running" || isOrdered(rig));
      // The order counts from its line in the journal on; a command whose daemon dies says only that.
      if (!isOrdered(rig)) await rig.cli("emergency", "close", "bot", ...aim.args, "--yes");
      await rig.botUntil(
        "the close has ended",
        (bot) => bot.state === "locked" && bot.emergency.state === aim.state,
        AIM_PATIENCE_MS,
      );
      await rig.endDaemon("SIGTERM");
    },
    check() {
      checkLife(rig);
      aim.check(paper);
      expect(incidentsOf(rig)).toHaveLength(1);
    },
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      await paper[Symbol.asyncDispose]();
    },
  };
}

test.concurrent.each([
  { what: "the way to a smaller exposure goes there, and not below it", aim: HALF, wallet: "binance" },
  { what: "the sale of a spot wallet sells it, and nothing twice", aim: SOLD, wallet: "spot" },
  { what: "the close of a cross margin wallet repays it, and nothing twice", aim: REPAID, wallet: "cross" },
  { what: "the close of isolated wallets repays them, and nothing twice", aim: REPAID_PAIRS, wallet: "isolated" },
] as const)(
  "a supervisor killed at any line of $what",
  async ({ aim, wallet }) => {
    expect(await killAtEveryLine(() => aimedStage(aim, wallet))).toBeGreaterThan(10);
  },
  AIMED_DEADLINE_MS,
);
