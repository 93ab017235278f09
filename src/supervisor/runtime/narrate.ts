/** Turns decisions into journal entries: the facts for replay, and one sentence for people. */
import type { JournalInput } from "../../core/journal-entry.ts";
import type { Effect, Event, State, Timer } from "../../core/lifecycle-types.ts";
import { pidsText } from "../../core/pids-text.ts";
import type { ProbeView } from "./schedule.ts";

type Level = JournalInput["level"];
/** Quietest first. */
const LEVELS: readonly Level[] = ["debug", "info", "warn", "alert"];

/** Longest part of a stack trace that goes into one journal line, characters. */
const MAX_STACK_CHARS = 4_000;

const LASTING: ReadonlySet<Effect["kind"]> = new Set([
  "openIncident",
  "runAction",
  "endIncident",
  "acknowledgeIncident",
  "unlock",
]);

/** What has come when a timer has run out, in the names of the config where it has one. */
const ELAPSED = {
  start: "startTimeout is over",
  stop: "stopTimeout is over",
  backoff: "the wait is over",
  stable: "restart.resetAfter is over",
  settled: "healthy for long enough",
  closeAfter: "closeAfter is over",
  sweep: "another look at what is left",
  retry: "another round is due",
} as const satisfies Readonly<Record<Timer, string>>;

/** Whether the decision must outlive the machine, so that its journal line is forced to the disk before its effects. */
export function mustLast(effects: readonly Effect[]): boolean {
  return effects.some(({ kind }) => LASTING.has(kind));
}

/** What the journal says of a probe whose verdict has changed. */
export function verdictFact({ config, record, result }: ProbeView): { level: "info" | "warn" | "alert"; text: string } {
  const { verdict } = record;
  const reason = result !== undefined && result.kind !== "success" ? `: ${result.reason}` : "";
  const loud = config.onFailure === "alert" ? "alert" : "warn";
  const text = `probe ${config.name ?? config.kind} is ${verdict}${reason}`;
  return { level: verdict === "unhealthy" ? loud : "info", text };
}

/** The journal entry of one step of a bot's lifecycle. */
export function decisionEntry(
  bot: string,
  event: Event,
  from: State,
  to: State,
  effects: readonly Effect[],
): JournalInput {
  const what = describeEvent(event);
  let notes = "";
  let told = false;
  let level: Level = from.kind === to.kind ? "debug" : "info";
  for (const effect of effects) {
    if (effect.kind !== "note") continue;
    notes += notes === "" ? effect.text : `; ${effect.text}`;
    told ||= says(effect.text, what, event);
    level = louder(level, effect.level);
  }
  const text = `${move(from, to)}: ${told ? notes : notes === "" ? what : `${what}; ${notes}`}`;
  return {
    kind: "decision",
    bot,
    generation: to.generation,
    level,
    text,
    event,
    from: from.kind,
    to: to.kind,
    effects,
  };
}

function louder(level: Level, other: Level): Level {
  return LEVELS.indexOf(other) > LEVELS.indexOf(level) ? other : level;
}

function move(from: State, to: State): string {
  return from.kind === to.kind ? to.kind : `${from.kind} → ${to.kind}`;
}

/** The note begins with the event, or names its trigger, and says more. */
function says(note: string, what: string, event: Event): boolean {
  if (event.kind === "emergency" && note.includes(`(${event.trigger})`)) return true;
  return note.startsWith(what) && [undefined, ";", ":", ","].includes(note[what.length]);
}

function describeEvent(event: Event): string {
  switch (event.kind) {
    case "exited":
      if (event.code === null && event.signal === null) return "ended; how is not known, as it was adopted";
      return event.signal === null ? `exited with ${event.code}` : `killed by ${event.signal}`;
    case "failing":
      return event.detail;
    case "emergency":
      return `emergency (${event.trigger})`;
    case "elapsed":
      return ELAPSED[event.timer];
    case "spawnFailed":
      return event.reason;
    case "verdict":
      return `the bot is ${event.health}`;
    case "actionEnded":
      return `${event.action} ended ${event.outcome}`;
    case "survivors":
      return `still alive: ${pidsText(event.pids)}`;
    case "adopted":
      return `generation ${event.generation} of an earlier supervisor lives`;
    case "backoffFound":
      return "the version before waited to restart the bot";
    case "leftovers":
      return `alive from an earlier supervisor: ${pidsText(event.pids)}`;
    case "hookEnded":
      return `hook ${event.hook} ended`;
    case "lockFound":
      return "a lockout was found on disk";
    case "gone":
      return "the process tree is proven gone";
    case "leaving":
      return "the bot announced its end";
    case "extend":
      return `the bot asked for ${Math.round(event.extendMs)} ms more`;
    case "resetBackoff":
      return "the bot asked for a reset of its backoff";
    case "newPolicy":
      return "a new policy holds";
    case "stop":
    case "restart":
      return event.why ?? event.kind;
    case "start":
    case "arm":
    case "acknowledge":
    case "spawned":
    case "ready":
      return event.kind;
  }
}

/** What is said of a bot that was adopted although the config would start it otherwise now. */
export function outdatedText(bot: string): string {
  return `the bot goes on as it was started, and the config has changed since; to start it anew: supervisor restart ${bot}`;
}

/** What the journal says of what no code expected. */
export function bugText(error: unknown): string {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `internal error: ${text.slice(0, MAX_STACK_CHARS)}`;
}
