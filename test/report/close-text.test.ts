import { expect, test } from "vitest";
import { closeEndText, closeText } from "../../src/report/close-text.ts";
import { incidentText } from "../../src/report/incident-text.ts";
import { reportOf } from "../harness/report-sample.ts";

const report = reportOf({
  outcome: "residual",
  reason: "the venue said\n\u001B[31mno",
  verified: false,
  foreign: ["order \u009B1A by somebody"],
});

test("closeText() blanks what a venue says to the terminal", () => {
  expect(closeText(report)).toBe(
    "incident abc123: residual after 1.5 s, 2 rounds: the venue said  [31mno\n  not ours: order  1A by somebody",
  );
});

const btc = { symbol: "BTC/USDT:USDT", side: "long" as const, amount: 1, hedged: false };

test("closeText() counts in the singular", () => {
  expect(closeText({ ...report, rounds: 1, foreign: [] })).toContain("after 1.5 s, 1 round: ");
  const plan = closeText({ ...report, mode: "plan", before: { positions: [btc], orders: 1 } });
  expect(plan).toBe(
    [
      "an emergency close of account main on binanceusdm would cancel 1 open order and close:",
      "  SYMBOL         SIDE  AMOUNT  NOTIONAL  ORDER",
      "  BTC/USDT:USDT  long  1       -         sell 1",
    ].join("\n"),
  );
});

test("closeText() says what was not looked at when the close is limited to symbols", () => {
  const scope = ["A", "B", "C", "D"];
  const note = "\n  configured symbols: A, B, C, D; other symbols were not looked at";
  expect(closeText({ ...report, scope })).toContain(note);
  const plan = { ...report, mode: "plan" as const, scope };
  expect(closeText({ ...plan, before: { positions: [btc], orders: 0 } })).toContain(note);
  expect(closeText({ ...plan, before: { positions: [], orders: 0 } })).toBe(
    "account main on binanceusdm is flat for the configured symbols (A, B, C and 1 more); other symbols were not looked at",
  );
});

test("closeEndText() gives the reason of a close that made no report", () => {
  const end = { bot: "bot", incident: "abc123", outcome: "failed", report: null };
  expect(closeEndText({ ...end, detail: "cannot read the key" })).toBe(
    "incident abc123: failed, without a report: cannot read the key\n  see: supervisor events --bot bot",
  );
  expect(closeEndText({ ...end, detail: null })).toContain("the reason is not known");
});

test("closeText() tells the orders that are gone, and counts one as one", () => {
  const before = { positions: [], orders: 1 };
  const flat = { ...report, rounds: 1, foreign: [], reason: "done" };
  const told = "incident abc123: residual after 1.5 s, 1 round: done";
  expect(closeText({ ...flat, before, after: { positions: [], orders: 0 } })).toBe(`${told}\n  cancelled 1 open order`);
  expect(closeText({ ...flat, before: { ...before, orders: 3 }, after: { positions: [], orders: 0 } })).toBe(
    `${told}\n  cancelled 3 open orders`,
  );
  expect(closeText({ ...flat, before, after: { positions: [], orders: 1 } })).toBe(told);
  expect(closeText({ ...flat, before, after: null })).toBe(told);
  expect(closeText({ ...flat, mode: "plan", before })).toContain("would cancel 1 open order and close:");
});

test("closeText() tells of a plan that leaves positions open what would be sent, and what would stay", () => {
  const before = { positions: [{ ...btc, notional: 100 }], orders: 3 };
  const planned = { positions: [{ ...btc, amount: 0.5 }], orders: 2 };
  const plan = { ...report, mode: "plan" as const, before, planned };
  expect(closeText({ ...plan, goal: { kind: "reduce", exposure: 50 } })).toBe(
    [
      "an emergency close of account main on binanceusdm would cancel 2 open orders and reduce, to an exposure of 50:",
      "  SYMBOL         SIDE  AMOUNT  NOTIONAL  ORDER",
      "  BTC/USDT:USDT  long  1       100.00    sell 0.5",
    ].join("\n"),
  );
  expect(closeText({ ...plan, goal: { kind: "cancel" } })).toContain("keep these positions and their stops:");
});

test("incidentText() shows the style of a close, and the price at which an order waited", () => {
  const sent = {
    id: "svabc1",
    symbol: "BTC/USDT:USDT",
    side: "sell" as const,
    positionSide: "long" as const,
    amount: 1,
  };
  const order = { ...sent, outcome: "accepted" as const, sentAt: "2026-01-01T00:00:00.000Z", ackMs: 9, filled: 0.4 };
  const page = incidentText({ ...report, style: "limit-then-market", orders: [{ ...order, restedAt: 60_000.5 }] });
  expect(page).toContain("  style    limit-then-market\n");
  expect(page).toContain("accepted, waited at 60000.5");
});
