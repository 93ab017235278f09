/** When a bot's preflights are flown by themselves, on a clock of the test's own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { PreflightReport } from "../../../src/core/preflight.ts";
import type { GuardDeps } from "../../../src/supervisor/runtime/guard/guard.ts";
import { Preflights } from "../../../src/supervisor/runtime/guard/preflights.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const folder = mkdtempSync(join(tmpdir(), "preflights-"));
afterAll(() => rmSync(folder, { recursive: true }));

function reportOf(clock: FakeClock, ok: boolean): PreflightReport {
  const check = { name: "trade", result: ok ? "ok" : "failed", detail: "as the test says" } as const;
  const about = { bot: "bot", account: "bot", exchange: "okx", sandbox: false, at: clock.wallTime().toISOString() };
  return { version: 1, ...about, ok, exitCode: ok ? 0 : 13, durationMs: 1, firstReplyMs: 1, calls: 1, checks: [check] };
}

function rig(dir = mkdtempSync(join(folder, "bot-")), clock = new FakeClock()) {
  const venue = { sound: true, closing: false };
  const facts: string[] = [];
  const flownAtMs: number[] = [];
  const deps = {
    clock,
    random: () => 0.5,
    plan: { files: { dir }, config: { emergency: { preflight: { period: DAY_MS, jitter: HOUR_MS } } } },
    closing: () => venue.closing,
    fact: (level: string, text: string) => facts.push(`${level}: ${text}`),
  };
  // Safe: the preflights read nothing else of what a guard has.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const preflights = new Preflights(deps as unknown as GuardDeps, () => {
    flownAtMs.push(clock.monotonicMs());
    return Promise.resolve(reportOf(clock, venue.sound));
  });
  /** Minute by minute, as many as that is. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= MINUTE_MS / 2) {
      preflights.tick();
      // Safe: each look is over before the clock goes on.
      // oxlint-disable-next-line no-await-in-loop
      await Promise.resolve().then(() => new Promise(setImmediate));
      clock.advance(MINUTE_MS / 2);
    }
  };
  return { dir, clock, venue, preflights, facts, flownAtMs, pass };
}

describe("Preflights", () => {
  test("Preflights flies the first within two minutes of the start, then one in each period and its jitter", async () => {
    const { flownAtMs, pass } = rig();
    await pass(3 * DAY_MS);
    const first = 1.5 * MINUTE_MS;
    const each = DAY_MS + HOUR_MS / 2;
    expect(flownAtMs).toEqual([first, first + each, first + 2 * each]);
  });

  test("Preflights flies again a quarter of an hour after one that failed, and is loud about it once", async () => {
    const { venue, preflights, facts, flownAtMs, pass } = rig();
    venue.sound = false;
    await pass(33 * MINUTE_MS);
    expect(flownAtMs.map((at) => at / MINUTE_MS)).toEqual([1.5, 16.5, 31.5]);
    expect(facts.map((text) => text.split(":")[0])).toEqual(["alert", "warn", "warn"]);
    expect(preflights.status.preflight).toBe("failed");
    venue.sound = true;
    await pass(15 * MINUTE_MS);
    expect(preflights).toMatchObject({ status: { preflight: "ok" }, trouble: undefined });
  });

  test("Preflights of the next daemon goes on with the period of the one before", async () => {
    const before = rig();
    await before.pass(2 * MINUTE_MS);
    before.clock.advance(6 * HOUR_MS);
    const next = rig(before.dir, before.clock);
    expect(next.preflights.status.preflight).toBe("ok");
    await next.pass(DAY_MS);
    expect(next.flownAtMs.map((at) => at - (before.flownAtMs[0] ?? 0))).toEqual([DAY_MS]);
  });

  test("Preflights waits while a close is under way", async () => {
    const { venue, flownAtMs, pass } = rig();
    venue.closing = true;
    await pass(10 * MINUTE_MS);
    expect(flownAtMs).toEqual([]);
    venue.closing = false;
    await pass(2 * MINUTE_MS);
    expect(flownAtMs).toHaveLength(1);
  });
});
