/** `supervisor emergency report` reads the files of the incidents, also those that an older version wrote, and needs no daemon. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/emergency.ts";
import { VerbRig } from "./verb-rig.ts";

/** As the first version with reports wrote it: no timeline, no next step, no slippage. */
const OLD = {
  version: 1,
  incident: "old001",
  bot: "mine",
  account: "main",
  trigger: "giveUp",
  mode: "close",
  exchange: "binanceusdm",
  outcome: "flat",
  reason: "the venue shows no position and no order",
  startedAt: "2026-01-01T00:00:00.000Z",
  durationMs: 1_250,
  rounds: 2,
  calls: 12,
  verified: true,
  quietMs: 1_000,
  before: {
    positions: [{ symbol: "BTC/USDT:USDT", side: "long", amount: 2, notional: 56_000, hedged: false }],
    orders: 1,
    notional: 56_000,
  },
  after: { positions: [], orders: 0 },
  orders: [
    {
      id: "svold001a",
      symbol: "BTC/USDT:USDT",
      side: "sell",
      positionSide: "long",
      amount: 2,
      filled: 2,
      average: 27_990,
      outcome: "accepted",
      sentAt: "2026-01-01T00:00:00.100Z",
      ackMs: 12,
    },
  ],
  dust: [],
  foreign: [],
  errors: {},
  fence: { proven: true, pids: [], ms: 1 },
};
const NEW = {
  ...OLD,
  incident: "new002",
  outcome: "residual",
  verified: false,
  startedAt: "2026-02-01T00:00:00.000Z",
  orders: [{ ...OLD.orders[0], id: "svnew002a", reference: 28_000, slippage: 20 }],
  slippage: 20,
  foreign: ["order BTC/USDT:USDT 7"],
  unknown: ["svnew002b"],
  errors: { throttled: 3 },
  timeline: [
    { at: "2026-02-01T00:00:00.000Z", text: "proving that the bot is dead" },
    { at: "2026-02-01T00:00:01.250Z", text: "residual: 1 position left" },
  ],
  endedAt: "2026-02-01T00:00:01.250Z",
  next: "look at the account",
};

function rigWith(...reports: readonly { readonly incident: string }[]): VerbRig {
  const rig = new VerbRig();
  for (const report of reports)
    rig.write(`.supervisor/bots/mine/incidents/${report.incident}.json`, JSON.stringify(report));
  return rig;
}

test("emergency report shows the newest incident as a page: cause, time, holdings, timeline, orders and what to do", async () => {
  await using rig = rigWith(OLD, NEW);
  const { out, code } = await rig.run(command, "report");
  expect(code).toBe(0);
  expect(out).toContain("1 open order; the positions are worth 56000.00 in all");
  for (const part of [
    "incident new002 of mine: residual, not verified",
    "cause    giveUp: the restart budget was spent",
    "next     look at the account",
    "BTC/USDT:USDT  long  2       56000.00",
    "+0.000 s  proving that the bot is dead",
    "+1.250 s  residual: 1 position left",
    "00:00:00.100  svnew002a  BTC/USDT:USDT  sell  2       2       27990    20.00     12 ms   accepted",
    "slippage in all: 20.00",
    "not ours: order BTC/USDT:USDT 7",
    "never told what became of order svnew002b",
    "throttled: 3",
  ])
    expect(out).toContain(part);
});

test("emergency report shows an older report by its id, and says by itself what to do", async () => {
  await using rig = rigWith(OLD, NEW);
  const { out } = await rig.run(command, "report", "old001");
  expect(out).toContain("incident old001 of mine: flat, verified at the venue");
  expect(out).toContain("supervisor arm mine --reason TEXT");
});

test("emergency report shows what is legible of a report in a format that it does not know", async () => {
  await using rig = rigWith({ ...NEW, version: 9, bot: "mine" } as { incident: string });
  const { out } = await rig.run(command, "report", "mine");
  expect(out).toContain("incident new002 of mine: residual");
  expect(out).toContain("written by another version");
});

test("emergency report --json is the file, and --list has a line for each incident, the newest first", async () => {
  await using rig = rigWith(OLD, NEW);
  rig.write(".supervisor/bots/mine/incidents/broken.json", "{");
  expect(JSON.parse((await rig.run(command, "report", "old001", "--json")).out)).toEqual(OLD);
  const lines = (await rig.run(command, "report", "--list")).out.trim().split("\n");
  expect(lines.map((line) => line.split(/ +/)[0])).toEqual(["INCIDENT", "new002", "old001"]);
});

test("emergency report names an incident that there is not, and the name that is likely meant, also with --list", async () => {
  await using rig = rigWith(OLD);
  const wrong = "cannot find an incident or a bot with one named";
  await expect(rig.run(command, "report", "nothing")).rejects.toThrow(`${wrong} nothing`);
  for (const more of [[], ["--list"]])
    await expect(rig.run(command, "report", "mnie", ...more)).rejects.toThrow(`${wrong} mnie; did you mean "mine"?`);
});

