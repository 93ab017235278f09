/** Status objects for tests: a bot that runs well, and whatever a test says otherwise. */
import type { BotStatus, Status } from "../../src/core/status.ts";

/** A healthy bot with one probe; `more` replaces whole fields. */
export function botStatusOf(more: Partial<BotStatus> = {}): BotStatus {
  return {
    name: "momentum",
    account: "main",
    state: "running",
    health: "healthy",
    ready: true,
    wanted: true,
    reason: null,
    pid: 43,
    generation: 3,
    startedAt: "2026-01-01T00:00:10.000Z",
    uptimeSeconds: 50,
    adopted: false,
    definition: "current",
    restarts: {
      total: 2,
      byReason: { oom: 1, probe: 1 },
      inPeriod: 1,
      intensity: 5,
      attempt: 1,
      nextStartAt: null,
      resetAt: null,
    },
    lastExit: { at: "2026-01-01T00:00:09.500Z", code: null, signal: "SIGKILL", cause: "signal", detail: "killed" },
    probes: [
      {
        name: "web",
        kind: "http",
        role: "liveness",
        verdict: "healthy",
        result: "success",
        reason: null,
        failures: 0,
        lastAt: "2026-01-01T00:00:59.000Z",
        latencySeconds: 0.0125,
      },
    ],
    heartbeat: { at: "2026-01-01T00:00:59.600Z", ageSeconds: 0.4, status: "3 positions open" },
    resources: { rssBytes: 1_048_576, cpuPercent: 150, pids: 2, openFiles: 20, memoryLimitBytes: null, oomKills: 0 },
    cpuSeconds: 75.5,
    level: "normal",
    emergency: {
      state: "armed",
      incident: null,
      lockedSince: null,
      reason: null,
      preflight: "never",
      preflightAt: null,
    },
    ...more,
  };
}

/** The status of a supervisor with these bots, up for a minute. */
export function statusOf(
  bots: readonly BotStatus[] = [botStatusOf()],
  more: Partial<Status["supervisor"]> = {},
): Status {
  return {
    version: 1,
    supervisor: {
      version: "1.0.0",
      pid: 42,
      startedAt: "2026-01-01T00:00:00.000Z",
      uptimeSeconds: 60,
      config: "supervisor.yaml",
      health: "ok",
      role: "active",
      cgroup: "none",
      rssBytes: 31_457_280,
      journalDropped: 0,
      asOf: "2026-01-01T00:01:00.000Z",
      machine: {
        loopLagSeconds: 0.002,
        stalls: 0,
        suspends: 0,
        clockSteps: 1,
        pressure: { cpuSomePercent: 12.5, memoryFullPercent: 0, ioFullPercent: null },
        disturbed: null,
      },
      ...more,
    },
    bots: [...bots],
    backups: [],
    alerts: { firing: 0, queued: 0 },
  };
}

/** A bot that is down: nothing of a process is known any more. */
export function downBotOf(more: Partial<BotStatus> = {}): BotStatus {
  return botStatusOf({
    state: "stopped",
    health: "pending",
    ready: false,
    wanted: false,
    pid: null,
    startedAt: null,
    uptimeSeconds: null,
    heartbeat: { at: null, ageSeconds: null, status: null },
    resources: null,
    ...more,
  });
}
