/** What a plan says of a locked account: only what it saw whole, and after the close. */
import { expect, test } from "vitest";
import { isNewer, isOpen, lookOf } from "../../src/core/account-look.ts";
import type { CloseReport } from "../../src/core/close-job.ts";
import { reportOf } from "../harness/report-sample.ts";

const lockout = { incident: "abc", endedAt: "2026-01-01T00:00:10.000Z" };
const seen: Partial<CloseReport> = {
  outcome: "planNotEmpty",
  startedAt: "2026-01-01T00:01:00.000Z",
  endedAt: "2026-01-01T00:01:02.000Z",
  before: { positions: [], orders: 0 },
  after: { positions: [{ symbol: "BTC/USDT:USDT", side: "long", amount: 1, hedged: false }], orders: 2 },
};
const look = { version: 1, incident: "abc", at: "2026-01-01T00:01:02.000Z", positions: 1, orders: 2, loans: 0 };

test("lookOf() counts what the newest reading showed", () => {
  expect(lookOf(reportOf(seen), lockout)).toEqual(look);
});

test.each<[string, Partial<CloseReport>]>([
  ["could not read all of the account", { outcome: "unreadable" }],
  ["read nothing", { after: null }],
  ["began before the close had ended", { startedAt: "2026-01-01T00:00:09.000Z" }],
])("lookOf() says nothing for a plan that %s", (_, change) => {
  expect(lookOf(reportOf({ ...seen, ...change }), lockout)).toBeUndefined();
});

test("lookOf() says nothing while the close has not ended", () => {
  expect(lookOf(reportOf(seen), { ...lockout, endedAt: null })).toBeUndefined();
});

test("isNewer() is true for a look at the same incident since its close, and for no other", () => {
  const one = { ...look, version: 1 as const };
  expect(isNewer(one, lockout)).toBe(true);
  expect(isNewer(one, { ...lockout, incident: "another" })).toBe(false);
  expect(isNewer(one, { ...lockout, endedAt: "2026-01-01T00:02:00.000Z" })).toBe(false);
  expect(isNewer(one, { ...lockout, endedAt: null })).toBe(false);
});

test("isOpen() is true for a position, an order or a loan", () => {
  expect(isOpen({ positions: 0, orders: 0, loans: 0 })).toBe(false);
  for (const one of ["positions", "orders", "loans"])
    expect(isOpen({ positions: 0, orders: 0, loans: 0, [one]: 1 })).toBe(true);
});
