/** A crash dump as an incident report: what happened, what the bot was doing, what led to it, what to do next. */
import { parseEvent } from "../core/blackbox.ts";
import type { DumpManifest } from "../core/dump-manifest.ts";
import { readEntry } from "../core/journal-entry.ts";
import { plainText } from "../core/plain-text.ts";
import type { Sample } from "../core/samples.ts";
import { formatSize } from "../core/size.ts";
import { blackboxLine } from "./blackbox-text.ts";
import { eventLine } from "./event-text.ts";
import { ago } from "./status-table.ts";
import { stackOfBot, wordsBefore } from "./stack-text.ts";

/** Of a death that was dumped in full shortly before. */
const LIGHT = "light: the full dump of this kind of death is ten minutes older at most";
const TIMELINE_LINES = 20;
const EVENT_LINES = 20;
const OUTPUT_LINES = 15;
const STACK_LINES = 40;
const STATE_LINES = 10;
/** Columns of a trend. */
const TREND_COLUMNS = 48;
const BARS = "▁▂▃▄▅▆▇█";

export interface DumpView {
  readonly manifest: DumpManifest;
  /** Text of an entry; `undefined` where the dump has none of this name. */
  readonly text: (path: string) => string | undefined;
  /** What the instrument page says, one line each. */
  readonly instruments: readonly string[];
  readonly samples: readonly Sample[];
}

/** The report, one line each; no line moves a terminal's cursor. */
export function dumpReport(view: DumpView): readonly string[] {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ["What the bot was doing", view.instruments],
    ["Stack", stackLines(view.text)],
    ["What its state says it holds", stateLines(view.text("state/summary.json"))],
    ["Its last events", eventLines(view.text("blackbox/events.ndjson"))],
    ["Its last words", lastLines(wordsBefore(stackText(view.text), view.text("output.tail") ?? ""), OUTPUT_LINES)],
    ["Threads", threadLines(view.text("threads.json"))],
    ["Connections", connectionLines(view.text("fds.json"))],
    ["The last quarter of an hour", trendLines(view.samples)],
    ["What the supervisor saw and did", timelineLines(view.text("supervisor.ndjson"), view.manifest.bot)],
    ["Not in this dump", view.manifest.missing.map(({ path, why }) => `${path}: ${why}`)],
    ["What to do next", nextSteps(view)],
  ];
  return [
    ...headLines(view.manifest),
    ...sections.flatMap(([title, lines]) =>
      lines.length === 0 ? [] : ["", title, ...lines.map((line) => `  ${line}`)],
    ),
  ].map(plainText);
}

function headLines(manifest: DumpManifest): readonly string[] {
  const {
    bot,
    account,
    exit,
    reason,
    createdAt,
    startedAt,
    generation,
    pid,
    restarts,
    level,
    repeats,
    versions,
    live,
    light = false,
  } = manifest;
  const lived =
    startedAt === null ? "" : `, after ${ago(Math.max(0, Date.parse(createdAt) - Date.parse(startedAt)) / 1_000)}`;
  const how = exit === null ? "dumped while it ran" : `ended: ${exit.detail === "" ? reason : exit.detail}`;
  return [
    `${bot} ${how}`,
    `  cause ${reason}${exit === null ? "" : ` (${exit.signal ?? `exit code ${exit.code ?? "unknown"}`})`}, ${createdAt}${lived}`,
    `  account ${account}, start ${generation}, pid ${pid ?? "unknown"}, ${restarts} restarts, level ${level}`,
    `  ${light ? LIGHT : live ? "read while it lived" : "it was dead before it could be read"}; supervisor ${versions.supervisor}, Linux ${versions.kernel}`,
    ...(repeats === 0 ? [] : [`  ${repeats} ${repeats === 1 ? "death" : "deaths"} of this kind before it not dumped`]),
  ];
}

function eventLines(text: string | undefined): readonly string[] {
  return (text ?? "")
    .split("\n")
    .flatMap((line) => parseEvent(line, "") ?? [])
    .slice(-EVENT_LINES)
    .map(blackboxLine);
}

