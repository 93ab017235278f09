/** What a CLI verb is: one file that exports `command: Verb`, plus one line in verbs.ts. */
import type { Command } from "commander";
import type { PlainWords } from "./plain-words.ts";

/** The terminal, as a verb may use it; tests pass their own. */
export interface CliIo {
  /** Text for people, or the one JSON object of `--json`; a newline is added. */
  readonly out: (text: string) => void;
  /** Diagnostics. */
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Standard output is a terminal that may be redrawn. */
  readonly isTerminal: boolean;
  /** Width of that terminal, characters; `undefined` when there is none, or it does not tell. */
  readonly columns?: number | undefined;
  /** Standard output may be coloured: a terminal without NO_COLOR, or FORCE_COLOR. */
  readonly colour: boolean;
  /** Set once; the process ends with it when the verb's work is done. */
  readonly setExitCode: (code: number) => void;
}

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** Hidden verbs are the binary's own subprocesses. */
  readonly hidden?: boolean;
  /** It does something: a reader of its output that goes away neither ends it nor changes its exit code. */
  readonly acts?: true;
  /** No reader of its output may make it wait. */
  readonly neverWaits?: true;
  /** Runs a plain command line, as `configure` would have it run; `undefined` for one that it leaves to commander. */
  readonly runPlain?: (plain: PlainWords, io: CliIo) => Promise<void> | undefined;
  readonly configure: (command: Command, io: CliIo) => void;
}
