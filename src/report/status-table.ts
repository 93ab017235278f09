/** The status object as text for people: one line per bot, and what deserves a second look below it. */
import { closeCommand } from "../core/close-next.ts";
import { counted } from "../core/counted.ts";
import { CLOSE_RETRY_MS } from "../core/ladder.ts";
import { formatSize } from "../core/size.ts";
import type { BackupStatus, BotStatus, Status } from "../core/status.ts";
import { layOut, painter, type Cell, type Paint, type Style } from "./text-table.ts";

export interface TableOptions {
  /** Colours, when the output can show them (`NO_COLOR` and pipes get none). */
  readonly colour: boolean;
  /** Show the probes of every bot, as for `status BOT`. */
  readonly detail: boolean;
  /** Width of the terminal that shows it; what is wider than that loses columns. `undefined`: nothing is left out. */
  readonly columns?: number | undefined;
  /** Tells how old a last known state is. */
  readonly now?: Date;
}

/** Beside bots that had a process when they were last seen. */
const UNWATCHED = "a bot that has a pid here may live on, unwatched; the next supervisor run goes on with it";

export function statusTable(status: Status, options: TableOptions): string {
  const paint = painter(options.colour);
  const blocks = [headline(status, options.now, paint), botTable(status.bots, options.columns, paint)];
  if (status.supervisor.pid === null && status.bots.some(({ pid }) => pid !== null)) blocks.push(UNWATCHED);
  blocks.push(...supervisorRemarks(status.supervisor, paint), ...status.bots.flatMap((bot) => remarks(bot, paint)));
  if (status.backups.length > 0)
    blocks.push(
      layOut(
        { header: BACKUP_HEADER, rows: status.backups.map(backupRow), dispensable: BACKUP_DISPENSABLE },
        options.columns,
        paint,
      ),
    );
  blocks.push(...status.backups.flatMap((backup) => backupRemark(backup, paint)));
  blocks.push(...drillRemark(status.drill, paint));
  if (options.detail) blocks.push(...status.bots.map((bot) => `${startText(bot, paint)}${probeTable(bot, paint)}`));
  return blocks.filter((block) => block !== "").join("\n");
}

/** A heading, a line for each bot in order, and one that names the columns that are left out, if any are. */
export function botTable(bots: readonly BotStatus[], columns: number | undefined, paint: Paint): string {
  return layOut({ header: HEADER, rows: bots.map(botRow), dispensable: DISPENSABLE }, columns, paint);
}

/** What of the supervisor itself deserves a second look. */
export function supervisorRemarks(supervisor: Status["supervisor"], paint: Paint): readonly string[] {
  const { maintenance = null, machine, journalDropped, journal, stateFolder, listen, missing } = supervisor;
  const disturbed = machine?.disturbed ?? null;
  const lines: string[] = [];
  if (maintenance !== null) lines.push(paint(maintenanceText(maintenance), "yellow"));
  if (disturbed !== null)
    lines.push(paint(`the machine is ${disturbed}: failing probes are not counted for a while`, "yellow"));
  for (const trouble of [journal, stateFolder, listen, missing])
    if (typeof trouble === "string") lines.push(paint(trouble, "red"));
  if (journalDropped > 0) lines.push(paint(journalRemark(journalDropped), "red"));
  return lines;
}

function maintenanceText({ until, reason }: NonNullable<Status["supervisor"]["maintenance"]>): string {
  const why = reason === null ? "" : ` (${reason})`;
  return `maintenance until ${until}${why}: no trigger closes positions; to end it: supervisor maintenance off`;
}

function journalRemark(lines: number): string {
  const what = lines === 1 ? "1 line of the journal was" : `${lines} lines of the journal were`;
  return `${what} lost since the supervisor started, to a full or unwritable disk: supervisor doctor`;
}

const BACKUP_HEADER = ["BACKUP", "STORE", "LAST", "SIZE", "TOOK", "NEXT"];
const BACKUP_DISPENSABLE = ["TOOK", "SIZE", "NEXT", "STORE"];

