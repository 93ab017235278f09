/** A status object for tests of what shows it. */
import type { BotStatus, Status } from "../../src/core/status.ts";

/** A bot whose every word is hostile to a terminal. */
export const bot: BotStatus = {
  name: "bot",
  account: "bot",
  state: "backoff",
  health: "unhealthy",
  ready: false,
  wanted: true,
  reason: "it said\u001B[2J no",
  pid: null,
  generation: 1,
  startedAt: null,
  uptimeSeconds: null,
  adopted: false,
  definition: "current",
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
  resources: null,
  level: "normal",
  emergency: {
    state: "armed",
    incident: null,
    lockedSince: null,
    reason: null,
    preflight: "never",
    preflightAt: null,
  },
};

/** A status of that one bot. */
export function statusOf(supervisor: Partial<Status["supervisor"]> = {}, of: Partial<BotStatus> = {}): Status {
  return {
    version: 1,
    supervisor: {
      version: "1.0.0",
      pid: 42,
      startedAt: "2026-01-01T00:00:00.000Z",
      uptimeSeconds: 1,
      config: "supervisor.yaml",
      health: "ok",
      role: "active",
      cgroup: "none",
      rssBytes: 1,
      journalDropped: 0,
      asOf: "2026-01-01T00:00:00.000Z",
      ...supervisor,
    },
    bots: [{ ...bot, ...of }],
    backups: [],
    alerts: { firing: 0, queued: 0 },
  };
}
