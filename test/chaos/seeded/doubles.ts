/** Looks several times a second whether two starts of one bot live at the same time (invariant I1), whatever else goes on. */
import { isLive, readEnvironText, type ProcessId } from "../../../src/platform/proc.ts";
import { processesIn } from "../processes.ts";

/** Time between two looks, ms: a start lasts longer, and a look costs some milliseconds. */
const LOOK_MS = 150;

export interface DoubleWatch {
  /** Throws when two starts of one bot were ever seen alive together. */
  readonly check: () => void;
  readonly stop: () => void;
}

export function watchForDoubles(folder: string, bots: readonly string[]): DoubleWatch {
  let seen: string | undefined;
  const look = (): void => {
    seen ??= findDouble(folder, bots);
  };
  const timer = setInterval(look, LOOK_MS);
  return {
    check() {
      look();
      if (seen !== undefined) throw new Error(seen);
    },
    stop: () => clearInterval(timer),
  };
}

function findDouble(folder: string, bots: readonly string[]): string | undefined {
  const starts = new Map<string, Map<string, ProcessId>>();
  for (const id of processesIn(folder)) {
    const environ = readEnvironText(id.pid) ?? "";
    const bot = /(?:^|\0)SUPERVISOR_BOT=([^\0]*)/.exec(environ)?.[1];
    const invocation = /(?:^|\0)INVOCATION_ID=([^\0]*)/.exec(environ)?.[1];
    if (bot === undefined || invocation === undefined || !bots.includes(bot)) continue;
    starts.set(bot, (starts.get(bot) ?? new Map<string, ProcessId>()).set(invocation, id));
  }
  for (const [bot, ids] of starts) {
    // The look took a moment, in which one may have ended and the next one begun: both must be there now.
    const living = [...ids.values()].filter(({ pid, startTicks }) => isLive(pid, startTicks));
    if (living.length > 1)
      return `two starts of ${bot} live at the same time: pid ${living.map(({ pid }) => pid).join(", ")}`;
  }
  return undefined;
}
