/** Shows how far a worker is (core/progress-display.ts) on standard error; nothing of it is in the output that scripts read. */
import { showProgress, type DeedProgress, type DisplayState } from "../../core/progress-display.ts";
import { systemClock } from "../../platform/clock.ts";
import type { CliIo } from "./verb.ts";

const CLEAR_LINE = "\r\u001B[K";

export class ProgressLine {
  readonly #io: CliIo;
  readonly #terminal = process.stderr.isTTY;
  #state: DisplayState | undefined;
  #drawn = false;

  constructor(io: CliIo) {
    this.#io = io;
  }

  show(progress: DeedProgress): void {
    const at = { atMs: systemClock.monotonicMs(), terminal: this.#terminal };
    const { state, text } = showProgress(this.#state, progress, at);
    this.#state = state;
    if (text === undefined) return;
    if (!this.#terminal) return this.#io.err(text);
    process.stderr.write(`${CLEAR_LINE}${text}`);
    this.#drawn = true;
  }

  /** Before anything else is written. */
  clear(): void {
    if (this.#drawn) process.stderr.write(CLEAR_LINE);
    this.#drawn = false;
  }
}