function backupRow(backup: BackupStatus): readonly Cell[] {
  const { target, store, lastSuccessAt, verified, sizeBytes, lastDurationSeconds, nextAt, overdue, running } = backup;
  return [
    [target],
    [store],
    [lastSuccessAt ?? "never", overdue || (lastSuccessAt !== null && !verified) ? "red" : undefined],
    [sizeBytes === null ? "-" : formatSize(sizeBytes)],
    [lastDurationSeconds === null ? "-" : ago(lastDurationSeconds)],
    [running ? "now" : (nextAt ?? "by hand")],
  ];
}

/** What of a target's backups deserves a second look. */
export function backupRemark(
  { target, store, lastSuccessAt, verified, overdue, lastError, copies, damaged = [] }: BackupStatus,
  paint: Paint,
): readonly string[] {
  const [what, verb] = copies === undefined ? ["backup", "run"] : ["copy", "copy"];
  const fix = `supervisor backup ${verb} ${target}`;
  return [
    ...(overdue ? [paint(`${target}: its ${what} in ${store} is overdue; try it now: ${fix}`, "red")] : []),
    ...(lastError === null ? [] : [paint(`${target}: the last ${what} to ${store} failed: ${lastError}`, "yellow")]),
    ...damaged.map(({ id, reason }) => paint(`${target}: ${id} in ${store} is DAMAGED: ${reason}`, "red")),
    ...(lastSuccessAt === null || verified
      ? []
      : [paint(`${target}: the last ${what} in ${store} is damaged; make another: ${fix}`, "red")]),
  ];
}

function drillRemark(drill: Status["drill"], paint: Paint): readonly string[] {
  if (drill === undefined) return [];
  const { id, lastAt, ok, rtoSeconds, nextAt, overdue, running, lastError } = drill;
  const next = running ? "one is under way" : nextAt === null ? "no other is due" : `the next is due ${nextAt}`;
  const last = lastError === null ? "" : `; the last one, ${id ?? ""} of ${lastAt ?? ""}, failed: ${lastError}`;
  if (overdue) return [paint(`the drill is overdue; do it now: supervisor drill${last}`, "red")];
  if (lastAt === null) return [paint(`no drill yet; ${next}`)];
  return ok === true
    ? [paint(`drill of ${lastAt}: everything restored in ${ago(rtoSeconds ?? 0)}; ${next}`)]
    : [paint(`drill ${id ?? ""} of ${lastAt} failed: ${lastError ?? "an objective was missed"}; ${next}`, "red")];
}

export const HEADER = [
  "BOT",
  "STATE",
  "HEALTH",
  "READY",
  "PID",
  "UP",
  "RESTARTS",
  "HEARTBEAT",
  "MEMORY",
  "CPU",
  "EMERGENCY",
];

/** What a narrow terminal does without, first of all; most of it stands in `status BOT --json` alone, an alarming EMERGENCY also below. */
const DISPENSABLE = ["CPU", "PID", "MEMORY", "UP", "READY", "HEARTBEAT", "RESTARTS", "EMERGENCY"];

export function headline({ supervisor }: Status, now: Date | undefined, paint: Paint): string {
  const { pid, version, uptimeSeconds, rssBytes, cgroup, asOf } = supervisor;
  if (pid === null) {
    const age = now === undefined ? "" : ageOf(asOf, now);
    return paint(`the supervisor is not running; last known state, as of ${asOf}${age}:`, ["bold", "red"]);
  }
  return paint(
    `supervisor ${version}  pid ${pid}  up ${ago(uptimeSeconds)}  ${formatSize(rssBytes)}  cgroup ${cgroup}`,
  );
}

/** Empty where the clock was set back since, so that nothing could be told. */
function ageOf(asOf: string, now: Date): string {
  const seconds = (now.getTime() - new Date(asOf).getTime()) / 1_000;
  return seconds >= 0 ? `, ${ago(seconds)} ago` : "";
}

const STATE_STYLE: Record<BotStatus["state"], Style> = {
  running: "green",
  starting: "yellow",
  stopping: "yellow",
  backoff: "yellow",
  stopped: "dim",
  recovering: ["bold", "red"],
  halted: "red",
  locked: ["bold", "red"],
  stuck: ["bold", "red"],
};
const HEALTH_STYLE: Record<BotStatus["health"], Style> = { healthy: "green", pending: "yellow", unhealthy: "red" };

