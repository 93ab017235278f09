/** The machine's first minute: what a bot lacks may be about to come, so nothing closes positions by itself. */
import { describe, expect, test } from "vitest";
import { Life, MIN, S } from "./lifecycle-life.ts";

const emergency = { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] } as const;
const budget = { intensity: 1, period: 10 * MIN };
const booting = { budget, emergency: { ...emergency, bootEndsAtMs: 40 * S } };

describe("step() in the machine's first minute", () => {
  test("counts no restart against the budget, and every one afterwards, without being told of its end", () => {
    const life = new Life(booting).run().die().comeBack().die().comeBack().die();
    expect(life.state).toMatchObject({ kind: "backoff", restarts: 2, log: [] });
    life.atMs = 40 * S;
    expect(life.comeBack().die().state.kind).toBe("backoff");
    expect(life.comeBack().die().state).toMatchObject({ kind: "recovering", trigger: "giveUp" });
  });

  test.each([
    ["at its begin", 0, 5 * MIN + 40 * S],
    ["shortly before its end", 39 * S, 5 * MIN + S],
    ["after it", 41 * S, 5 * MIN],
  ])("counts closeAfter from its end: for what happens %s", (_when, atMs, delayMs) => {
    const life = new Life(booting);
    life.atMs = atMs;
    expect(life.on("start").delay("closeAfter")).toBe(delayMs);
  });

  test("restarts for a probe that would close", () => {
    const life = new Life(booting).run().on("failing", { action: "emergency" });
    expect(life.state).toMatchObject({ kind: "stopping", after: { kind: "restart" } });
  });

  test("closes by a person's order, by the file and by the signal", () => {
    for (const trigger of ["operator", "file", "signal", "environment"] as const)
      expect(new Life(booting).run().on("emergency", { trigger }).state).toMatchObject({ after: { kind: "recover" } });
  });

  test("goes on with a close that the end of the machine has interrupted", () => {
    expect(new Life(booting).on("lockFound", { outcome: undefined }).state.kind).toBe("recovering");
  });
});
