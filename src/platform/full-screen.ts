/** A terminal as one screen that is drawn over and over (ECMA-48, and the private modes of xterm), and left as it was found. */
import { writeSync } from "node:fs";
import { terminalSize } from "./terminal.ts";

/** Alternate screen; no cursor; a line that is as wide as the screen does not go on in the next one. */
const ENTER = "\u001B[?1049h\u001B[?25l\u001B[?7l";
const LEAVE = "\u001B[?7h\u001B[?25h\u001B[?1049l";
const HOME = "\u001B[H";
const CLEAR_REST_OF_LINE = "\u001B[K";

/** Of a terminal that nobody has told its size. */
const COMMON_SIZE = { rows: 24, columns: 80 };

const END_SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

export interface ScreenEvents {
  /** What was typed. */
  readonly typed: (text: string) => void;
  readonly resized: () => void;
  /** A signal, or the end of the terminal, with the exit code that says so. */
  readonly ended: (exitCode: number) => void;
}

/** Whether standard input and output are a terminal that takes more than lines. */
export function hasScreen(env: Readonly<Record<string, string | undefined>>): boolean {
  return process.stdin.isTTY && process.stdout.isTTY && env["TERM"] !== "dumb";
}

/** From its making until `close`; also a process that ends by itself leaves the terminal as it was. */
export class FullScreen {
  readonly #undo: (() => void)[] = [];
  /** The terminal has not taken the last one yet: of those that follow, only the newest counts. */
  #busy = false;
  #next: readonly string[] | undefined;

  constructor({ typed, resized, ended }: ScreenEvents) {
    const { stdin, stdout } = process;
    const onExit = (): void => this.#restore();
    const onData = (bytes: Uint8Array): void => typed(new TextDecoder().decode(bytes));
    const onGone = (): void => ended(END_SIGNALS.SIGHUP);
    process.on("exit", onExit).on("SIGWINCH", resized);
    stdin.on("data", onData).on("end", onGone).on("error", onGone);
    stdout.on("error", onGone);
    this.#undo.push(() => {
      process.off("exit", onExit).off("SIGWINCH", resized);
      stdin.off("data", onData).off("end", onGone).off("error", onGone);
      stdout.off("error", onGone);
      stdin.pause();
    });
    for (const [signal, code] of Object.entries(END_SIGNALS)) {
      const onSignal = (): void => ended(code);
      process.on(signal, onSignal);
      this.#undo.push(() => process.off(signal, onSignal));
    }
    stdin.setRawMode(true);
    stdin.resume();
    stdout.write(ENTER);
  }

  get size(): { readonly rows: number; readonly columns: number } {
    return terminalSize(1) ?? COMMON_SIZE;
  }

  /** Over what is there, without clearing it first, which would flicker. */
  draw(lines: readonly string[]): void {
    if (this.#busy) {
      this.#next = lines;
      return;
    }
    const { columns } = this.size;
    // Behind the last column there is nothing to clear, and some terminals would take the last character for it.
    const rows = lines.map((line) => (Bun.stringWidth(line) < columns ? `${line}${CLEAR_REST_OF_LINE}` : line));
    this.#busy = true;
    process.stdout.write(`${HOME}${rows.join("\r\n")}`, () => {
      this.#busy = false;
      const next = this.#next;
      this.#next = undefined;
      if (next !== undefined) this.draw(next);
    });
  }

  /** Any number of times. */
  close(): void {
    this.#restore();
    for (const undo of this.#undo.splice(0)) undo();
  }

  #restore(): void {
    if (this.#undo.length === 0) return;
    try {
      process.stdin.setRawMode(false);
      // At once: the process may end now.
      writeSync(1, LEAVE);
    } catch {
      // The terminal is gone, and with it what there was to restore.
    }
  }
}
