/** What a worker of another version says: between the installation of a binary and its upgrade a daemon starts newer ones. */
import { expect, test } from "vitest";
import { workerLineSchema, type CloseReport } from "../../src/core/close-job.ts";

const order = {
  id: "a",
  symbol: "BTC/USDT:USDT",
  side: "sell",
  positionSide: "long",
  amount: 1,
  outcome: "accepted",
  sentAt: "2026-01-01T00:00:00.000Z",
  ackMs: 9,
} as const;

const report: CloseReport = {
  version: 1,
  incident: "abc123",
  bot: "bot",
  account: "main",
  trigger: "operator",
  mode: "close",
  exchange: "binanceusdm",
  outcome: "flat",
  reason: "the venue shows no position and no order",
  startedAt: "2026-01-01T00:00:00.000Z",
  durationMs: 1_500,
  rounds: 2,
  calls: 3,
  verified: true,
  quietMs: 0,
  before: { positions: [], orders: 0 },
  after: null,
  orders: [order],
  dust: [],
  foreign: [],
  errors: {},
  fence: { proven: true, pids: [], ms: 0 },
};

test("workerLineSchema takes a report that says more than it knows, and leaves that out", () => {
  const newer = {
    ...report,
    weather: "fine",
    before: { ...report.before, mood: 3 },
    orders: [{ ...order, colour: "red" }],
    fence: { ...report.fence, height: 2 },
  };
  expect(workerLineSchema.parse({ kind: "result", report: newer, more: true })).toEqual({ kind: "result", report });
});

test("workerLineSchema takes no report of another form", () => {
  expect(workerLineSchema.safeParse({ kind: "result", report: { ...report, version: 2 } }).success).toBe(false);
  expect(workerLineSchema.safeParse({ kind: "result", report: { ...report, verified: undefined } }).success).toBe(
    false,
  );
});
