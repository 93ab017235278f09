/** A close whose venue shows no account: what is said of it, and for how long a plan waits. */
import { expect, test } from "vitest";
import { holdings, speedClock, startRig, VENUES } from "./rig.ts";

/** Nobody listens there: tcpmux is not used any more, and the kernel gives no test a port below 1024. */
const CLOSED_PORT = "http://127.0.0.1:1";

test.concurrent("closePositions() names the reading, the address and the answer of a venue that shows no positions", async () => {
  await using rig = startRig({ symbols: 1 });
  await rig.control("seed", holdings(1));
  await rig.control("fault", { match: VENUES.binance.positions, kind: "http", status: 503, times: 1_000 });
  const reports = [
    await rig.close({ mode: "plan", venue: { timeoutMs: 300 } }),
    await rig.close({ venue: { timeoutMs: 300 } }),
  ];
  const text = `cannot read the positions at ${rig.paper.url}: it answered with status 503`;
  expect(reports.map(({ reason }) => reason)).toEqual([
    `${text}; look at the account by hand`,
    `${text}: the venue did not show positions; look at the account by hand`,
  ]);
});

test.concurrent("closePositions() in mode plan gives refused connections 5 s", async () => {
  await using rig = startRig();
  const venue = { endpoint: CLOSED_PORT, timeoutMs: 3_600_000 };
  const report = await rig.close({ mode: "plan", venue }, { clock: speedClock(5) });
  expect(report.reason).toContain("connection refused");
  expect(report.durationMs).toBeGreaterThanOrEqual(5_000);
  // As below: three seconds for a busy machine.
  expect(report.durationMs).toBeLessThan(20_000);
});

test.concurrent("closePositions() in mode plan gives a silent venue 20 s, whatever the close's own time is", async () => {
  await using rig = startRig();
  using silent = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: () => new Promise<never>(() => undefined),
  });
  const venue = { endpoint: `http://127.0.0.1:${silent.port}`, timeoutMs: 3_600_000 };
  const report = await rig.close({ mode: "plan", venue }, { clock: speedClock(5) });
  expect(report).toMatchObject({ outcome: "unreadable", verified: false });
  expect(report.reason).toBe(
    `cannot read the markets at ${venue.endpoint}: no answer in time; look at the account by hand`,
  );
  expect(report.durationMs).toBeGreaterThanOrEqual(20_000);
  // The clock runs 5 times as fast, so this allows four seconds for a busy machine.
  expect(report.durationMs).toBeLessThan(40_000);
});
