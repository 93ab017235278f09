/** Tells the daemon's events to people: each as a line on standard error, and in the log file that the config names. */
import type { Clock } from "../../platform/clock.ts";
import { LineFile } from "../../platform/line-file.ts";
import { eventLine } from "../../report/event-text.ts";
import type { Journal } from "./journal.ts";
import { Mirror } from "./mirror.ts";

export interface TellDeps {
  readonly toStderr: (line: string) => void;
  /** Absolute path; `undefined`: no file. */
  readonly file: string | undefined;
  readonly clock: Clock;
}

/** From now on, for the life of the journal; the mirror is to be flushed at the end. A file that cannot be written is said once, until it can be again. */
export function tellEvents(journal: Journal, { toStderr, file, clock }: TellDeps): Mirror {
  const mirror = new Mirror(clock, toStderr);
  const log = file === undefined ? undefined : new LineFile(file, clock);
  let lost = false;
  const say = (level: "info" | "warn", text: string): void => journal.write({ kind: "daemon", level, text });
  journal.follow((entry) => {
    if (entry.level === "debug") return;
    mirror.tell(entry);
    if (log === undefined || log.append(eventLine(entry, { dated: true })) !== lost) return;
    // Noted first: what is said of it comes here again.
    lost = !lost;
    if (lost) say("warn", `cannot write to the log file: ${log.lastError}; the events are in the journal all the same`);
    else say("info", `the log file is written again; it misses ${log.dropped} lines`);
  });
  return mirror;
}
