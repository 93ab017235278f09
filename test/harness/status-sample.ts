/** A status for tests of what shows it: a bot whose every word is hostile to a terminal. */
import type { BotStatus, Status } from "../../src/core/status.ts";
import { downBotOf, statusOf as statusWith } from "./status.ts";

export const bot: BotStatus = downBotOf({
  name: "bot",
  account: "bot",
  state: "backoff",
  health: "unhealthy",
  wanted: true,
  reason: "it said\u001B[2J no",
  generation: 1,
  restarts: { total: 1, inPeriod: 1, intensity: 5, attempt: 1, nextStartAt: null, resetAt: null },
  lastExit: { at: "2026-01-01T00:00:00.000Z", code: 1, signal: null, cause: "exited", detail: "exit\nforged: fine" },
  probes: [
    {
      name: "web",
      kind: "http",
      role: "liveness",
      verdict: "unhealthy",
      result: "failure",
      reason: "status 500: \r\u009B1Aall good",
      failures: 1,
      lastAt: null,
      latencySeconds: null,
    },
  ],
  heartbeat: { at: null, ageSeconds: null, status: "fine\nbot: locked\u001B]0;title\u0007" },
});

/** A status of that one bot. */
export function statusOf(supervisor: Partial<Status["supervisor"]> = {}, of: Partial<BotStatus> = {}): Status {
  const quiet = { uptimeSeconds: 1, rssBytes: 1, asOf: "2026-01-01T00:00:00.000Z", machine: undefined };
  return statusWith([{ ...bot, ...of }], { ...quiet, ...supervisor });
}
