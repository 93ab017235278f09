/** An open breaker as a wish for a level. */
import { expect, test } from "vitest";
import { proposeWhileOpen } from "../../src/bot/breaker-level.ts";
import { Breaker } from "../../src/bot/breaker.ts";
import type { LevelProposal } from "../../src/bot/ports.ts";

test("proposeWhileOpen() proposes while the breaker is not closed, more when that lasts, and takes it back", () => {
  const clock = { ms: 0 };
  const breaker = new Breaker("api", { openJitter: 0, openMs: 60_000 }, { now: () => clock.ms });
  const seen: LevelProposal[] = [];
  proposeWhileOpen(breaker, "degraded", (proposal) => seen.push(proposal), {
    now: () => clock.ms,
    after: () => () => undefined,
  });
  breaker.trip(undefined, "down");
  for (let probe = 0; probe < 2; probe += 1) {
    clock.ms += 60_000;
    breaker.tryEnter()?.exit(new Error("still down"));
  }
  breaker.reset();
  expect(seen.map(({ level, ttlMs }) => [level, ttlMs])).toEqual([
    ["degraded", 120_000],
    ["degraded", 60_000],
    ["degraded", 120_000],
    ["minimal", 60_000],
    ["minimal", 120_000],
    ["normal", 0],
  ]);
  expect(seen[0]).toMatchObject({ source: "breaker:api", reason: "down" });
});

test("proposeWhileOpen() proposes more of a breaker that simply stays open, and at once of one that was open before", () => {
  const clock = { ms: 0 };
  const timers = new Set<{ readonly atMs: number; readonly run: () => void }>();
  const after = (ms: number, run: () => void) => {
    const timer = { atMs: clock.ms + ms, run };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  const pass = (ms: number): void => {
    clock.ms += ms;
    for (const timer of [...timers].filter(({ atMs }) => atMs <= clock.ms)) {
      timers.delete(timer);
      timer.run();
    }
  };
  const breaker = new Breaker("api", {}, { now: () => clock.ms });
  breaker.trip(3_600_000, "banned");
  const seen: LevelProposal[] = [];
  const end = proposeWhileOpen(breaker, "degraded", (proposal) => seen.push(proposal), { now: () => clock.ms, after });
  pass(119_999);
  pass(1);
  breaker.reset();
  breaker.trip(3_600_000, "banned");
  end();
  pass(600_000);
  expect(seen.map(({ level }) => level)).toEqual(["degraded", "minimal", "normal", "degraded"]);
  expect(seen[1]?.ttlMs).toBe(3_600_000 - 120_000 + 60_000);
});