export function botRow(bot: BotStatus): readonly Cell[] {
  const { restarts, heartbeat, resources, emergency } = bot;
  return [
    [bot.name],
    [bot.state, STATE_STYLE[bot.state]],
    bot.state === "stopped" ? ["-"] : [bot.health, HEALTH_STYLE[bot.health]],
    [bot.ready ? "yes" : "no"],
    [bot.pid === null ? "-" : String(bot.pid)],
    [bot.uptimeSeconds === null ? "-" : ago(bot.uptimeSeconds)],
    [restartsText(restarts)],
    [heartbeat.ageSeconds === null ? "-" : `${heartbeat.ageSeconds.toFixed(1)}s ago`],
    [resources === null ? "-" : formatSize(resources.rssBytes)],
    [resources === null ? "-" : `${resources.cpuPercent.toFixed(1)}%`],
    [emergencyText(emergency), emergencyStyle(emergency.state)],
  ];
}

/** A spent budget counts one more than it allows: the restart that was not granted any more. */
function restartsText({ total, inPeriod, intensity }: BotStatus["restarts"]): string {
  return inPeriod > intensity ? `${total} (spent)` : `${total} (${inPeriod}/${intensity})`;
}

/** What was left as it was asked for is no rest that a close could not close. */
function emergencyText({ state, outcome }: BotStatus["emergency"]): string {
  return state === "residual" && (outcome === "cancelled" || outcome === "reduced") ? outcome : state;
}

function emergencyStyle(state: BotStatus["emergency"]["state"]): Style | undefined {
  if (state === "off") return "dim";
  return state === "armed" ? undefined : ["bold", "red"];
}

export function remarks(bot: BotStatus, paint: Paint): readonly string[] {
  const { name, reason, heartbeat, restarts, lastExit, emergency } = bot;
  const lines: string[] = [];
  if (reason !== null) lines.push(`${name}: ${reason}`);
  if (bot.definition === "outdated")
    lines.push(
      `${name}: runs as it was started, and the config has changed since; to start it anew: supervisor restart ${name}`,
    );
  if (heartbeat.status !== null) lines.push(`${name} says: ${heartbeat.status}`);
  if (restarts.nextStartAt !== null) lines.push(`${name}: next start at ${restarts.nextStartAt}`);
  if (lastExit !== null) lines.push(`${name}: last exit ${lastExit.at}, ${exitText(lastExit)}`);
  for (const probe of bot.probes)
    if (probe.verdict === "unhealthy") lines.push(`${name}: probe ${probe.name}: ${probe.reason ?? "unhealthy"}`);
  const painted = lines.map((line) => paint(line));
  if (emergency.preflight === "failed")
    painted.push(
      paint(
        `${name}: its last preflight failed: an emergency close may not work; see: supervisor emergency preflight ${name}`,
        "red",
      ),
    );
  if (bot.level === "minimal")
    painted.push(
      paint(
        `${name}: level minimal, as its data was restored; when it agrees with the account: supervisor arm ${name} --reason TEXT`,
        "yellow",
      ),
    );
  if (bot.state === "locked") painted.push(...lockRemarks(bot).map((line) => paint(line, "red")));
  if (typeof emergency.owed === "string") painted.push(paint(`${name}: ${emergency.owed}`, "red"));
  if (emergency.incident !== null)
    painted.push(paint(`${name}: incident ${emergency.incident}, locked since ${emergency.lockedSince}`));
  return painted;
}

/** The number is what `logs --run` takes. */
function startText({ name, generation, startedAt }: BotStatus, paint: Paint): string {
  if (generation === 0) return "";
  return `${paint(`${name}: start ${generation}${startedAt === null ? "" : `, of ${startedAt}`}`)}\n`;
}

/** The detail of a probe's cause begins with the probe's name, which the cause has said already. */
function exitText({ cause, detail }: NonNullable<BotStatus["lastExit"]>): string {
  const said = `${cause.replace(/^probe:/, "")}: `;
  return `cause ${cause}: ${detail.startsWith(said) ? detail.slice(said.length) : detail}`;
}

