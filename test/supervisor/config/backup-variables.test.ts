/** The variables of older scripts, where the section of backups does not say. */
import { expect, test } from "vitest";
import { withVariables } from "../../../src/supervisor/runtime/config/variables.ts";

const ENV = { BACKUP_DIR: "/backups", RETENTION_DAYS: "7", DATABASE_PATH: "/bot.db" };

test("withVariables() fills stores, retention and a database's path from the variables of older scripts", () => {
  const { root, wordsOf } = withVariables({ backups: { targets: { state: { kind: "sqlite" } } } }, ENV);
  expect(root).toEqual({
    backups: {
      stores: { local: { kind: "directory", path: "/backups" } },
      retention: { daily: "7d" },
      targets: { state: { kind: "sqlite", path: "/bot.db" } },
    },
  });
  expect(wordsOf(["backups", "retention", "daily"])).toContain("RETENTION_DAYS");
});

test("withVariables() leaves what the section of backups says, and adds none where there is none", () => {
  const backups = { stores: {}, retention: {}, targets: { state: { kind: "sqlite", path: "own.db" } } };
  expect(withVariables({ backups }, ENV).root).toEqual({ backups });
  expect(withVariables({}, ENV).root).toEqual({});
});
