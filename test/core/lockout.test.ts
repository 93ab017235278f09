import { describe, expect, test } from "vitest";
import { gravestLockout, type Lockout, type LockoutReading } from "../../src/core/lockout.ts";

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
