import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Lockout } from "../../../src/core/lockout.ts";
import { filesOf } from "../../../src/supervisor/runtime/bot-plan.ts";
import { cannotWait, kinOf, surveyBots, type Remains } from "../../../src/supervisor/runtime/survey.ts";

const root = mkdtempSync(join(tmpdir(), "survey-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const lockoutOf = (outcome: Lockout["outcome"]): Lockout => ({
  version: 1,
  bot: "a",
  account: "a",
  incident: "a-1",
  trigger: "operator",
  reason: "test",
  lockedAt: "2026-01-01T00:00:00.000Z",
  outcome,
  endedAt: outcome === null ? null : "2026-01-01T00:00:09.000Z",
});

test.each([
  ["no lockout", undefined, false],
  ["a lockout whose account is flat", JSON.stringify(lockoutOf("flat")), false],
  ["a close that was interrupted", JSON.stringify(lockoutOf(null)), true],
  ["a close that left something", JSON.stringify(lockoutOf("residual")), true],
  ["a lockout that cannot be read", "{", true],
])("cannotWait() answers for %s", (name, text, expected) => {
  const stateDir = join(root, name.replaceAll(" ", "-"));
  const dirs = { stateDir, runtimeDir: join(stateDir, "run"), logDir: join(stateDir, "log") };
  const { dir, lockout } = filesOf("a", "a", dirs);
  mkdirSync(dir, { recursive: true });
  if (text !== undefined) writeFileSync(lockout, text);
  expect(surveyBots(dirs).map(cannotWait)).toEqual([expected]);
});

test("kinOf() counts a bot of an unknown account as kin, unless it is in the config or the bot itself", () => {
  const dirs = { stateDir: root, runtimeDir: join(root, "run"), logDir: join(root, "log") };
  const remainsOf = (name: string, account?: string): Remains => ({
    name,
    files: filesOf(name, name, dirs),
    identity: undefined,
    identityReading: { kind: "absent" },
    lockout: account === undefined ? undefined : { ...lockoutOf("flat"), account },
    lockoutFiles: [],
  });
  const remains = [
    remainsOf("bot"),
    remainsOf("renamed", "main"),
    remainsOf("another", "other"),
    // Its supervisor was killed before it could write the identity, or the file is damaged.
    remainsOf("nameless"),
    remainsOf("neighbour"),
  ];
  const kin = kinOf({ name: "bot", account: "main" }, remains, new Set(["bot", "neighbour"]));
  expect(kin.map(({ name }) => name)).toEqual(["renamed", "nameless"]);
});
