/**
 * Every metric of `/metrics`: one row each, read from the status object. Names follow prometheus.io/docs/practices/naming:
 * base units, `_total` for counters, a series for each state with 0 or 1. A stopped bot keeps its series, since alerts are about it.
 */
import { statusSchema } from "../core/status.ts";
import { BACKUP_METRICS } from "./backup-metrics.ts";
import { expose } from "./exposition.ts";
import {
  botState,
  counter,
  daemonState,
  gauge,
  ofBot,
  ofCloseOrders,
  ofCloses,
  ofConfigRead,
  ofDaemon,
  ofKnownBot,
  ofLastExit,
  ofMachine,
  ofOwn,
  ofPressure,
  ofProbe,
  ofRestarts,
  ofTree,
  probeState,
  secondsOf,
  type Reading,
  type Row,
} from "./metric-source.ts";

const bot = statusSchema.shape.bots.element.shape;
const probe = bot.probes.element.shape;

export const METRICS: readonly Row[] = [
  gauge("supervisor_build_info", "Always 1; the label tells the supervisor's version.", {
    labels: ["version"],
    read: ({ supervisor }) => [{ labels: { version: supervisor.version }, value: 1 }],
  }),
  gauge(
    "supervisor_health",
    "1 for what the supervisor says of the whole: ok, degraded or down.",
    daemonState("health", statusSchema.shape.supervisor.shape.health.options, ({ health }) => health),
  ),
  gauge(
    "supervisor_uptime_seconds",
    "Time since the supervisor started, on a clock that never jumps.",
    ofDaemon(({ uptimeSeconds }) => uptimeSeconds),
  ),
  gauge(
    "supervisor_config_last_reload_success",
    "1 when the config was taken over at the last reload, or at the start without one since; 0 when it was refused.",
    ofConfigRead(({ success }) => Number(success)),
  ),
  gauge(
    "supervisor_config_last_reload_success_timestamp_seconds",
    "When the config was last taken over, in seconds since 1970.",
    ofConfigRead(({ lastSuccessAt }) => lastSuccessAt.getTime() / 1_000),
  ),
  counter(
    "supervisor_journal_dropped_lines_total",
    "Journal lines lost to a full or unwritable disk.",
    ofDaemon(({ journalDropped }) => journalDropped),
  ),
  gauge(
    "supervisor_eventloop_lag_seconds",
    "The longest delay of the supervisor's own loop in the last ten seconds.",
    ofMachine(({ loopLagSeconds }) => loopLagSeconds),
  ),
  counter(
    "supervisor_stalls_total",
    "Times that the supervisor itself stood still for more than three seconds.",
    ofMachine(({ stalls }) => stalls),
  ),
  counter(
    "supervisor_suspends_total",
    "Times that the machine slept.",
    ofMachine(({ suspends }) => suspends),
  ),
  counter(
    "supervisor_clock_steps_total",
    "Times that the wall clock was set.",
    ofMachine(({ clockSteps }) => clockSteps),
  ),
  gauge(
    "supervisor_disturbed",
    "1 while the machine is under such pressure that failing probes are not counted.",
    ofMachine(({ disturbed }) => Number(disturbed !== null)),
  ),
  gauge(
    "supervisor_maintenance",
    "1 while there is maintenance, in which no trigger closes positions.",
    ofDaemon(({ maintenance }) => Number((maintenance ?? null) !== null)),
  ),
  gauge(
    "supervisor_pressure_ratio",
    "Share of the last ten seconds lost to waiting for a resource: cpu by some task, memory and io by all; NaN where the kernel does not tell.",
    ofPressure(),
  ),
  gauge(
    "process_resident_memory_bytes",
    "Resident memory of the supervisor itself.",
    ofDaemon(({ rssBytes }) => rssBytes),
  ),
  counter(
    "process_cpu_seconds_total",
    "User and system CPU time of the supervisor itself.",
    ofOwn(({ cpuSeconds }) => cpuSeconds),
  ),
  gauge(
    "process_virtual_memory_bytes",
    "Address space of the supervisor itself, most of which is never used.",
    ofOwn(({ virtualBytes }) => virtualBytes),
  ),
  gauge(
    "process_open_fds",
    "Open file descriptors of the supervisor itself.",
    ofOwn(({ openFiles }) => openFiles),
  ),
  gauge(
    "process_max_fds",
    "How many file descriptors the supervisor itself may have open.",
    ofOwn(({ maxOpenFiles }) => maxOpenFiles),
  ),
  gauge(
    "process_start_time_seconds",
    "When the supervisor started, in seconds since 1970.",
    ofDaemon(({ startedAt }) => secondsOf(startedAt)),
  ),
  gauge(
    "supervisor_bot_state",
    "1 for the state that the bot is in.",
    botState("state", bot.state.options, ({ state }) => state),
  ),
  gauge(
    "supervisor_bot_health",
    "1 for the bot's health by its startup and liveness probes.",
    botState("health", bot.health.options, ({ health }) => health),
  ),
  gauge(
    "supervisor_bot_ready",
    "1 while the bot runs, no liveness probe is unhealthy, and every readiness probe is healthy.",
    ofBot(({ ready }) => Number(ready)),
  ),
  gauge(
    "supervisor_bot_wanted",
    "1 while the bot should run: autostart or an operator's start, and no stop since.",
    ofBot(({ wanted }) => Number(wanted)),
  ),
  gauge(
    "supervisor_bot_adopted",
    "1 while the bot is one that an earlier supervisor started.",
    ofBot(({ adopted }) => Number(adopted)),
  ),
  gauge(
    "supervisor_bot_uptime_seconds",
    "Time since the bot's start; 0 while it is down.",
    ofBot(({ uptimeSeconds }) => uptimeSeconds ?? 0),
  ),
  gauge(
    "supervisor_bot_generation",
    "How many times the bot was started in this state folder.",
    ofBot(({ generation }) => generation),
  ),
  counter(
    "supervisor_bot_restarts_total",
    "Automatic restarts, by how the bot ended or what the supervisor ended it for; unknown: counted by a release that kept no reasons.",
    ofRestarts(),
  ),
  gauge(
    "supervisor_bot_restarts_in_period",
    "Restarts that count now against the budget.",
    ofBot(({ restarts }) => restarts.inPeriod),
  ),
  gauge(
    "supervisor_bot_restart_intensity",
    "Restarts that the budget allows; one more and the supervisor gives up.",
    ofBot(({ restarts }) => restarts.intensity),
  ),
  gauge(
    "supervisor_bot_last_exit_timestamp_seconds",
    "When the bot ended last, in seconds since 1970; NaN before the first end.",
    ofBot(({ lastExit }) => secondsOf(lastExit?.at)),
  ),
  gauge(
    "supervisor_bot_last_exit_info",
    "Always 1; the labels tell how the bot ended last. Absent before that.",
    ofLastExit(),
  ),
  gauge(
    "supervisor_bot_last_heartbeat_timestamp_seconds",
    "When the last heartbeat came, in seconds since 1970; NaN without one since the bot's start.",
    ofBot(({ heartbeat }) => secondsOf(heartbeat.at)),
  ),
  gauge(
    "supervisor_bot_heartbeat_age_seconds",
    "Time since the last heartbeat, on a clock that never jumps; NaN without one since the bot's start.",
    ofBot(({ heartbeat }) => heartbeat.ageSeconds),
  ),
  gauge(
    "supervisor_bot_resident_memory_bytes",
    "Resident memory of the bot's process tree.",
    ofTree(({ rssBytes }) => rssBytes),
  ),
  gauge(
    "supervisor_bot_cpu_ratio",
    "CPU use of the bot's process tree; 1 is one core.",
    ofTree(({ cpuPercent }) => cpuPercent / 100),
  ),
  counter(
    "supervisor_bot_cpu_seconds_total",
    "CPU time of all starts of the bot, its children's too; where there are no cgroups, without the last moments of each process.",
    ofKnownBot(({ cpuSeconds }) => cpuSeconds),
  ),
  gauge(
    "supervisor_bot_open_fds",
    "Open file descriptors of the bot's process tree.",
    ofTree(({ openFiles }) => openFiles),
  ),
  gauge(
    "supervisor_bot_processes",
    "Processes in the bot's process tree.",
    ofTree(({ pids }) => pids),
  ),
  gauge(
    "trading_bot_degradation_level",
    "1 for the level that the supervisor demands of the bot.",
    botState("level", bot.level.options, ({ level }) => level),
  ),
  gauge(
    "supervisor_bot_emergency_state",
    "1 for the state of the bot's emergency; off: the config has no emergency section.",
    botState("state", bot.emergency.shape.state.options, ({ emergency }) => emergency.state),
  ),
  gauge(
    "supervisor_bot_locked",
    "1 from the first moment of an emergency until a person re-arms the bot.",
    ofBot(({ emergency }) => Number(emergency.lockedSince !== null)),
  ),
  gauge(
    "supervisor_bot_locked_since_timestamp_seconds",
    "When the lockout began, in seconds since 1970; NaN while there is none.",
    ofBot(({ emergency }) => secondsOf(emergency.lockedSince)),
  ),
  counter(
    "supervisor_emergency_close_total",
    "Runs of the close that ended, slow rounds included, by outcome; no series for a bot without an emergency section.",
    ofCloses(),
  ),
  gauge(
    "supervisor_bot_emergency_close_seconds",
    "How long the last close took, its quiet period included; NaN before the first of this daemon.",
    ofBot(({ emergency }) => emergency.lastClose?.seconds ?? null),
  ),
  gauge(
    "supervisor_bot_emergency_residual_notional",
    "What was open when the last close ended, in quote currency; NaN before the first of this daemon, and while it is not known.",
    ofBot(({ emergency }) => emergency.lastClose?.residualNotional ?? null),
  ),
  gauge(
    "supervisor_bot_emergency_orders",
    "Orders of the last close by what became of them; NaN before the first of this daemon.",
    ofCloseOrders(),
  ),
  gauge(
    "supervisor_bot_emergency_owed",
    "1 while the disk has not taken all of lockout, journal and report of a close.",
    ofBot(({ emergency }) => Number((emergency.owed ?? null) !== null)),
  ),
  gauge(
    "supervisor_bot_emergency_preflight_ok",
    "1 when the last preflight found that an emergency close would work, 0 when not; NaN before the first.",
    ofBot(({ emergency }) => (emergency.preflight === "never" ? null : Number(emergency.preflight === "ok"))),
  ),
  gauge(
    "supervisor_bot_emergency_preflight_timestamp_seconds",
    "When the last preflight ended, in seconds since 1970; NaN before the first.",
    ofBot(({ emergency }) => secondsOf(emergency.preflightAt)),
  ),
  gauge(
    "supervisor_bot_exposure",
    "What is open on the account, all notionals added up, in quote currency; NaN while it is not known.",
    ofBot(({ emergency }) => emergency.limits?.exposure ?? null),
  ),
  gauge(
    "supervisor_bot_exposure_limit",
    "What may be open on the account, in quote currency; NaN without a limit.",
    ofBot(({ emergency }) => emergency.limits?.maxExposure ?? null),
  ),
  gauge(
    "supervisor_bot_daily_loss",
    "What the account has lost since its first reading of the UTC day, in quote currency; negative for a gain, NaN while it is not known.",
    ofBot(({ emergency }) => emergency.limits?.dailyLoss ?? null),
  ),
  gauge(
    "supervisor_bot_daily_loss_limit",
    "What the account may lose in a UTC day, in quote currency; NaN without a limit.",
    ofBot(({ emergency }) => emergency.limits?.maxDailyLoss ?? null),
  ),
  gauge(
    "supervisor_bot_deadman_refresh_age_seconds",
    "Time since the venue's dead-man switch was refreshed; NaN before the first time, and without one.",
    ofBot(({ emergency }) => emergency.deadman?.ageSeconds ?? null),
  ),

  gauge(
    "supervisor_probe_verdict",
    "1 for the verdict of the probe, folded over its thresholds.",
    probeState("verdict", probe.verdict.options, ({ verdict }) => verdict),
  ),
  gauge(
    "supervisor_probe_success",
    "1 when the last run was a success, 0 when it was a failure, NaN when it told nothing or there was none.",
    ofProbe(({ result }) => (result === null || result === "unknown" ? null : Number(result === "success"))),
  ),
  gauge(
    "supervisor_probe_consecutive_failures",
    "Failures in a row.",
    ofProbe(({ failures }) => failures),
  ),
  gauge(
    "supervisor_probe_duration_seconds",
    "How long the last run took; NaN before the first.",
    ofProbe(({ latencySeconds }) => latencySeconds),
  ),

  ...BACKUP_METRICS,
];

/** What `/metrics` answers. Some 85 lines for each bot and 7 for each of its probes. */
export function metricsText(reading: Reading): string {
  return expose(METRICS.map(({ read, ...row }) => ({ ...row, samples: read(reading) })));
}