test("emergency report of a bot without an incident says so, and of one that there is not who is likely meant", async () => {
  await using rig = rigWith();
  await expect(rig.run(command, "report", "mine")).rejects.toThrow(
    "there is no report of an incident: nothing was closed yet",
  );
  await expect(rig.run(command, "report", "mnie")).rejects.toThrow('the bots are mine; did you mean "mine"?');
});

test("emergency report --list BOT lists the incidents of that bot", async () => {
  await using rig = rigWith(OLD);
  rig.write(
    ".supervisor/bots/other/incidents/oth001.json",
    JSON.stringify({ ...NEW, incident: "oth001", bot: "other" }),
  );
  const { out } = await rig.run(command, "report", "other", "--list");
  expect(out).toContain("oth001");
  expect(out).not.toContain("old001");
});

/** A close that a person has asked for, and whose incident an order to cancel had opened. */
const LOCK = {
  version: 1,
  bot: "mine",
  account: "main",
  incident: "run003",
  trigger: "operator",
  reason: "a person asked for it",
  later: ["file"],
  lockedAt: "2026-03-01T00:00:00.000Z",
  outcome: null,
  endedAt: null,
  goal: { kind: "flat" },
};

const RUN = { rounds: 1, calls: 1, durationMs: 1 };

test("emergency report shows a close under way as running, before all that have ended", async () => {
  await using rig = rigWith(OLD, NEW, { ...NEW, incident: "run003" });
  rig.write(".supervisor/bots/mine/lock.json", JSON.stringify(LOCK));
  expect((await rig.run(command, "report")).out).toContain("before\n  the account has not been read yet");
  const at = "2026-03-01T00:00:01.000Z";
  const journal = [
    { kind: "begin", version: 1, at, bot: "mine", exchange: "binanceusdm", goal: { kind: "cancel" } },
    { kind: "snapshot", at, round: 1, positions: OLD.before.positions, orders: 1, maxOrders: 60 },
    { kind: "step", at, text: "round 1: cancelling" },
    { kind: "end", at, outcome: "residual", reason: "left", ...RUN, orders: [], errors: { throttled: 4 } },
  ];
  rig.write(".supervisor/bots/mine/incidents/run003.ndjson", journal.map((line) => JSON.stringify(line)).join("\n"));
  const { out, code } = await rig.run(command, "report");
  expect(code).toBe(0);
  for (const part of [
    "incident run003 of mine: RUNNING, its close has not ended",
    "then     file: the emergency file appeared",
    "goal     cancel open orders, and keep the positions and their stops; then close every position",
    "BTC/USDT:USDT  long  2       56000.00",
    "round 1: cancelling",
    "errors\n  throttled: 4",
  ])
    expect(out).toContain(part);
  expect(JSON.parse((await rig.run(command, "report", "mine", "--json")).out)).toMatchObject({
    version: 1,
    incident: "run003",
    running: true,
    outcome: null,
    errors: { throttled: 4 },
  });
  const rows = (await rig.run(command, "report", "--list")).out.trim().split("\n");
  expect(rows.map((row) => row.split(/ +/)[0])).toEqual(["INCIDENT", "run003", "new002", "old001"]);
  expect(rows[1]).toMatch(/ operator, file +running /);
});

test("emergency report shows a close whose lockout only the runtime folder took, and whose journal cannot be read", async () => {
  await using rig = rigWith(OLD);
  rig.write(".supervisor/run/bots/mine.lock.json", JSON.stringify(LOCK));
  mkdirSync(join(rig.dir, ".supervisor/bots/mine/incidents/run003.ndjson"));
  const { out, code } = await rig.run(command, "report");
  expect(code).toBe(0);
  expect(out).toContain("incident run003 of mine: RUNNING, its close has not ended");
  expect((await rig.run(command, "report", "--list")).out).toContain("old001");
});

test("emergency report tells what several runs took, from the first to the end of the last, and the goals of both", async () => {
  const resumed = {
    ...NEW,
    endedAt: "2026-02-01T00:01:00.000Z",
    timeline: [...NEW.timeline, { at: "2026-02-01T00:00:58.000Z", text: "a further run begins" }],
    goals: [{ kind: "cancel" }, { kind: "flat" }],
  };
  await using rig = rigWith(resumed);
  const { out } = await rig.run(command, "report");
  expect(out).toContain("took     60.00 s from the first run to the end of the last, which took 1.25 s");
  expect(out).toContain("keep the positions and their stops; then close every position");
  expect((await rig.run(command, "report", "--list")).out).toContain("60.00 s");
});
