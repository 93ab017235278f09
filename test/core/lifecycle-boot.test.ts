/** The machine's first minute: what a bot lacks may be about to come, so nothing closes positions by itself. */
import { describe, expect, test } from "vitest";
import type { Policy } from "../../src/core/lifecycle-types.ts";
import { Life, MIN, S } from "./lifecycle-life.ts";

const emergency = { closeAfter: 5 * MIN, onGiveUp: true, ladder: ["close-positions"] } as const;
const budget = { intensity: 1, period: 10 * MIN };
const booting = { budget, emergency: { ...emergency, bootLeftMs: 40 * S } };

/** `life`, as it goes on under a policy that differs by `fields`. */
function under(life: Life, fields: Partial<Policy>): Life {
  const next = new Life({ ...life.policy, ...fields });
  next.state = life.state;
  next.atMs = life.atMs;
  return next;
}

describe("step() in the machine's first minute", () => {
  test("counts no restart against the budget, and every one afterwards", () => {
    const life = new Life(booting).run().die().comeBack().die().comeBack().die();
    expect(life.state).toMatchObject({ kind: "backoff", restarts: 3, log: [] });
    const later = under(life, { emergency }).comeBack().die();
    expect(later.state.kind).toBe("backoff");
    expect(later.comeBack().die().state).toMatchObject({ kind: "recovering", trigger: "giveUp" });
  });

  test("counts closeAfter from its end", () => {
    expect(new Life(booting).on("start").delay("closeAfter")).toBe(5 * MIN + 40 * S);
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
