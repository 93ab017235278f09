/** The page docs/lifecycle.md: what each state means to an operator, and the state table of core/lifecycle.ts in words. */
import { formatDuration } from "../core/duration.ts";
import { table } from "../core/lifecycle.ts";
import { CLOSE_RETRY_MS } from "../core/ladder.ts";
import { EXTEND_LIMIT_FACTOR, SETTLED_MS, SWEEP_RETRY_MS } from "../core/lifecycle-moves.ts";
import type { EventKind, StateKind, Timer } from "../core/lifecycle-types.ts";

interface StateWords {
  readonly means: string;
  readonly operator: string;
}

const states: { readonly [S in StateKind]: StateWords } = {
  stopped: {
    means:
      "Down because somebody wants it down, or it ended well and `restart.policy` leaves it at that: it is not wanted any more. Nothing counts.",
    operator: "`start` starts it with a fresh budget.",
  },
  starting: {
    means: "Spawned, or about to be, and not ready yet; `startTimeout` is running.",
    operator: "Wait, or `stop`. Start-up probes show in `status`.",
  },
  running: {
    means: "Ready. Its health is `pending` until its probes have said enough, then `healthy` or `unhealthy`.",
    operator:
      "`stop`, `restart`. An unhealthy bot is replaced by the probe that says so, if its `onFailure` is `restart`.",
  },
  stopping: {
    means:
      "On its way down: `preStop`, the stop signal, at most `stopTimeout`, SIGKILL for what is left, proof that nothing is, `postStop`.",
    operator: "`start` or `stop` say what follows; the last word holds, except against an emergency.",
  },
  backoff: {
    means: "Waiting to be restarted: `base · factor^(n−1)`, at most `cap`. `nextStartAt` says when.",
    operator: "`start` does not wait and grants a fresh budget, `stop` stands it down.",
  },
  recovering: {
    means: "Proven dead, and its positions are being closed. The lockout is on disk.",
    operator: "Read `events`. `start` is refused; `stop` is remembered for the time after `arm`.",
  },
  halted: {
    means:
      "Down because starting again is pointless: the budget is spent, the command cannot run, `haltExitCodes` or `policy: never`. `closeAfter` still protects open positions.",
    operator: "Repair the cause, then `start`; or `stop` to stand it down, which ends `closeAfter`.",
  },
  locked: {
    means: `Locked out until a person re-arms it, also after a reboot. A close that did not end flat is tried again every ${formatDuration(CLOSE_RETRY_MS)}.`,
    operator: "Look at the account, then `arm --reason TEXT`; `--accept-positions` where it is not proven flat.",
  },
  stuck: {
    means: `Something of the bot survived SIGKILL (a process in uninterruptible sleep), or may be of it and cannot be told. It may still trade, so nothing is started or closed; it is swept again every ${formatDuration(SWEEP_RETRY_MS)}.`,
    operator: "End the named processes, or reboot. Close positions by hand if they cannot wait.",
  },
};

const events: { readonly [E in EventKind]: string } = {
  start: "an operator's start, or autostart",
  stop: "an operator's stop",
  restart: "an operator's restart",
  emergency: "an operator, the emergency file, SIGUSR2 or the environment",
  arm: "a person ends the lockout",
  acknowledge: "a person ends the slow rounds of a close that did not end flat",
  lockFound: "a lockout was on disk when the daemon started",
  leftovers: "processes of an earlier daemon were alive when this one started",
  backoffFound: "an earlier version waited to restart the bot when it was upgraded",
  adopted: "the bot of an earlier daemon lives, beyond doubt",
  spawned: "the process runs",
  spawnFailed: "the process could not be started",
  ready: "`READY=1`, or the start-up probe succeeded",
  verdict: "the bot's health has changed",
  failing: "a probe with `onFailure: restart` or `emergency` has given its verdict",
  leaving: "`STOPPING=1`",
  extend: "`EXTEND_TIMEOUT_USEC=`",
  resetBackoff: "`RESTART_RESET=1`",
  exited: "the main process ended",
  gone: "the whole process tree is proven gone",
  survivors: "something survived SIGKILL",
  hookEnded: "`preStop` or `postStop` ended",
  actionEnded: "a rung of the ladder ended, well or not",
  newPolicy: "a reload has replaced the policy",
  elapsed: "a timer ran out",
};

