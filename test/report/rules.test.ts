/** The alert rules that are shipped, and the pages that show some, name metrics that exist and mean something. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { METRICS } from "../../src/report/metrics.ts";
import { promtool } from "../harness/promtool.ts";

const root = join(import.meta.dirname, "../..");
const RULES = "config/prometheus/tradingbot.rules.yml";

test.each([RULES, "docs/monitoring.md"])("%s names only metrics that there are", (file) => {
  const text = readFileSync(join(root, file), "utf8");
  const named = [
    ...text.matchAll(/\b(?:supervisor_(?:bot|probe|journal|build|health|uptime)|trading_bot|process)_[a-z_]+\b/g),
  ];
  const known = new Set(METRICS.map(({ name }) => name));
  expect(named.length).toBeGreaterThan(0);
  expect(named.map(([name]) => name).filter((name) => !known.has(name))).toEqual([]);
});

test.skipIf(promtool === undefined)(
  "promtool check rules accepts the rules that are shipped (skipped where no promtool is installed)",
  () => {
    const command = [promtool ?? "", "check", "rules", "--lint=all", "--lint-fatal", join(root, RULES)];
    const { exitCode, stdout, stderr } = Bun.spawnSync(command);
    expect(`${stdout.toString()}${stderr.toString()}`).toMatch(/SUCCESS: \d+ rules found/);
    expect(exitCode).toBe(0);
  },
);
