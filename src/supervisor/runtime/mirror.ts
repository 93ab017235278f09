/** The journal's lines for people on the daemon's stderr: a moment later and together, as a restart must not wait for a terminal or for journald. */
import type { JournalEntry } from "../../core/journal-entry.ts";
import type { Clock } from "../../platform/clock.ts";
import { eventLine } from "../../report/event-text.ts";

/** Time that a line may wait, ms: longer than a restart takes, and not to be seen by eye. */
const DELAY_MS = 10;
/** Lines that wait at most; then they are told at once. */
const MAX_WAITING = 256;

export class Mirror {
  readonly #clock: Clock;
  readonly #toStderr: (line: string) => void;
  #waiting: JournalEntry[] = [];
  #cancel = (): void => {};

  constructor(clock: Clock, toStderr: (line: string) => void) {
    this.#clock = clock;
    this.#toStderr = toStderr;
  }

  /** Tells the entry soon, and an alert at once, after all that came before it. What the journal holds for machines only is left out. */
  tell(entry: JournalEntry): void {
    if (entry.level === "debug") return;
    const first = this.#waiting.length === 0;
    this.#waiting.push(entry);
    if (entry.level === "alert" || this.#waiting.length >= MAX_WAITING) this.flush();
    else if (first) this.#cancel = this.#clock.after(DELAY_MS, () => this.flush());
  }

  /** Tells what waits. */
  flush(): void {
    this.#cancel();
    const entries = this.#waiting;
    this.#waiting = [];
    if (entries.length > 0) this.#toStderr(entries.map((entry) => eventLine(entry)).join("\n"));
  }
}
