/** Which venues have a dead-man switch, when it must not be armed, and whose countdowns are set. */
import { expect, test } from "vitest";
import { deadmanDuty, deadmanRefusal, deadmanSwitchOf, planCountdowns } from "../../src/core/deadman.ts";

test("deadmanSwitchOf() knows no switch of a venue whose own fires on the loss of a stream", () => {
  expect(deadmanSwitchOf("bybit")).toBeUndefined();
  expect(deadmanRefusal("bybit", 0)).toContain("no dead-man switch");
  expect(deadmanSwitchOf("constructor")).toBeUndefined();
});

test.each([
  ["binanceusdm", 3, "armed"],
  ["okx", undefined, "armed"],
  ["krakenfutures", 0, "armed"],
  ["krakenfutures", 2, "would take the 2 resting"],
  ["krakenfutures", undefined, "cannot be listed"],
  ["htx", 1, "may take the 1 resting"],
] as const)("deadmanRefusal() of %s with %s resting stops is %s", (exchange, stops, said) => {
  expect(deadmanRefusal(exchange, stops) ?? "armed").toContain(said);
});

test("planCountdowns() sets each symbol with orders once, and stops those that were armed and have none", () => {
  expect(planCountdowns(["A", "B"], ["B", "C", "C"])).toEqual({ set: ["B", "C"], stop: ["A"] });
});

test("deadmanDuty() refreshes of a healthy bot alone, and wants quiet before all", () => {
  expect(deadmanDuty({ healthy: true, quiet: false })).toBe("refresh");
  expect(deadmanDuty({ healthy: false, quiet: false })).toBe("let-it-run");
  expect(deadmanDuty({ healthy: true, quiet: true })).toBe("disarm");
});
