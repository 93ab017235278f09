/** A bot's look at itself, with its real loop, disk and clock. */
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { watchSelf, type LevelProposal, type SelfWatchOptions } from "../../src/bot/index.ts";

function stall(): void {
  const endMs = performance.now() + 2_000;
  while (performance.now() < endMs);
}

/** What is proposed while `deed` goes on, until something is. */
async function proposed(
  options: Omit<SelfWatchOptions, "propose">,
  deed = (): void => undefined,
): Promise<LevelProposal> {
  const { promise, resolve } = Promise.withResolvers<LevelProposal>();
  const end = watchSelf({ folder: "", ...options, propose: resolve });
  await sleep(200);
  deed();
  try {
    return await promise;
  } finally {
    end();
  }
}

test("watchSelf() degrades a bot whose event loop stood still", { timeout: 60_000 }, async () => {
  const found = await proposed({}, stall);
  expect(found).toMatchObject({ source: "self:loop", level: "degraded" });
  expect(found.reason).toMatch(/^the event loop stood still for up to \d{4,} ms$/);
});

test("watchSelf() proposes minimal while the disk of the state is nearly full", async () => {
  const found = await proposed({ folder: tmpdir(), minFreeRatio: 1, maxLagMs: Infinity });
  expect(found).toMatchObject({ source: "self:disk", level: "minimal" });
});

test("watchSelf() proposes minimal while the clock is off the venue's", async () => {
  const found = await proposed({ maxLagMs: Infinity, venueTime: async () => Date.now() - 3_600_000 });
  expect(found).toMatchObject({ source: "self:clock", level: "minimal" });
  expect(found.reason).toMatch(/^the clock is 3\d{6} ms off the venue's$/);
});

test("watchSelf() proposes nothing of a venue and a disk that cannot be read", { timeout: 60_000 }, async () => {
  const seen: LevelProposal[] = [];
  const asked = Promise.withResolvers<void>();
  const end = watchSelf({
    folder: "/nowhere/at/all",
    maxLagMs: Infinity,
    venueTime: () => {
      asked.resolve();
      throw new Error("it is down");
    },
    propose: (proposal) => seen.push(proposal),
  });
  await asked.promise;
  await sleep(1_500);
  end();
  expect(seen).toEqual([]);
});
