/** What a script learns of the backups from the exit code of `supervisor status`. */
import { expect, test } from "vitest";
import { statusExitCode } from "../../src/core/status-exit.ts";
import type { BackupStatus } from "../../src/core/status.ts";

const backup: BackupStatus = {
  target: "state",
  store: "local",
  kind: "sqlite",
  lastSuccessAt: "2026-01-01T00:00:00.000Z",
  lastDurationSeconds: 1,
  sizeBytes: 1,
  verified: true,
  nextAt: null,
  overdue: false,
  running: false,
  lastError: null,
  failures: 0,
};

test.each([
  ["all is well", {}, 0],
  ["a run is overdue", { overdue: true }, 1],
  ["the last backup was found damaged", { verified: false }, 1],
  ["there is none yet", { verified: false, lastSuccessAt: null }, 0],
  [
    "an older one was found damaged",
    { damaged: [{ id: "state-full-20260101T000000Z-abcdef", reason: "a bit has flipped" }] },
    0,
  ],
])("statusExitCode() when %s", (_, more, code) => {
  expect(statusExitCode({ bots: [], backups: [{ ...backup, ...more }] })).toBe(code);
});
