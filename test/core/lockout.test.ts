import { describe, expect, test } from "vitest";
import { FLAT } from "../../src/core/close-goal.ts";
import { gravestLockout, lacksOrder, type Lockout, type LockoutReading } from "../../src/core/lockout.ts";

const lockout = (outcome: Lockout["outcome"]): LockoutReading => ({
  kind: "locked",
  lockout: {
    version: 1,
    bot: "a",
    account: "a",
    incident: `i-${outcome}`,
    trigger: "operator",
    reason: "test",
    lockedAt: "2026-01-01T00:00:00.000Z",
    outcome,
    endedAt: null,
  },
});
const damaged: LockoutReading = { kind: "damaged", reason: "it is not JSON" };
const absent: LockoutReading = { kind: "absent" };

describe("gravestLockout()", () => {
  test.each([
    ["nothing where nothing can be read", [absent, damaged], undefined],
    ["the interrupted close before one that ended", [lockout("flat"), lockout("residual"), lockout(null)], "i-null"],
    ["the one that did not end flat before one that did", [lockout("flat"), lockout("unreadable")], "i-unreadable"],
    ["the only one, whatever is beside it", [absent, damaged, lockout("flat")], "i-flat"],
  ])("answers %s", (_, readings, incident) => {
    expect(gravestLockout(readings)?.incident).toBe(incident);
  });
});

describe("lacksOrder()", () => {
  const cancel = { kind: "cancel" } as const;

  test.each([
    ["of a close that is to do less", { outcome: null, goal: cancel }, FLAT, true],
    ["of a close that has ended", { outcome: "cancelled", goal: cancel }, FLAT, true],
    ["of a close to everything, which goes on", { outcome: null, goal: FLAT }, FLAT, false],
    ["for what goes on as it was", { outcome: "residual" }, undefined, false],
    ["where there is nothing to close with", { outcome: "unsupported" }, FLAT, false],
    ["to do less, of a close that has not ended", { outcome: null }, cancel, false],
  ] as const)("judges the lockout %s", (_, found, ordered, lacks) => {
    expect(lacksOrder(found, ordered)).toBe(lacks);
  });
});
