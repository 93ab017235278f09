/**
 * Tells the next supervisor how this one has ended: while it has the state folder, `running.json` there says so, with a sign of life
 * every 10 s as the file's time, and its own end takes the file away.
 */
import { statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { isRecord, isWhole } from "../../core/plain-check.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, removeIfThere, replaceFile } from "../../platform/files.ts";
import { bootId } from "../../platform/proc.ts";

/** The file has some hundred bytes. */
const MAX_BYTES = 4_096;

export class Presence {
  readonly #path: string;
  readonly #clock: Clock;
  /** As in `BotDeps`. */
  readonly #foreign: () => boolean;

  constructor(stateDir: string, clock: Clock, foreign: () => boolean) {
    this.#path = join(stateDir, "running.json");
    this.#clock = clock;
    this.#foreign = foreign;
  }

  /** Begins, and answers what is to be told of the supervisor before; `undefined`: it has ended by itself, or there was none. Never throws. */
  begin(): string | undefined {
    const found = this.#judge();
    this.#write();
    return found;
  }

  /** Every 10 s. Never throws. */
  sign(): void {
    if (this.#foreign()) return;
    const now = this.#clock.wallTime();
    try {
      utimesSync(this.#path, now, now);
    } catch {
      // Another folder is in the place of the one that had it.
      this.#write();
    }
  }

  /** This supervisor ends by itself. Never throws. */
  end(): void {
    if (this.#foreign()) return;
    try {
      removeIfThere(this.#path);
    } catch {
      // The next one tells of a death that was none.
    }
  }

  #write(): void {
    try {
      replaceFile(this.#path, `${JSON.stringify({ version: 1, pid: process.pid, bootId: bootId() ?? null })}\n`);
    } catch {
      // Without it a death is not told: on a full disk the bots come first.
    }
  }

  #judge(): string | undefined {
    try {
      const found: unknown = JSON.parse(readTextIfExists(this.#path, MAX_BYTES) ?? "null");
      if (!isRecord(found) || !isWhole(found["pid"])) return undefined;
      const { pid, bootId: boot } = found;
      const between = `between ${statSync(this.#path).mtime.toISOString()} and ${this.#clock.wallTime().toISOString()}`;
      if (boot !== (bootId() ?? null))
        return `the machine was restarted ${between}, and the supervisor before, pid ${pid}, had no time to end`;
      return `the supervisor before, pid ${pid}, ended without a word ${between}: it was killed or has crashed; look for the kernel's OOM killer (journalctl -k, dmesg)`;
    } catch {
      // A file that cannot be read tells of nobody.
      return undefined;
    }
  }
}
