/** The alert rules that are shipped, and the pages that show some, name metrics that exist and mean something. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { METRICS } from "../../src/report/metrics.ts";
import { promtool } from "../harness/promtool.ts";

const root = join(import.meta.dirname, "../..");
const RULES = "config/prometheus/tradingbot.rules.yml";

test.each([RULES, "docs/monitoring.md"])("%s names only metrics that there are", (file) => {
  const text = readFileSync(join(root, file), "utf8");
  const named = [
    ...text.matchAll(
      /\b(?:supervisor_(?:bot|backup|drill|probe|journal|build|health|uptime|maintenance)|trading_bot|process)_[a-z_]+\b|\bsupervisor_maintenance\b/g,
    ),
  ];
  const known = new Set(METRICS.map(({ name }) => name));
  expect(named.length).toBeGreaterThan(0);
  expect(named.map(([name]) => name).filter((name) => !known.has(name))).toEqual([]);
});

test.skipIf(promtool === undefined)(
  "promtool check rules accepts the rules that are shipped (skipped where no promtool is installed)",
  () => {
    const command = [promtool ?? "", "check", "rules", "--lint=all", "--lint-fatal", join(root, RULES)];
    const { exitCode, stdout, stderr } = Bun.spawnSync(command);
    expect(`${stdout.toString()}${stderr.toString()}`).toMatch(/SUCCESS: \d+ rules found/);
    expect(exitCode).toBe(0);
  },
);

/** What a supervisor and a bot say in good times, as promtool writes series; `more` replaces single lines. */
function worldOf(more: Readonly<Record<string, string>>): readonly { series: string; values: string }[] {
  const bot = 'bot="a",account="x"';
  const backup = 'backup="state",store="local",type="sqlite"';
  const bucket = 'backup="state",store="offsite",type="sqlite"';
  const good: Record<string, string> = {
    'up{job="tradingbot"}': "1",
    [`supervisor_bot_wanted{${bot}}`]: "1",
    [`supervisor_bot_ready{${bot}}`]: "1",
    [`supervisor_bot_locked{${bot}}`]: "0",
    [`supervisor_bot_state{${bot},state="running"}`]: "1",
    [`supervisor_bot_state{${bot},state="halted"}`]: "0",
    [`supervisor_bot_emergency_state{${bot},state="residual"}`]: "0",
    [`supervisor_bot_heartbeat_age_seconds{${bot}}`]: "NaN",
    [`supervisor_bot_emergency_owed{${bot}}`]: "0",
    [`supervisor_bot_emergency_preflight_ok{${bot}}`]: "1",
    [`supervisor_bot_emergency_preflight_timestamp_seconds{${bot}}`]: "0",
    [`supervisor_bot_exposure{${bot}}`]: "800",
    [`supervisor_bot_exposure_limit{${bot}}`]: "1000",
    [`supervisor_bot_daily_loss{${bot}}`]: "-5",
    [`supervisor_bot_daily_loss_limit{${bot}}`]: "100",
    [`supervisor_bot_deadman_refresh_age_seconds{${bot}}`]: "15",
    supervisor_maintenance: "0",
    [`supervisor_bot_restarts_in_period{${bot}}`]: "0",
    [`supervisor_bot_restart_intensity{${bot}}`]: "0",
    [`supervisor_probe_verdict{${bot},probe="web",verdict="unhealthy"}`]: "0",
    supervisor_journal_dropped_lines_total: "0",
    supervisor_drill_success: "1",
    supervisor_drill_overdue: "0",
    'supervisor_backup_overdue{backup="state",store="local",type="sqlite"}': "0",
    [`supervisor_backup_failures_total{${backup},stage="space"}`]: "0",
    [`supervisor_backup_failures_total{${backup},stage="source"}`]: "3",
    [`supervisor_backup_last_verification_success{${backup}}`]: "1",
    [`supervisor_backup_last_success_timestamp_seconds{${backup}}`]: "1767225600",
    [`supervisor_backup_shrunk{${backup},kind="full"}`]: "0",
    [`supervisor_backup_shrunk{${backup},kind="base"}`]: "NaN",
    [`supervisor_backup_wal_gaps{${backup}}`]: "0",
    [`supervisor_backup_wal_gaps{${bucket}}`]: "NaN",
    [`supervisor_backup_wal_paused{${backup}}`]: "0",
    [`supervisor_backup_wal_lag_bytes{${backup}}`]: "0",
    [`supervisor_backup_repo_free_bytes{${backup}}`]: "2000",
    [`supervisor_backup_repo_reserve_bytes{${backup}}`]: "1000",
    [`supervisor_backup_repo_free_bytes{${bucket}}`]: "NaN",
    [`supervisor_backup_repo_reserve_bytes{${bucket}}`]: "NaN",
    ...more,
  };
  return Object.entries(good).map(([series, value]) => ({
    series,
    values: value.includes("x") ? value : Array.from({ length: 11 }, () => value).join(" "),
  }));
}

