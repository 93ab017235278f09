/** What a script learns of the backups and the state folder from the exit code of `supervisor status`. */
import { expect, test } from "vitest";
import { statusExitCode } from "../../src/core/status-exit.ts";
import type { BackupStatus } from "../../src/core/status.ts";
import { botStatusOf } from "../harness/status.ts";

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
  ["all is well", {}, {}, 0],
  ["a newer daemon says that all is well", { journal: null, stateFolder: null }, { owed: null }, 0],
  ["lines of the journal are lost", { journal: "cannot write to the journal: ENOSPC" }, {}, 1],
  ["the state folder was moved", { stateFolder: "the state folder is away" }, {}, 1],
  ["a port is taken", { listen: "cannot listen on :8000" }, {}, 1],
  ["the disk has not taken a report", {}, { owed: "the disk has not taken the report" }, 1],
])("statusExitCode() when %s", (_, supervisor, more, code) => {
  const { emergency } = botStatusOf();
  const bots = [botStatusOf({ emergency: { ...emergency, ...more } })];
  expect(statusExitCode({ supervisor, bots, backups: [] })).toBe(code);
});

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
  expect(statusExitCode({ supervisor: {}, bots: [], backups: [{ ...backup, ...more }] })).toBe(code);
});
