/** The daemon's maintenance: begun and ended by a person, kept on disk, over by itself; core/maintenance.ts says what it means. */
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { formatDuration } from "../../core/duration.ts";
import { maintenanceLeftMs, parseMaintenance, type Maintenance } from "../../core/maintenance.ts";
import type { Status } from "../../core/status.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, syncDir, writeFileAtomic } from "../../platform/files.ts";

/** Ours is some hundred bytes. */
const MAX_BYTES = 4_096;

export interface MaintenanceDeps {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly say: (level: "info" | "warn" | "alert", text: string) => void;
  /** It has begun or ended. */
  readonly onChange: () => void;
}

export class MaintenanceWatch {
  readonly #deps: MaintenanceDeps;
  readonly #path: string;
  #current: Maintenance | undefined;
  /** Monotonic: a clock that is set meanwhile neither ends nor lengthens it. */
  #endsAtMs = 0;

  /** Goes on with what an earlier daemon left. A file that cannot be read suspends nothing, and that is said. */
  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
    this.#path = join(deps.stateDir, "maintenance.json");
    this.#resume();
  }

  get active(): boolean {
    return this.#current !== undefined;
  }

  get status(): NonNullable<Status["supervisor"]["maintenance"]> | null {
    if (this.#current === undefined) return null;
    const { sinceMs, untilMs, reason } = this.#current;
    return { since: new Date(sinceMs).toISOString(), until: new Date(untilMs).toISOString(), reason };
  }

  /** Begins, or begins anew with another time; on disk before it returns. Throws when it cannot be written: then nothing has changed. */
  begin(forMs: number, reason: string | undefined): void {
    const { clock, say, onChange } = this.#deps;
    const sinceMs = clock.wallTime().getTime();
    const next: Maintenance = { version: 1, sinceMs, untilMs: sinceMs + forMs, reason: reason ?? null };
    writeFileAtomic(this.#path, `${JSON.stringify(next)}\n`, 0o640);
    this.#current = next;
    this.#endsAtMs = clock.monotonicMs() + forMs;
    say(
      "alert",
      `maintenance for ${formatDuration(forMs)}${whyText(next)}: no trigger closes positions, only a person's emergency close does`,
    );
    onChange();
  }

  /** Ends it; false when there was none. Throws when the file cannot be removed: it would hold again after a restart. */
  end(why: string): boolean {
    if (this.#current === undefined) return false;
    rmSync(this.#path, { force: true });
    syncDir(dirname(this.#path));
    this.#current = undefined;
    this.#deps.say("alert", `maintenance is over: ${why}; emergencies close positions again`);
    this.#deps.onChange();
    return true;
  }

  /** Each second: its time may be over. */
  tick(): void {
    if (this.#current === undefined || this.#deps.clock.monotonicMs() < this.#endsAtMs) return;
    try {
      this.end("its time has passed");
    } catch (error) {
      // The accounts are protected again whatever the disk says; the file's own time is over for the next daemon as well.
      this.#current = undefined;
      this.#deps.say("alert", `maintenance is over, and cannot remove ${this.#path}: ${String(error)}`);
      this.#deps.onChange();
    }
  }

  #resume(): void {
    const { clock, say } = this.#deps;
    let text: string | undefined;
    try {
      text = readTextIfExists(this.#path, MAX_BYTES);
    } catch (error) {
      return say("alert", `no maintenance: cannot read ${this.#path}: ${String(error)}`);
    }
    if (text === undefined) return undefined;
    const found = parseMaintenance(text);
    if (found === undefined) return say("alert", `no maintenance: ${this.#path} is not understood`);
    const leftMs = maintenanceLeftMs(found, clock.wallTime().getTime());
    this.#current = found;
    this.#endsAtMs = clock.monotonicMs() + leftMs;
    if (leftMs === 0) return undefined;
    return say("warn", `maintenance goes on until ${new Date(found.untilMs).toISOString()}${whyText(found)}`);
  }
}

function whyText({ reason }: Maintenance): string {
  return reason === null ? "" : ` (${reason})`;
}
