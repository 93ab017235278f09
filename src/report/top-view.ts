/** What `supervisor top` shows, as lines for a screen of any size: bots above, the last events below, one line of keys at the end. */
import type { JournalEntry } from "../core/journal-entry.ts";
import type { Status } from "../core/status.ts";
import { eventLine } from "./event-text.ts";
import { backupRemark, botTable, headline, remarks, statusTable, supervisorRemarks } from "./status-table.ts";
import { painter, type Paint, type Style } from "./text-table.ts";

export interface TopView {
  /** As it was last seen; `undefined`: not yet, or never. */
  readonly status: Status | undefined;
  /** Why it is not the state of now. */
  readonly trouble: string | undefined;
  /** The oldest first. */
  readonly events: readonly JournalEntry[];
  /** Name of the bot that the keys have led to; of one that is gone, the first is meant. */
  readonly chosen: string | undefined;
  /** The chosen bot alone, as `status BOT` shows it. */
  readonly detail: boolean;
}

export interface TopScreen {
  readonly rows: number;
  /** Characters. */
  readonly columns: number;
  readonly colour: boolean;
  readonly now: Date;
  /** Makes the commands that a line proposes work as they stand. */
  readonly propose: (line: string) => string;
}

/** Lines that remain for events and their heading, however many bots there are; of a low screen a third. */
const MIN_EVENT_LINES = 6;
/** The same beside one bot, whose probes matter more. */
const MIN_OWN_EVENT_LINES = 3;
/** Lines about the supervisor itself, and those about bots that many bots must leave room for. */
const MAX_OWN_LINES = 3;
const MIN_REMARK_LINES = 3;

/** Exactly as many lines as the screen has, none wider than it. */
export function topLines(view: TopView, screen: TopScreen): readonly string[] {
  const { rows, columns } = screen;
  const paint = painter(screen.colour);
  const room = Math.max(rows - 1, 1);
  const most = room - Math.min(view.detail ? MIN_OWN_EVENT_LINES : MIN_EVENT_LINES, Math.floor(room / 3));
  const chosen = chosenIn(view);
  const upper = (view.detail && chosen !== undefined ? oneBot : allBots)({ ...view, chosen }, screen, most, paint);
  const heard = view.detail ? view.events.filter(({ bot }) => bot === chosen) : view.events;
  const lower = eventLines(heard, room - upper.length, screen.now, paint);
  const body = [...upper, ...lower];
  const empty = Array.from({ length: Math.max(room - body.length, 0) }, () => "");
  const keys = view.detail
    ? "q quit   up, down: another bot   Enter: all bots"
    : "q quit   up, down: choose a bot   Enter: its probes";
  return [...body, ...empty, paint(keys, "dim")].slice(0, rows).map((line) => clip(screen.propose(line), columns));
}

/** The bot that is meant, as long as there is any. */
export function chosenIn({ status, chosen }: Pick<TopView, "status" | "chosen">): string | undefined {
  const names = status?.bots.map(({ name }) => name) ?? [];
  return names.find((name) => name === chosen) ?? names[0];
}

type Part = (view: TopView, screen: TopScreen, most: number, paint: Paint) => readonly string[];

const allBots: Part = (view, { columns, colour, now }, most, paint) => {
  const { status, chosen } = view;
  if (status === undefined) return troubleLines(view, paint);
  const own = supervisorRemarks(status.supervisor, paint).slice(0, MAX_OWN_LINES);
  const head = [...troubleLines(view, paint), headline(status, now, paint), ...own];
  const [titles = "", ...lines] = botTable(status.bots, columns - MARK.length, paint).split("\n");
  const bots = lines.slice(0, status.bots.length);
  const notes = lines.slice(status.bots.length);
  const told = [
    ...status.bots.flatMap((bot) => remarks(bot, paint)),
    ...status.backups.flatMap((b) => backupRemark(b, paint)),
  ];
  const left = most - head.length - 1 - notes.length - Math.min(told.length, MIN_REMARK_LINES);
  // One of the lines counts those that are hidden.
  const size = bots.length <= left ? bots.length : Math.max(left - 1, 1);
  const at = status.bots.findIndex(({ name }) => name === chosen);
  const { from, to } = windowAround(at, bots.length, size);
  const table = bots.slice(from, to).map((line, index) => marked(line, from + index === at, colour));
  const hidden = bots.length - (to - from);
  const upper = [...head, `${NO_MARK}${titles}`, ...table, ...notes.map((note) => `${NO_MARK}${note}`)];
  if (hidden > 0) upper.push(paint(`${NO_MARK}(${hidden} more above or below)`, "dim"));
  return [...upper, ...cutTo(told, most - upper.length, paint)].slice(0, most);
};