/** How the last close ended, as far as the status tells, and what a person can do about it. */
function lockRemarks({ name, account, emergency }: BotStatus): readonly string[] {
  const arm = `supervisor arm ${name} --reason TEXT`;
  const close = closeCommand(name, account);
  const every = `tried again every ${CLOSE_RETRY_MS / 1_000} s while the supervisor runs`;
  // Older daemons do not tell.
  const again = emergency.retries == null ? `${every}, unless a person has acknowledged it` : every;
  const accept = `${name}: supervisor emergency plan ${name} shows what is open; to arm it all the same: ${arm} --accept-positions`;
  const seen = emergency.seen ?? undefined;
  const when = seen === undefined ? "the account is flat" : `the account was flat when last seen, ${seen.at}`;
  if (emergency.state === "flat") return [`${name}: locked out, ${when}; when it is safe: ${arm}`];
  // Without an emergency section nobody can look at the account.
  if (emergency.state === "off" && emergency.outcome === "flat")
    return [`${name}: locked out, its last close ended flat; when it is safe: ${arm}`];
  if (emergency.outcome === "flat" && seen !== undefined)
    return [
      `${name}: locked out, its last close ended flat, and the account is not any more: ${seenText(seen)}; to close it: ${close}`,
      accept,
    ];
  const done = emergency.outcome === "cancelled" ? "cancelled the orders" : "reduced the exposure";
  if (emergency.outcome === "cancelled" || emergency.outcome === "reduced")
    return [
      `${name}: locked out, its last close ${done}, as asked, and what is left is open; to close it: ${close}`,
      accept,
    ];
  const known = acknowledgedText(emergency);
  if (known !== undefined) {
    const left =
      emergency.state === "residual" ? "did not end flat: something is open" : "did not prove the account flat";
    return [
      `${name}: locked out, its last close ${left}; ${known}, and it is not tried again; to try it: ${close}`,
      accept,
    ];
  }
  if (emergency.state === "residual")
    return [`${name}: locked out, its last close did not end flat: something is open; ${again}`, accept];
  return [
    `${name}: locked out, its last close did not prove the account flat; why: supervisor events --bot ${name}`,
    emergency.retries == null
      ? `${name}: an unreadable venue is ${again}; a refused key or venue is not: repair it, then: ${close}`
      : `${name}: it is ${emergency.retries ? every : "not tried again by itself"}; once what was in its way is repaired: ${close}`,
    accept,
  ];
}

/** `undefined`: nobody has, as far as the status tells. */
function acknowledgedText({ acknowledged, retries, state }: BotStatus["emergency"]): string | undefined {
  // Of an older daemon, which did not tell it: nothing else ends the rounds of such a close.
  if (acknowledged == null)
    return retries === false && state === "residual" ? "a person has acknowledged that" : undefined;
  const { at, by, reason } = acknowledged;
  return `${by ?? "a person"} has acknowledged that ${at}${reason === null ? "" : ` (${reason})`}`;
}

function seenText({ at, positions, orders, loans }: NonNullable<BotStatus["emergency"]["seen"]>): string {
  const owed = loans === 0 ? "" : ` and ${counted(loans, "loan")}`;
  return `${counted(positions, "position")}, ${counted(orders, "open order")}${owed} were there ${at}`;
}

export function probeTable(bot: BotStatus, paint: Paint): string {
  if (bot.probes.length === 0) return "";
  const lines = bot.probes.map(({ name, kind, role, verdict, result, reason, latencySeconds }) => {
    const latency = latencySeconds === null ? "" : `  ${(latencySeconds * 1_000).toFixed(1)} ms`;
    const last = result === null ? "not run yet" : result;
    const why = reason === null ? "" : `: ${reason}`;
    return `${paint(`  ${name} (${kind}, ${role}): `)}${paint(verdict, HEALTH_STYLE[verdict])}${paint(`, last ${last}${latency}${why}`)}`;
  });
  return [paint(`probes of ${bot.name}:`), ...lines].join("\n");
}

/** A span for people: "4.2s", "3m 5s", "2h 10m", "5d 3h". */
export function ago(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h ${Math.floor((whole % 3_600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3_600)}h`;
}
