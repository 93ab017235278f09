/**
 * The order in which bots start when their supervisor starts, as systemd's After=: it orders and never forbids. A bot waits
 * for a helper that comes up, and not for one that has failed or takes longer than its own startTimeout.
 */
import type { EventKind, StateKind } from "./lifecycle-types.ts";

/** A bot that another one waits for. */
export interface Awaited {
  readonly state: StateKind;
  /** Running, and by its probes fit for work. */
  readonly ready: boolean;
  /** It waits for others itself. */
  readonly waits: boolean;
  /** Since when it does not wait any more, ms. */
  readonly sinceMs: number;
  readonly startTimeoutMs: number;
}

export type WaitVerdict =
  | { readonly kind: "wait" }
  | { readonly kind: "ready" }
  /** It is not waited for any longer: the sentence goes on after the name of the bot. */
  | { readonly kind: "over"; readonly reason: string };

/** Whether a bot is still waited for. Every wait ends: a chain of bots waits at most for the sum of their startTimeouts. */
export function judgeWait(awaited: Awaited, atMs: number): WaitVerdict {
  if (awaited.waits) return { kind: "wait" };
  switch (awaited.state) {
    case "starting":
    case "stopping":
    case "running":
      if (awaited.state === "running" && awaited.ready) return { kind: "ready" };
      if (atMs - awaited.sinceMs < awaited.startTimeoutMs) return { kind: "wait" };
      return { kind: "over", reason: "is not ready within its startTimeout" };
    case "stopped":
    case "backoff":
    case "recovering":
    case "halted":
    case "locked":
    case "stuck":
      return { kind: "over", reason: `is ${awaited.state}` };
  }
}

const ENDS_WAIT: ReadonlySet<EventKind> = new Set([
  "start",
  "stop",
  "restart",
  "emergency",
  "arm",
  "lockFound",
  "adopted",
]);

/** Whether a bot is not started in its turn any more after this event: somebody said otherwise, or it is started already. */
export function endsWait(event: EventKind): boolean {
  return ENDS_WAIT.has(event);
}

export interface OrderMistake {
  readonly bot: string;
  /** Place in the bot's list. */
  readonly index: number;
  readonly message: string;
}

/** What is wrong with the lists `after` of all bots: names that are none, names that stand twice, and circles. */
export function orderMistakes(after: ReadonlyMap<string, readonly string[]>): readonly OrderMistake[] {
  const mistakes: OrderMistake[] = [];
  for (const [bot, names] of after)
    for (const [index, name] of names.entries()) {
      const message = mistakeOf(bot, name, names.indexOf(name) < index, after);
      if (message !== undefined) mistakes.push({ bot, index, message });
    }
  return [...mistakes, ...circles(after)];
}

function mistakeOf(
  bot: string,
  name: string,
  twice: boolean,
  after: ReadonlyMap<string, readonly string[]>,
): string | undefined {
  if (name === bot) return `"${name}" is this bot itself; remove it`;
  if (twice) return `"${name}" stands twice; keep one`;
  if (after.has(name)) return undefined;
  const others = [...after.keys()].filter((other) => other !== bot);
  const known = others.length === 0 ? "there is no other bot" : `the other bots are ${others.join(", ")}`;
  return `"${name}" is not a bot of this config; correct the name or remove it (${known})`;
}

/** One mistake for each step that closes a circle, found depth first; a bot that names itself is told elsewhere. */
function circles(after: ReadonlyMap<string, readonly string[]>): readonly OrderMistake[] {
  const mistakes: OrderMistake[] = [];
  const done = new Set<string>();
  const visit = (bot: string, path: readonly string[]): void => {
    if (done.has(bot)) return;
    const way = [...path, bot];
    for (const [index, name] of (after.get(bot) ?? []).entries()) {
      const from = way.indexOf(name);
      if (from === -1) visit(name, way);
      else if (name !== bot)
        mistakes.push({
          bot,
          index,
          message: `closes a circle, ${[...way.slice(from), name].join(" after ")}: none could start first; remove one of these`,
        });
    }
    done.add(bot);
  };
  for (const bot of after.keys()) visit(bot, []);
  return mistakes;
}