/** What `promtool test rules` says of the shipped rules. */
function tested(tests: readonly object[]): string {
  const folder = mkdtempSync(join(tmpdir(), "rules-"));
  try {
    const file = join(folder, "rules.test.yml");
    writeFileSync(file, JSON.stringify({ rule_files: [join(root, RULES)], evaluation_interval: "1m", tests }));
    const { exitCode, stdout, stderr } = Bun.spawnSync([promtool ?? "", "test", "rules", file]);
    return `${exitCode === 0 ? "" : `exit code ${exitCode}: `}${stdout.toString()}${stderr.toString()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const alarms: readonly (readonly [string, Readonly<Record<string, string>>, readonly string[]])[] = [
  ["nothing is wrong", {}, []],
  ["the supervisor is down", { 'up{job="tradingbot"}': "0" }, ["SupervisorDown"]],
  ["a bot is down", { 'supervisor_bot_state{bot="a",account="x",state="running"}': "0" }, ["BotDown"]],
  [
    "a backup is overdue",
    { 'supervisor_backup_overdue{backup="state",store="local",type="sqlite"}': "1" },
    ["BackupOverdue"],
  ],
  ["a drill failed", { supervisor_drill_success: "0" }, ["DrillFailed"]],
  ["a drill is overdue", { supervisor_drill_overdue: "1" }, ["DrillOverdue"]],
  [
    "a backup failed",
    {
      'supervisor_backup_failures_total{backup="state",store="local",type="sqlite",stage="space"}':
        "0 0 1 1 1 1 1 1 1 1 1",
    },
    ["BackupFailed"],
  ],
  [
    "the last backup was found damaged",
    { 'supervisor_backup_last_verification_success{backup="state",store="local",type="sqlite"}': "0" },
    ["BackupDamaged"],
  ],
  [
    "a target has no backup yet",
    {
      'supervisor_backup_last_verification_success{backup="state",store="local",type="sqlite"}': "0",
      'supervisor_backup_last_success_timestamp_seconds{backup="state",store="local",type="sqlite"}': "NaN",
    },
    [],
  ],
  [
    "a full backup has shrunk",
    { 'supervisor_backup_shrunk{backup="state",store="local",type="sqlite",kind="full"}': "1" },
    ["BackupShrunk"],
  ],
  [
    "WAL is missing in a bucket",
    { 'supervisor_backup_wal_gaps{backup="state",store="offsite",type="sqlite"}': "1" },
    ["BackupWalGap"],
  ],
  [
    "WAL is not received for want of room",
    { 'supervisor_backup_wal_paused{backup="state",store="local",type="sqlite"}': "1" },
    ["BackupWalPaused"],
  ],
  [
    "a store has less free than its reserve",
    { 'supervisor_backup_repo_free_bytes{backup="state",store="local",type="sqlite"}': "999" },
    ["BackupStoreLow"],
  ],
  [
    "a close would not work",
    { 'supervisor_bot_emergency_preflight_ok{bot="a",account="x"}': "0" },
    ["BotEmergencyPreflightFailed"],
  ],
  [
    "no preflight was flown for days",
    { 'supervisor_bot_emergency_preflight_timestamp_seconds{bot="a",account="x"}': "-300000" },
    ["BotEmergencyPreflightOld"],
  ],
  [
    "a bot without limits, preflight and dead-man switch has none of their series' values",
    {
      'supervisor_bot_emergency_preflight_ok{bot="a",account="x"}': "NaN",
      'supervisor_bot_emergency_preflight_timestamp_seconds{bot="a",account="x"}': "NaN",
      'supervisor_bot_exposure{bot="a",account="x"}': "NaN",
      'supervisor_bot_exposure_limit{bot="a",account="x"}': "NaN",
      'supervisor_bot_daily_loss{bot="a",account="x"}': "NaN",
      'supervisor_bot_daily_loss_limit{bot="a",account="x"}': "NaN",
      'supervisor_bot_deadman_refresh_age_seconds{bot="a",account="x"}': "NaN",
    },
    [],
  ],
  ["much is open", { 'supervisor_bot_exposure{bot="a",account="x"}': "950" }, ["BotExposureNearLimit"]],
  ["nobody knows what is open", { 'supervisor_bot_exposure{bot="a",account="x"}': "NaN" }, ["BotExposureUnknown"]],
  ["much was lost", { 'supervisor_bot_daily_loss{bot="a",account="x"}': "90" }, ["BotDailyLossNearLimit"]],
  [
    "the dead-man switch runs out",
    { 'supervisor_bot_deadman_refresh_age_seconds{bot="a",account="x"}': "121" },
    ["BotDeadmanNotRefreshed"],
  ],
  ["a bot is not ready", { 'supervisor_bot_ready{bot="a",account="x"}': "0" }, ["BotNotReady"]],
  ["a bot is halted", { 'supervisor_bot_state{bot="a",account="x",state="halted"}': "1" }, ["BotGivenUp"]],
  ["a bot is locked", { 'supervisor_bot_locked{bot="a",account="x"}': "1" }, ["BotLocked"]],
  [
    "positions are left",
    { 'supervisor_bot_emergency_state{bot="a",account="x",state="residual"}': "1" },
    ["BotPositionsNotProvenClosed"],
  ],
  [
    "the heartbeat is old",
    { 'supervisor_bot_heartbeat_age_seconds{bot="a",account="x"}': "121" },
    ["BotHeartbeatStale"],
  ],
  [
    "a probe is unhealthy",
    { 'supervisor_probe_verdict{bot="a",account="x",probe="web",verdict="unhealthy"}': "1" },
    ["BotProbeUnhealthy"],
  ],
  [
    "the budget is nearly spent",
    {
      'supervisor_bot_restarts_in_period{bot="a",account="x"}': "3",
      'supervisor_bot_restart_intensity{bot="a",account="x"}': "5",
    },
    ["BotRestartBudgetNearlySpent"],
  ],
  [
    "the disk does not take what a close did",
    { 'supervisor_bot_emergency_owed{bot="a",account="x"}': "1" },
    ["BotEmergencyNotOnDisk"],
  ],
  ["the journal loses lines", { supervisor_journal_dropped_lines_total: "0+1x10" }, ["SupervisorJournalLosesLines"]],
];

const overdueIn = (store: string): string => `supervisor_backup_overdue{backup="state",store="${store}",type="sqlite"}`;

test.skipIf(promtool === undefined)(
  "the shipped rules say that the metrics of a backup have gone, once, and of none that never was (skipped where no promtool is installed)",
  () => {
    // Of minutes: a day and an hour, and then nothing of one of them.
    const input_series = [
      { series: overdueIn("local"), values: "0x1500 _x200" },
      { series: overdueIn("offsite"), values: "0x1700" },
      { series: overdueIn("new"), values: "_x1500 0x200" },
    ];
    const firing = 'ALERTS{alertname="BackupNotWatched",alertstate="firing"}';
    const promql_expr_test = [
      { expr: `count(${firing}) or vector(0)`, eval_time: "25h", exp_samples: [{ labels: "{}", value: 0 }] },
      {
        expr: `count by (store) (${firing})`,
        eval_time: "27h",
        exp_samples: [{ labels: '{store="local"}', value: 1 }],
      },
    ];
    expect(tested([{ interval: "1m", input_series, promql_expr_test }])).toContain("SUCCESS");
  },
);

test.skipIf(promtool === undefined).each(alarms)(
  "the shipped rules fire as they should when %s (skipped where no promtool is installed)",
  (_, more, firing) => {
    const names = [...readFileSync(join(root, RULES), "utf8").matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name);
    expect(names).toEqual(expect.arrayContaining([...firing]));
    // How often each alert fires is asked by an expression, since the words of an alert are not the point here.
    const promql_expr_test = names.map((name) => ({
      expr: `count(ALERTS{alertname="${name}",alertstate="firing"}) or vector(0)`,
      eval_time: "9m",
      exp_samples: [{ labels: "{}", value: firing.includes(name) ? 1 : 0 }],
    }));
    expect(tested([{ interval: "1m", input_series: worldOf(more), promql_expr_test }])).toContain("SUCCESS");
  },
);
