/** The journal of an incident folds to where a restarted close goes on, whatever the end of the file looks like. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FLAT, type CloseGoal } from "../../src/core/close-goal.ts";
import type { CloseOutcome, SentOrder } from "../../src/core/close-job.ts";
import { carryHistory, clientOrderId, IncidentFold, inTime, runName, RUN_NAMES } from "../../src/core/incident.ts";
import type { IncidentHistory, IncidentLine, Step } from "../../src/core/incident.ts";

const AT = "2026-01-02T03:04:05.000Z";

function order(seq: number, outcome: SentOrder["outcome"]): SentOrder {
  const id = clientOrderId("abc123", "run001", seq);
  return { id, symbol: "S0", side: "sell", positionSide: "long", amount: 1, outcome, sentAt: AT, ackMs: 0 };
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

function fold(journal: string): IncidentHistory {
  const history = new IncidentFold();
  for (const line of journal.split("\n")) history.add(line);
  return history.history;
}

function end(outcome: CloseOutcome): IncidentLine {
  return { kind: "end", at: AT, outcome, reason: "", rounds: 1, calls: 1, durationMs: 1, orders: [] };
}

test("IncidentFold tells the goals of all runs in their order, also when it was carried", () => {
  const run = (goal: CloseGoal): IncidentLine => ({
    kind: "begin",
    version: 1,
    at: AT,
    bot: "momentum",
    exchange: "binanceusdm",
    goal,
  });
  const history = fold(text([run({ kind: "cancel" }), run({ kind: "cancel" }), run(FLAT)]));
  expect(history.goals).toEqual([{ kind: "cancel" }, FLAT]);
  expect(fold(text(carryHistory(history, AT))).goals).toEqual(history.goals);
});

test("IncidentFold keeps the errors that the last run to end has told, also when it was carried, and with ends that tell none", () => {
  const ended = { ...end("residual"), errors: { auth: 1, unknown: 2 } };
  expect(fold(text(lines)).errors).toEqual({});
  const history = fold(text([...lines, ended, end("unreadable")]));
  expect(history.errors).toEqual({ auth: 1, unknown: 2 });
  expect(fold(text(carryHistory(history, AT))).errors).toEqual(history.errors);
});

function stepAt(second: number, said: string): Step {
  return { at: `2026-01-02T03:04:0${second}.000Z`, text: said };
}

test("inTime() tells steps in the order of time, those of one moment as they were written", () => {
  const steps = inTime([stepAt(3, "c"), stepAt(3, "d"), stepAt(1, "a"), stepAt(2, "b")]);
  expect(steps.map((each) => each.text)).toEqual(["a", "b", "c", "d"]);
});

describe("IncidentFold", () => {
  test("IncidentFold keeps the first snapshot, the last numbers, and an order without outcome as unknown", () => {
    expect(fold(text(lines))).toMatchObject({
      startedAt: AT,
      before: { positions: [], orders: 2 },
      lastRound: 2,
      lastSeq: 2,
      orders: [{ outcome: "accepted" }, { outcome: "unknown" }],
      endedFlat: false,
      damaged: 0,
    });
  });

  test("IncidentFold tells the timeline of all runs, the oldest and the newest lines of it, also when it was carried", () => {
    const run = (n: number): IncidentLine[] => [
      { kind: "begin", version: 1, at: AT, bot: "momentum", exchange: "binanceusdm" },
      { kind: "step", at: AT, text: `round ${n}` },
      end("residual"),
    ];
    const all = fold(text([...run(1), ...run(2)]));
    expect(all.steps.map((each) => each.text)).toEqual([
      "round 1",
      "residual: ",
      "a further run begins",
      "round 2",
      "residual: ",
    ]);
    const long = fold(text(Array.from({ length: 1_000 }, (_, n) => run(n)).flat()));
    expect(long.steps).toHaveLength(400);
    expect([long.steps[0]?.text, long.steps.at(-2)?.text]).toEqual(["round 0", "round 999"]);
    expect(fold(text(carryHistory(long, AT))).steps).toEqual(long.steps);
  });

  test("IncidentFold never throws on a journal cut at any byte, and loses at most the last line", () => {
    const whole = text(lines);
    fc.assert(
      fc.property(fc.nat(whole.length), (length) => {
        const history = fold(whole.slice(0, length));
        const complete = whole.slice(0, length).split("\n").length - 1;
        const intents = lines.slice(0, complete).filter(({ kind }) => kind === "intent").length;
        expect(history.lastSeq).toBeGreaterThanOrEqual(intents);
        expect(history.damaged).toBeLessThanOrEqual(1);
      }),
    );
  });

  test("IncidentFold reads on behind a torn line in the middle", () => {
    const torn = `${text(lines.slice(0, 3))}{"kind":"inte\n${text(lines.slice(3))}`;
    expect(fold(torn)).toMatchObject({ lastSeq: 2, damaged: 1 });
  });

  test("IncidentFold says that the incident ended flat only when its last run did", () => {
    expect(fold(text([...lines, end("flat")]))).toMatchObject({ endedFlat: true, reopened: false });
    expect(fold(text([...lines, end("residual")])).endedFlat).toBe(false);
    expect(fold(text([...lines, end("flat"), end("foreign")])).endedFlat).toBe(false);
  });

  test.each(lines.slice(1, 3))("IncidentFold forgets the flat end once a later run journaled $kind", (line) => {
    expect(fold(text([...lines, end("flat"), line]))).toMatchObject({ endedFlat: false, reopened: true });
  });

  test("IncidentFold keeps the newest 1 000 orders and all numbers", () => {
    const many = Array.from({ length: 1_500 }, (_, n): IncidentLine => {
      return { kind: "intent", at: AT, round: n, seq: n + 1, order: order(n + 1, "unknown") };
    });
    const history = fold(text(many));
    expect(history.lastSeq).toBe(1_500);
    expect(history.orders.map(({ id }) => id)).toEqual(many.slice(500).map((_, n) => order(n + 501, "unknown").id));
  });
});

describe("carryHistory()", () => {
  test("carryHistory() gives lines that fold to the same history", () => {
    for (const last of [[], [end("flat")], [end("flat"), ...lines.slice(1, 3)]]) {
      const history = fold(text([...lines, ...last]));
      expect(fold(text(carryHistory(history, AT)))).toEqual(history);
    }
    const nothing = fold("");
    expect(fold(text(carryHistory(nothing, AT)))).toEqual(nothing);
  });
});

describe("clientOrderId()", () => {
  test("clientOrderId() is at most 24 letters and digits and differs for every order of every run of an incident", () => {
    const seqs = fc.integer({ min: 0, max: 36 ** 4 - 1 });
    const runs = fc.integer({ min: 0, max: RUN_NAMES - 1 });
    fc.assert(
      fc.property(seqs, seqs, runs, runs, (a, b, runA, runB) => {
        const first = clientOrderId("abcdefghijkl", runName(runA), a);
        expect(first).toMatch(/^sv[a-z0-9]{22}$/);
        expect(first === clientOrderId("abcdefghijkl", runName(runB), b)).toBe(a === b && runA === runB);
      }),
    );
  });
});
