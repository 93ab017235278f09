/** The part of the status object that describes one bot. */
import type { OpenRestore } from "../../actions/backup/restore-journal.ts";
import type { CloseReport } from "../../core/close-job.ts";
import { retriesByItself, type RungOutcome } from "../../core/ladder.ts";
import { restartsInPeriod } from "../../core/budget.ts";
import type { State } from "../../core/lifecycle-types.ts";
import type { BotStatus } from "../../core/status.ts";
import { causeText } from "../../core/trigger-text.ts";
import { isAlive } from "./live-plan.ts";
import { botReady, failuresInRow } from "../../core/verdict.ts";
import { isOpen } from "../../core/account-look.ts";
import type { Lockout } from "../../core/lockout.ts";
import { pidsText } from "../../core/pids-text.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Bot } from "./bot.ts";
import type { ProbeView } from "./schedule.ts";

/** Reads the process tree, at most once a second. Never throws. */
export async function botStatus(bot: Bot, clock: Clock): Promise<BotStatus> {
  const { state } = bot.loop;
  const generation = livingGeneration(bot);
  const nowMs = clock.monotonicMs();
  const probes = generation?.probes ?? [];
  // Of one that is up the restore has not begun to touch anything.
  const restore = isAlive(state.kind) ? undefined : bot.turn.openRestore;
  return {
    name: bot.plan.name,
    account: bot.plan.account,
    state: state.kind,
    health: state.kind === "running" ? (generation?.health ?? "pending") : healthWhenDown(state),
    ready: isReady(bot),
    wanted: state.wanted || bot.turn.isDue,
    reason: reasonOf(bot, restore),
    restore: restore === undefined ? null : restoreOf(restore),
    pid: generation?.child.pid ?? null,
    generation: state.generation,
    startedAt: generation?.startedAt.toISOString() ?? null,
    uptimeSeconds: generation === undefined ? null : (nowMs - generation.startedAtMs) / 1_000,
    adopted: generation?.adopted ?? false,
    definition: generation !== undefined && bot.outdated ? "outdated" : "current",
    restarts: restartsOf(bot, clock),
    lastExit: lastExitOf(bot),
    probes: probes.map(probeStatus),
    heartbeat: heartbeatOf(bot, nowMs),
    ...(await bot.usage.status(generation)),
    level: bot.level,
    emergency: emergencyOf(bot),
  };
}

/** Running, healthy so far as liveness is known to be bad or not, and no readiness probe says otherwise. */
export function isReady(bot: Bot): boolean {
  if (bot.loop.state.kind !== "running") return false;
  const probes = livingGeneration(bot)?.probes ?? [];
  const judged = probes.map(({ config, record }) => ({ role: config.role, verdict: record.verdict }));
  return botReady(judged.filter((probe) => probe.role !== "liveness" || probe.verdict === "unhealthy"));
}

function livingGeneration(bot: Bot): Bot["generation"] {
  const { generation } = bot;
  const up = ["starting", "running", "stopping", "stuck"].includes(bot.loop.state.kind);
  return up && generation?.generation === bot.loop.state.generation ? generation : undefined;
}

function healthWhenDown(state: State): BotStatus["health"] {
  return state.kind === "starting" || state.kind === "stopped" ? "pending" : "unhealthy";
}

function restoreOf({ target, known }: OpenRestore): BotStatus["restore"] {
  return { target, backup: known?.backup ?? null, since: known?.since ?? null };
}

function stoppedReason({ plan, turn }: Bot, restore: OpenRestore | undefined): string | null {
  const { waitsFor, waitsForRestore, keptDown, staysDown, stop } = turn;
  if (keptDown !== undefined) return `kept down: ${keptDown}; to start it: supervisor start ${plan.name}`;
  if (waitsForRestore !== undefined) return `waits: ${waitsForRestore}`;
  // One that a person has stopped as well is not started by the end of the restore.
  if (restore?.known?.stopped === true && !staysDown)
    return `stopped for a restore of ${restore.target}, which has not ended (it began ${restore.known.since}, from ${restore.known.backup}); it is started again afterwards`;
  if (stop.foundText !== undefined) return `${stop.foundText}; to start it: supervisor start ${plan.name}`;
  return waitsFor.length === 0 ? null : `waits for ${waitsFor.join(", ")} to be ready`;
}

function reasonOf(bot: Bot, restore: OpenRestore | undefined): string | null {
  const { lockout } = bot;
  const { state } = bot.loop;
  switch (state.kind) {
    case "halted":
      return state.reason;
    case "locked":
    case "recovering":
      return lockout === undefined ? state.reason : causeText(lockout);
    case "stuck":
      return `cannot be killed: ${pidsText(state.pids)}`;
    case "backoff":
      return state.lastExit?.detail ?? null;
    case "stopping":
      return state.lastExit?.detail ?? null;
    case "stopped":
      return stoppedReason(bot, restore);
    case "starting":
    case "running":
      return null;
  }
}

