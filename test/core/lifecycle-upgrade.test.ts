/** What the lifecycle goes on with after an upgrade of the supervisor. */
import { describe, expect, test } from "vitest";
import { initialState } from "../../src/core/lifecycle.ts";
import { basePolicy, Life, S } from "./lifecycle-life.ts";

describe("step() after an upgrade", () => {
  test("goes on with a backoff that was handed over, and spends no budget for its restart again", () => {
    const life = new Life();
    life.state = { ...initialState, attempt: 3, restarts: 7, log: [{ atMs: 1, count: 1 }], closeClock: "counting" };
    life.on("backoffFound", { leftMs: 4 * S });
    expect(life.state).toMatchObject({
      kind: "backoff",
      wanted: true,
      startAtMs: 4 * S,
      attempt: 3,
      restarts: 7,
      log: [{ atMs: 1, count: 1 }],
    });
    expect(life.deeds()).toEqual(["setTimer backoff"]);
    life.on("elapsed", { timer: "backoff" });
    expect(life.state).toMatchObject({
      kind: "starting",
      generation: 1,
      attempt: 3,
      restarts: 8,
      log: [{ atMs: 1, count: 1 }],
    });
  });

  test("counts closeAfter from the handover of a backoff where it did not count before", () => {
    const life = new Life().on("backoffFound");
    expect(life.state.closeClock).toBe("counting");
    expect(life.deeds()).toEqual(["setTimer closeAfter", "setTimer backoff"]);
  });

  test("waits no longer than the cap of a config that was changed with the upgrade", () => {
    const { backoff } = basePolicy;
    const life = new Life({ backoff: { ...backoff, cap: 3 * S } }).on("backoffFound", { leftMs: 40 * S });
    expect(life.delay("backoff")).toBe(3 * S);
  });
});
