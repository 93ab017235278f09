/** The journal of an incident folds to where a restarted close goes on, whatever the end of the file looks like. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CloseReport, SentOrder } from "../../src/core/close-job.ts";
import { clientOrderId, foldIncident } from "../../src/core/incident.ts";
import type { IncidentLine } from "../../src/core/incident.ts";

const AT = "2026-01-02T03:04:05.000Z";

function order(seq: number, outcome: SentOrder["outcome"]): SentOrder {
  const id = clientOrderId("abc123", 1, seq);
  return { id, symbol: "S0", side: "sell", positionSide: "long", amount: 1, outcome, sentAt: AT, ackMs: 0 };
}

function report(outcome: CloseReport["outcome"]): CloseReport {
  return {
    version: 1,
    incident: "abc123",
    bot: "momentum",
    account: "main",
    trigger: "giveUp",
    mode: "close",
    exchange: "binanceusdm",
    outcome,
    reason: "",
    startedAt: AT,
    durationMs: 1,
    rounds: 1,
    calls: 1,
    verified: outcome === "flat",
    quietMs: 0,
    before: null,
    after: null,
    orders: [],
    dust: [],
    foreign: [],
    errors: {},
    fence: { proven: true, pids: [], ms: 0 },
  };
}

const lines: IncidentLine[] = [
  { kind: "begin", version: 1, at: AT, bot: "momentum", exchange: "binanceusdm" },
  { kind: "snapshot", at: AT, round: 1, positions: [], orders: 2, maxOrders: 60 },
  { kind: "intent", at: AT, round: 1, seq: 1, order: order(1, "unknown") },
  { kind: "intent", at: AT, round: 2, seq: 2, order: order(2, "unknown") },
  { kind: "outcome", at: AT, order: order(1, "accepted") },
  { kind: "snapshot", at: AT, round: 2, positions: [], orders: 0, maxOrders: 50 },
];
const text = (list: readonly IncidentLine[]): string => list.map((line) => `${JSON.stringify(line)}\n`).join("");

const end = (outcome: CloseReport["outcome"]): IncidentLine => ({ kind: "end", at: AT, report: report(outcome) });

describe("foldIncident()", () => {
  test("foldIncident() keeps the first snapshot, the last numbers, and an order without outcome as unknown", () => {
    expect(foldIncident(text(lines))).toMatchObject({
      startedAt: AT,
      before: { positions: [], orders: 2 },
      maxOrders: 60,
      lastRound: 2,
      lastSeq: 2,
      orders: [{ outcome: "accepted" }, { outcome: "unknown" }],
      flat: undefined,
      damaged: 0,
    });
  });

  test("foldIncident() never throws on a journal cut at any byte, and loses at most the last line", () => {
    const whole = text(lines);
    fc.assert(
      fc.property(fc.nat(whole.length), (length) => {
        const history = foldIncident(whole.slice(0, length));
        const complete = whole.slice(0, length).split("\n").length - 1;
        const intents = lines.slice(0, complete).filter(({ kind }) => kind === "intent").length;
        expect(history.lastSeq).toBeGreaterThanOrEqual(intents);
        expect(history.damaged).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("foldIncident() reads on behind a torn line in the middle", () => {
    const torn = `${text(lines.slice(0, 3))}{"kind":"inte\n${text(lines.slice(3))}`;
    expect(foldIncident(torn)).toMatchObject({ lastSeq: 2, damaged: 1 });
  });

  test("foldIncident() says that the incident is over only when its last run ended flat", () => {
    expect(foldIncident(text([...lines, end("flat")])).flat?.outcome).toBe("flat");
    expect(foldIncident(text([...lines, end("residual")])).flat).toBeUndefined();
    expect(foldIncident(text([...lines, end("flat"), end("foreign")])).flat).toBeUndefined();
  });
});

describe("clientOrderId()", () => {
  test("clientOrderId() is at most 24 letters and digits and differs for every order of an incident", () => {
    const seqs = fc.integer({ min: 0, max: 36 ** 4 - 1 });
    const rounds = fc.integer({ min: 0, max: 100_000 });
    fc.assert(
      fc.property(seqs, seqs, rounds, rounds, (a, b, roundA, roundB) => {
        const first = clientOrderId("abcdefghijkl", roundA, a);
        expect(first).toMatch(/^sv[a-z0-9]{1,22}$/);
        expect(first === clientOrderId("abcdefghijkl", roundB, b)).toBe(
          a === b && roundA % 36 ** 3 === roundB % 36 ** 3,
        );
      }),
    );
  });
});