/** What each handler of the table does, in the fewest words that are true. */
const handlers: { readonly [name: string]: string } = {
  beginAfresh: "start, with a fresh budget",
  recoverNow: "close positions",
  closeMore: "close everything afterwards",
  onLockFound: "stay locked, or go on closing",
  onLeftovers: "kill them first",
  onBackoffFound: "wait for what is left",
  onAdopted: "go on with it, untouched",
  stopWhileDown: "stand down",
  doNotWant: "remember it",
  refuseStart: "refuse: locked out",
  onBackoffTimer: "backoff: start; closeAfter: close positions",
  onHaltedTimer: "closeAfter: close positions",
  onRungEnded: "next rung, or lock",
  rearm: "unlock, if flat or accepted",
  onAcknowledged: "slow rounds end, stays locked",
  onLockedTimer: "retry: close positions",
  stopByOperator: "stop politely, stay down",
  restartByOperator: "stop politely, start again",
  fenceNow: "kill, then close positions",
  onSpawned: "running, or wait until ready",
  onSpawnFailed: "sweep, then restart or halt",
  onReady: "running",
  onVerdict: "note it; unhealthy: closeAfter counts, or kill and close positions if it is over",
  onFailing: "replace, or kill and close positions",
  onLeaving: "wait for its exit",
  extendStart: "later deadline",
  extendStop: "later deadline",
  onResetBackoff: "backoff from its base",
  onExited: "sweep, then as the policy says; at once where nothing lives and nothing is to be waited for",
  reclock: "closeAfter goes on with its new length, begins or ends",
  newPolicyWhileStarting: "startTimeout and closeAfter with their new lengths",
  newPolicyWhileRunning: "resetAfter and closeAfter with their new lengths",
  onStartingTimer: "start: replace; closeAfter: kill, then close positions",
  onRunningTimer:
    "stable: backoff from its base; settled: closeAfter ends; closeAfter: kill and close positions if unhealthy, else wait for bad news",
  startAfterStop: "start afterwards",
  stayDown: "stay down afterwards",
  fenceWhileStopping: "kill now, then close positions",
  lockAfterStop: "lock or close afterwards",
  onSpawnFailedWhileStopping: "sweep",
  onExitedWhileStopping: "sweep",
  onGone: "postStop, then what follows",
  onSurvivors: "stuck",
  onHookEnded: "next phase",
  onStoppingTimer: "stop: next phase; closeAfter: kill now, then close positions",
  startAfterStuck: "start once it is gone",
  stayDownAfterStuck: "stay down once it is gone",
  recoverAfterStuck: "close positions once it is gone",
  lockAfterStuck: "lock or close once it is gone",
  onGoneAfterStuck: "what follows",
  stayStuck: "wait for the next sweep",
  onStuckTimer: "sweep: try again; closeAfter: close positions once it is gone",
};

const timers: { readonly [T in Timer]: readonly [delay: string, meaning: string] } = {
  start: ["`startTimeout`", "The bot must be ready. `EXTEND_TIMEOUT_USEC` moves it."],
  stop: [
    "`stopTimeout`",
    "Each phase of a stop: `preStop`, the signal, `postStop`. `EXTEND_TIMEOUT_USEC` moves that of the signal.",
  ],
  backoff: ["`base` to `cap`", "The pause before a restart."],
  stable: ["`resetAfter`", "Healthy for this long without a break sets the backoff back to its base."],
  settled: [
    `${formatDuration(SETTLED_MS)}, or \`closeAfter\` if shorter`,
    "Healthy for this long without a break ends `closeAfter`, also when it is over already.",
  ],
  closeAfter: [
    "`emergency.closeAfter`",
    "The longest time without a healthy bot. It counts across restarts, from the start or from the first bad news until `settled`: a bot that is healthy for a moment at each start does not end it. When it ends while the bot is healthy but not settled, or probes are only pending or unknown, it closes nothing; the next bad news does.",
  ],
  sweep: [formatDuration(SWEEP_RETRY_MS), "Between two tries to end what survived SIGKILL."],
  retry: [
    formatDuration(CLOSE_RETRY_MS),
    "Between two rounds of a close that did not end flat and that time may cure.",
  ],
};

const bounds: readonly string[] = [
  "Restarts: `restart.intensity` within the sliding `restart.period`; one more gives up. The list of restart times holds at most `intensity + 1`.",
  "The delay before a restart: at most `restart.cap`, jitter included.",
  `A bot may extend a start or a stop to ${EXTEND_LIMIT_FACTOR} times its timeout, however often it asks.`,
  "Timers: one of each name and bot; setting one again replaces it.",
  "Rungs: each runs once per round, and the next one runs however it ended.",
  "An event of an older generation changes nothing; `closeAfter` is the one timer that no generation owns.",
];

const INTRODUCTION = `# The life of a bot

Generated from \`src/core/lifecycle.ts\` by \`bun run generate\`. Every bot is in exactly one of these states; \`supervisor status\`
shows it, \`supervisor events\` shows how it came there. In every state the supervisor keeps these promises: a new start only
after the one before is proven gone with all its children; positions are closed only after that proof; never because a probe
is pending or unknown; and after a close the bot stays down until a person re-arms it.
`;

/** The text of docs/lifecycle.md, before formatting. Throws when a handler of the table has no words here. */
export function lifecycleMarkdown(): string {
  const names = Object.keys(table);
  const eventRows = Object.entries(events).map(([event, meaning]) => [
    `\`${event}\`: ${meaning}`,
    ...Object.values(table).map((row) => cellWords(Object.entries(row).find(([name]) => name === event)?.[1])),
  ]);
  return [
    INTRODUCTION,
    "## States\n",
    markdownTable(
      ["state", "means", "what an operator can do"],
      Object.entries(states).map(([name, { means, operator }]) => [`\`${name}\``, means, operator]),
    ),
    "## What happens in each state\n\nA dash means that the event changes nothing.\n",
    markdownTable(["event", ...names.map((name) => `\`${name}\``)], eventRows),
    "## Timers\n",
    markdownTable(
      ["timer", "delay", "means"],
      Object.entries(timers).map(([name, [delay, meaning]]) => [`\`${name}\``, delay, meaning]),
    ),
    "## Bounds\n",
    ...bounds.map((line) => `- ${line}`),
    "",
  ].join("\n");
}

function cellWords(cell: "ignore" | { readonly name: string } | undefined): string {
  if (cell === "ignore") return "–";
  const words = cell === undefined ? undefined : handlers[cell.name];
  if (words === undefined)
    throw new Error(`internal error: no words for the handler ${cell?.name ?? "of a lost cell"}`);
  return words;
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows, []].map(markdownRow).join("\n");
}

function markdownRow(cells: readonly string[]): string {
  return cells.length === 0 ? "" : `| ${cells.join(" | ")} |`;
}