function timelineLines(text: string | undefined, bot: string): readonly string[] {
  return (text ?? "")
    .split("\n")
    .flatMap((line) => readEntry(parseJson(line)) ?? [])
    .filter((entry) => entry.level !== "debug" && (entry.bot === bot || entry.bot === undefined))
    .slice(-TIMELINE_LINES)
    .map((entry) => eventLine(entry));
}

function lastLines(text: string, count: number): readonly string[] {
  return text.split("\n").filter(Boolean).slice(-count);
}

/** Entries with stacks, of which one dump has one; the innermost frames come first in each. */
const STACKS = ["stacks/node.txt", "stacks/python.txt", "stacks/quit.txt"];

function stackText(text: DumpView["text"]): string {
  return STACKS.map((path) => text(path) ?? "").join("");
}

function stackLines(text: DumpView["text"]): readonly string[] {
  const lines = stackOfBot(stackText(text));
  const more = lines.length - STACK_LINES;
  return more > 0 ? [...lines.slice(0, STACK_LINES), `… ${more} more lines are in the dump`] : lines;
}

/** Positions and unfinished orders, as the bot has kept them last; the venue may say otherwise. */
function stateLines(text: string | undefined): readonly string[] {
  const state = parseJson(text ?? "");
  if (typeof state !== "object" || state === null) return [];
  const words = (each: object, ...keys: string[]): string => keys.map((key) => stringOf(each, key)).join(" ");
  const positions = listOf(Reflect.get(state, "positions"));
  const orders = listOf(Reflect.get(state, "orders"));
  const reconcile = stringOf(state, "needsReconcile");
  return [
    ...(reconcile === "" ? [] : [`to be reconciled since ${reconcile}`]),
    ...positions.slice(0, STATE_LINES).map((each) => `position ${words(each, "side", "quantity", "symbol", "status")}`),
    ...orders.slice(0, STATE_LINES).map((each) => `order ${words(each, "id", "side", "quantity", "symbol", "status")}`),
    ...(positions.length + orders.length === 0 ? ["no position and no unfinished order"] : []),
  ];
}

/** How many threads are in which state, and where the first of them waits. */
function threadLines(text: string | undefined): readonly string[] {
  const threads = listIn(text);
  if (threads.length === 0) return [];
  if (!threads.some((thread) => stringOf(thread, "state") !== "")) return frozenLines(threads);
  const states = Map.groupBy(threads, (thread) => stringOf(thread, "state") || "?");
  const counts = [...states].map(([state, same]) => `${same.length} ${STATES[state] ?? state}`).join(", ");
  const [first] = threads;
  const waits = first === undefined ? "" : stringOf(first, "wchan");
  const main = waits === "" || waits === "0" ? [] : [`the main thread waits in ${waits}`];
  return [counts, ...main];
}

/** Threads that were looked at when they stood still: what each had computed is all that is known. */
function frozenLines(threads: readonly object[]): readonly string[] {
  const [busiest] = threads.toSorted((a, b) => cpuMs(b) - cpuMs(a));
  const most = busiest === undefined ? "" : `, most CPU time in ${stringOf(busiest, "comm")}`;
  return [`${threads.length} ${threads.length === 1 ? "thread" : "threads"}, stopped for the kill${most}`];
}

function cpuMs(thread: object): number {
  return Number(Reflect.get(thread, "cpuMs")) || 0;
}

/** proc(5) */
const STATES: Readonly<Record<string, string>> = {
  R: "running",
  S: "sleeping",
  D: "waiting for the kernel or a disk (D)",
  T: "stopped by a signal (T)",
  t: "stopped by a debugger",
  Z: "dead, not waited for",
};