const oneBot: Part = (view, { columns, colour, now }, most, paint) => {
  const { status, chosen } = view;
  if (status === undefined) return troubleLines(view, paint);
  const { drill: _drill, ...rest } = status;
  const only = { ...rest, bots: status.bots.filter(({ name }) => name === chosen), backups: [] };
  const lines = statusTable(only, { colour, columns, detail: true, now }).split("\n");
  return cutTo([...troubleLines(view, paint), ...lines], most, paint);
};

function troubleLines({ trouble }: TopView, paint: Paint): readonly string[] {
  return trouble === undefined ? [] : [paint(trouble, ["bold", "red"])];
}

const MARK = "> ";
const NO_MARK = "  ";

function marked(line: string, isChosen: boolean, colour: boolean): string {
  if (!isChosen) return `${NO_MARK}${line}`;
  return colour ? `\u001B[7m${MARK}${line}\u001B[27m` : `${MARK}${line}`;
}

/** At most so many lines; what is left out is counted in the last one. */
function cutTo(lines: readonly string[], most: number, paint: Paint): readonly string[] {
  if (lines.length <= most) return lines;
  if (most <= 0) return [];
  return [...lines.slice(0, most - 1), paint(`(${lines.length - most + 1} more lines)`, "dim")];
}

/** The part of a list that is shown: `size` of `count`, with the one at `at` in its middle as far as the ends allow. */
function windowAround(at: number, count: number, size: number): { readonly from: number; readonly to: number } {
  const from = Math.max(Math.min(at - Math.floor(size / 2), count - size), 0);
  return { from, to: Math.min(from + size, count) };
}

const EVENT_STYLE: Readonly<Record<JournalEntry["level"], Style | undefined>> = {
  debug: "dim",
  info: undefined,
  warn: "yellow",
  alert: "red",
};

/** The last ones that fit below their heading. */
function eventLines(events: readonly JournalEntry[], room: number, now: Date, paint: Paint): readonly string[] {
  if (room < 2) return [];
  const today = now.toISOString().slice(0, 10);
  const last = events.slice(-(room - 1)).map((entry) => paint(eventLine(entry, { today }), EVENT_STYLE[entry.level]));
  return [paint("EVENTS", "bold"), ...(last.length === 0 ? [paint("none yet", "dim")] : last)];
}

/** The line in at most `columns` cells of a terminal; one that is wider ends with an ellipsis. Styles are kept, and ended. */
function clip(line: string, columns: number): string {
  if (Bun.stringWidth(line) <= columns) return line;
  const cut = Bun.sliceAnsi(line, 0, columns - ELLIPSIS.length);
  // A character of two cells that begins in the last one is not cut off.
  const fits = Bun.stringWidth(cut) < columns;
  return `${fits ? cut : Bun.sliceAnsi(line, 0, columns - 1 - ELLIPSIS.length)}${ELLIPSIS}`;
}

const ELLIPSIS = "…";

export type TopKey = "quit" | "up" | "down" | "enter" | "back";

const KEYS: Readonly<Record<string, TopKey>> = {
  q: "quit",
  Q: "quit",
  "\u0003": "quit",
  k: "up",
  "\u001B[A": "up",
  "\u001BOA": "up",
  j: "down",
  "\u001B[B": "down",
  "\u001BOB": "down",
  "\r": "enter",
  "\n": "enter",
  "\u001B": "back",
};

/** The keys that a terminal has sent; the others are nobody's. */
export function keysIn(text: string): readonly TopKey[] {
  // Safe: a terminal's keys begin so (ECMA-48, and SS3 of the VT100).
  // oxlint-disable-next-line no-control-regex
  const typed = text.match(/\u001B(?:\[[\d;]*[@-~]|O.)?|[^]/gu) ?? [];
  return typed.flatMap((key) => KEYS[key] ?? []);
}

/** What a key other than `quit` makes of the view. */
export function afterKey(view: TopView, key: Exclude<TopKey, "quit">): TopView {
  const names = view.status?.bots.map(({ name }) => name) ?? [];
  const chosen = chosenIn(view);
  const at = chosen === undefined ? -1 : names.indexOf(chosen);
  switch (key) {
    case "up":
      return { ...view, chosen: names[Math.max(at - 1, 0)] };
    case "down":
      return { ...view, chosen: names[Math.min(at + 1, names.length - 1)] };
    case "enter":
      return { ...view, chosen, detail: !view.detail && chosen !== undefined };
    case "back":
      return { ...view, detail: false };
  }
}
