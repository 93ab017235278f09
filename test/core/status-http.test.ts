import { describe, expect, test } from "vitest";
import { healthHttpStatus, notReady } from "../../src/core/status-http.ts";
import { botStatusOf, downBotOf, statusOf } from "../harness/status.ts";

const exit = (cause: string) => ({ at: "2026-01-01T00:00:00.000Z", code: 0, signal: null, cause, detail: "" });

describe("healthHttpStatus()", () => {
  test.each([
    ["a healthy bot", botStatusOf(), 200],
    ["a degraded bot", botStatusOf({ level: "degraded", health: "unhealthy" }), 200],
    ["a bot in backoff", downBotOf({ state: "backoff", wanted: true }), 200],
    ["a stopped bot", downBotOf(), 200],
    ["level minimal", botStatusOf({ level: "minimal" }), 503],
    ["level emergency", botStatusOf({ level: "emergency" }), 503],
    ["a close under way", downBotOf({ state: "recovering" }), 503],
    ["a lockout", downBotOf({ state: "locked" }), 503],
  ])("answers for %s", (_, bot, code) => {
    expect(healthHttpStatus(statusOf([botStatusOf({ name: "other" }), bot]))).toBe(code);
  });
});

describe("notReady()", () => {
  test("names the bots that are not ready, with their states, and no other", () => {
    const status = statusOf([
      botStatusOf({ name: "a" }),
      downBotOf({ name: "b", state: "backoff" }),
      downBotOf({ name: "c" }),
    ]);
    expect(notReady(["a", "b"], status)).toEqual(["b (backoff)"]);
  });

  test("does not name a bot that is done, and names one that a person stopped, that waits or that is halted", () => {
    const status = statusOf([
      downBotOf({ name: "done", state: "stopped", wanted: false, lastExit: exit("exited") }),
      downBotOf({ name: "sent-home", state: "stopped", wanted: false, lastExit: exit("stopped") }),
      downBotOf({ name: "waits", state: "stopped", wanted: true }),
      downBotOf({ name: "gave-up", state: "halted", wanted: false }),
    ]);
    expect(notReady(["done", "sent-home", "waits", "gave-up"], status)).toEqual([
      "sent-home (stopped)",
      "waits (stopped)",
      "gave-up (halted)",
    ]);
  });

  test("names a bot that is not there yet", () => {
    expect(notReady(["a"], statusOf([]))).toEqual(["a (starting)"]);
  });
});
