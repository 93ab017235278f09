/** What a worker of another version says: between the installation of a binary and its upgrade a daemon starts newer ones. */
import { expect, test } from "vitest";
import { workerLineSchema } from "../../src/core/close-job.ts";
import { reportOf } from "../harness/report-sample.ts";

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

const report = reportOf({ before: { positions: [], orders: 0 }, orders: [order] });

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