function connectionLines(text: string | undefined): readonly string[] {
  const fds = listIn(text);
  const connections = fds.map((fd) => stringOf(fd, "socket")).filter((socket) => socket !== "");
  const sockets = fds.filter((fd) => stringOf(fd, "target").startsWith("socket:"));
  if (fds.length === 0) return [];
  // Whom a socket speaks to is not read in a hurry.
  const kinds =
    connections.length > 0 ? `${connections.length} of them connections` : `${sockets.length} of them sockets`;
  return [`${fds.length} open descriptors, ${kinds}`, ...connections.slice(0, 10)];
}

function trendLines(samples: readonly Sample[]): readonly string[] {
  if (samples.length < 2) return [];
  const cpu = samples.slice(1).map((sample, n) => {
    const before = samples[n];
    return before === undefined || sample.pid !== before.pid
      ? 0
      : (100 * (sample.cpuMs - before.cpuMs)) / (sample.at - before.at);
  });
  const rss = samples.map(({ rssBytes }) => rssBytes);
  const last = samples.at(-1);
  const available = last?.memoryAvailableBytes;
  return [
    `memory ${trend(rss)} ${formatBytes(rss[0] ?? 0)} → ${formatBytes(rss.at(-1) ?? 0)}`,
    `CPU    ${trend(cpu)} ${Math.round(cpu[0] ?? 0)} % → ${Math.round(cpu.at(-1) ?? 0)} %`,
    `the machine: load ${last?.load ?? "unknown"}, ${available === undefined ? "unknown" : formatBytes(available)} free`,
  ];
}

/** The values as a row of bars from 0 to the largest, each the largest of its span, so that no peak is lost. */
function trend(values: readonly number[]): string {
  const columns = Math.min(TREND_COLUMNS, values.length);
  const most = Math.max(...values, Number.MIN_VALUE);
  return Array.from({ length: columns }, (_, column) => {
    const from = Math.floor((column * values.length) / columns);
    const to = Math.floor(((column + 1) * values.length) / columns);
    const share = Math.max(0, ...values.slice(from, to)) / most;
    return BARS[Math.min(BARS.length - 1, Math.round(share * (BARS.length - 1)))];
  }).join("");
}

function nextSteps({ manifest, instruments, text }: DumpView): readonly string[] {
  const { bot, exit, reason, generation } = manifest;
  const steps: string[] = [];
  if (reason === "oom")
    steps.push("it was killed for want of memory: look at the trend above; raise limits.memory, or find what grows");
  if (reason === "heartbeat" || reason === "progress")
    steps.push(
      instruments.some((line) => line.startsWith("in progress")) || stackLines(text).length > 0
        ? "it hung where it is shown above: give that operation a deadline"
        : "it hung; record operations in its black box to see in which (docs/blackbox.md)",
    );
  if (exit?.signal === "SIGSEGV" || exit?.signal === "SIGBUS" || exit?.signal === "SIGILL")
    steps.push(
      `it crashed in native code (${exit.signal}): update its runtime and native packages; a core may be where ${coreAt(text)}`,
    );
  if (exit?.cause === "exited") steps.push("it ended by itself: its last words above say why, if it said anything");
  steps.push(`all it said: supervisor logs ${bot} --run ${generation}`);
  steps.push(`what followed: supervisor events --bot ${bot} --since ${manifest.createdAt}`);
  return steps;
}

function coreAt(text: DumpView["text"]): string {
  const pattern = text("host/sys.kernel.core_pattern")?.trim() ?? "";
  return pattern === "" ? "the kernel puts it" : `kernel.core_pattern puts it: ${pattern}`;
}

function formatBytes(bytes: number): string {
  return formatSize(Math.round(bytes / 1_048_576) * 1_048_576);
}

function listIn(text: string | undefined): readonly object[] {
  return listOf(parseJson(text ?? ""));
}

function listOf(value: unknown): readonly object[] {
  return Array.isArray(value)
    ? value.filter((each: unknown): each is object => typeof each === "object" && each !== null)
    : [];
}

function stringOf(value: object, key: string): string {
  const found: unknown = Reflect.get(value, key);
  return typeof found === "string" ? found : "";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