function restartsOf(bot: Bot, clock: Clock): BotStatus["restarts"] {
  const { state } = bot.loop;
  const { budget } = bot.plan.policy;
  return {
    total: state.restarts,
    byReason: { ...state.restartsBy },
    inPeriod: restartsInPeriod(budget, state.log, clock.monotonicMs()),
    intensity: budget.intensity,
    attempt: state.attempt,
    nextStartAt: wallTimeOf(bot.loop.dueAtMs("backoff"), clock),
    resetAt: wallTimeOf(bot.loop.dueAtMs("stable"), clock),
  };
}

function wallTimeOf(atMs: number | undefined, clock: Clock): string | null {
  if (atMs === undefined) return null;
  return new Date(clock.wallTime().getTime() + atMs - clock.monotonicMs()).toISOString();
}

function lastExitOf(bot: Bot): BotStatus["lastExit"] {
  const exit = bot.loop.state.lastExit;
  if (exit === undefined || bot.lastExitAt === undefined) return null;
  return { at: bot.lastExitAt.toISOString(), ...exit };
}

function probeStatus({ config, record, result, lastAt, latencyMs }: ProbeView): BotStatus["probes"][number] {
  return {
    name: config.name ?? config.kind,
    kind: config.kind,
    role: config.role,
    verdict: record.verdict,
    result: result?.kind ?? null,
    reason: result === undefined || result.kind === "success" ? null : result.reason,
    failures: failuresInRow(record),
    lastAt: lastAt?.toISOString() ?? null,
    latencySeconds: latencyMs === undefined ? null : latencyMs / 1_000,
  };
}

function heartbeatOf(bot: Bot, nowMs: number): BotStatus["heartbeat"] {
  const facts = livingGeneration(bot)?.mailbox.facts;
  const atMs = facts?.beatAtMs;
  return {
    at: facts?.heartbeatAt?.toISOString() ?? null,
    ageSeconds: atMs === undefined ? null : Math.max(0, nowMs - atMs) / 1_000,
    status: facts?.status ?? null,
  };
}

function emergencyOf(bot: Bot): BotStatus["emergency"] {
  const lockout = bot.lockout;
  return {
    state: emergencyState(bot),
    incident: lockout?.incident ?? null,
    lockedSince: lockout?.lockedAt ?? null,
    reason: lockout === undefined ? null : causeText(lockout),
    outcome: lockout?.outcome ?? null,
    retries: lockout === undefined ? null : isRetried(lockout),
    acknowledged: bot.emergency.acknowledged ?? null,
    seen: seenOf(bot),
    owed: bot.owed ?? null,
    lastClose: lastCloseOf(bot.emergency.lastReport),
    closes: { ...bot.emergency.closes },
    ...bot.guard.status,
  };
}

function seenOf({ emergency }: Bot): BotStatus["emergency"]["seen"] {
  if (emergency.seen === undefined) return null;
  const { at, positions, orders, loans } = emergency.seen;
  return { at, positions, orders, loans };
}

function isRetried({ outcome, acknowledgedAt }: Lockout): boolean {
  return outcome !== null && acknowledgedAt === undefined && retriesByItself(outcome);
}

function lastCloseOf(report: CloseReport | undefined): BotStatus["emergency"]["lastClose"] {
  if (report === undefined) return null;
  const { outcome, endedAt, durationMs, after, orders } = report;
  const counts = { accepted: 0, rejected: 0, unknown: 0 };
  for (const order of orders) counts[order.outcome] += 1;
  const residualNotional = after?.notional ?? null;
  return { outcome, endedAt: endedAt ?? null, seconds: durationMs / 1_000, residualNotional, orders: counts };
}

function emergencyState(bot: Bot): BotStatus["emergency"]["state"] {
  const { state } = bot.loop;
  if (bot.plan.policy.emergency === undefined) return "off";
  if (state.kind === "recovering") return bot.emergency.view?.state === "fencing" ? "fencing" : "closing";
  if ((state.kind === "stopping" || state.kind === "stuck") && state.after.kind === "recover") return "fencing";
  if (state.kind !== "locked") return "armed";
  const { seen } = bot.emergency;
  if (state.outcome === "flat") return seen !== undefined && isOpen(seen) ? "residual" : "flat";
  const left: readonly RungOutcome[] = ["residual", "foreign", "cancelled", "reduced"];
  return left.includes(state.outcome) ? "residual" : "unknown";
}
