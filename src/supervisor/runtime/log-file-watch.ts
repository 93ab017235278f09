/**
 * Sees that the file a bot writes to is still the one at its path. Who removes or moves it takes nothing from the bot, which
 * goes on writing to what it has open (unlink(2)), and nobody else reads that any more.
 */
import { lstatSync, type Stats } from "node:fs";

export interface LogFileWatchDeps {
  readonly log: string;
  readonly fact: (level: "alert", text: string) => void;
}

export class LogFileWatch {
  readonly #deps: LogFileWatchDeps;
  /** The file that the running start has open; its inode is `undefined` when it was gone before the first look. */
  #open: { readonly inode: number | undefined } | undefined;

  constructor(deps: LogFileWatchDeps) {
    this.#deps = deps;
  }

  /** A start has the file open, by now or since an earlier daemon. */
  opened(): void {
    this.#open = { inode: lstatSync(this.#deps.log, { throwIfNoEntry: false })?.ino };
  }

  closed(): void {
    this.#open = undefined;
  }

  /** Says once for each start that its file is gone; `stat` is what is at the path now. */
  look(stat: Pick<Stats, "ino"> | undefined): void {
    if (this.#open === undefined || (stat !== undefined && stat.ino === this.#open.inode)) return;
    this.#open = undefined;
    const { log, fact } = this.#deps;
    const what = stat === undefined ? "was removed" : "is another file now than the one that the bot has open";
    fact(
      "alert",
      `${log} ${what}: the bot goes on writing to the one that is gone, and that output is lost; a restart of the bot opens the file anew`,
    );
  }
}
