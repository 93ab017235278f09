/** The report of an emergency close that ended flat and sent nothing; a test names what it is about. */
import type { CloseReport } from "../../src/core/close-job.ts";

export function reportOf(changes: Partial<CloseReport> = {}): CloseReport {
  return {
    version: 1,
    incident: "abc123",
    bot: "bot",
    account: "main",
    trigger: "operator",
    mode: "close",
    exchange: "binanceusdm",
    outcome: "flat",
    reason: "the venue shows no position and no order",
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: 1_500,
    rounds: 2,
    calls: 3,
    verified: true,
    quietMs: 0,
    before: null,
    after: null,
    orders: [],
    dust: [],
    foreign: [],
    errors: {},
    fence: { proven: true, pids: [], ms: 0 },
    ...changes,
  };
}
