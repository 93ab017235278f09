/** An open breaker as a wish for a level. */
import { expect, test } from "vitest";
import { proposeWhileOpen } from "../../src/bot/breaker-level.ts";
import { Breaker } from "../../src/bot/breaker.ts";
import type { LevelProposal } from "../../src/bot/ports.ts";

test("proposeWhileOpen() proposes while the breaker is not closed, more when that lasts, and takes it back", () => {
  const clock = { ms: 0 };
  const breaker = new Breaker("api", { openJitter: 0, openMs: 60_000 }, { now: () => clock.ms });
  const seen: LevelProposal[] = [];
  proposeWhileOpen(
    breaker,
    "degraded",
    (proposal) => seen.push(proposal),
    () => clock.ms,
  );
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
