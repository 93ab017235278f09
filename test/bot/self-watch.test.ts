/** A bot's look at itself, with its real loop, disk and clock. */
import { tmpdir } from "node:os";
import { afterEach, expect, test, vi } from "vitest";
import { watchSelf, type LevelProposal, type SelfWatchOptions } from "../../src/bot/index.ts";

afterEach(() => void vi.useRealTimers());

function stall(): void {
  const endMs = performance.now() + 2_000;
  while (performance.now() < endMs);
}

/** The first proposal of a watch that `deed` follows; the test's own timeout is the deadline. */
async function proposed(
  options: Omit<SelfWatchOptions, "propose">,
  deed = (): void => undefined,
): Promise<LevelProposal> {
  const { promise, resolve } = Promise.withResolvers<LevelProposal>();
  const end = watchSelf({ folder: "", ...options, propose: resolve });
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

test("watchSelf() proposes nothing of a venue and a disk that cannot be read, and goes on asking", async () => {
  const seen: LevelProposal[] = [];
  let asked = 0;
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const end = watchSelf({
    folder: "/nowhere/at/all",
    maxLagMs: Infinity,
    venueTime: () => {
      asked += 1;
      throw new Error("it is down");
    },
    propose: (proposal) => seen.push(proposal),
  });
  for (let minute = 0; minute < 3; minute += 1) {
    await vi.advanceTimersByTimeAsync(60_000);
    // One that was begun later and has something to say of its disk has said it: the one before has no less read its own.
    await proposed({ folder: tmpdir(), minFreeRatio: 1, maxLagMs: Infinity });
  }
  end();
  expect([seen, asked]).toEqual([[], 4]);
});
