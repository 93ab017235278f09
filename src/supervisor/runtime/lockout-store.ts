/**
 * The lockout of one bot on disk. It is written before anything is closed and removed by `arm` alone; where the state
 * folder cannot be written it goes to the runtime folder, which at least outlives the daemon.
 */
import { unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { readLockout, type Lockout } from "../../core/lockout.ts";
import type { RungOutcome } from "../../core/ladder.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, syncDir, writeFileAtomic } from "../../platform/files.ts";
import type { BotPlan } from "./bot-plan.ts";

/** Largest lockout file read, bytes; ours are below 2 KiB. */
const MAX_BYTES = 64 * 1024;

export class LockoutStore {
  readonly #plan: BotPlan;
  readonly #clock: Clock;
  readonly #onTrouble: (text: string) => void;
  #current: Lockout | undefined;

  constructor(plan: BotPlan, clock: Clock, onTrouble: (text: string) => void) {
    this.#plan = plan;
    this.#clock = clock;
    this.#onTrouble = onTrouble;
    this.#current = this.#load();
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get current(): Lockout | undefined {
    return this.#current;
  }

  /** Begins an incident, or goes on with the one whose account is not flat yet; on disk before it returns. */
  open(trigger: Trigger, reason: string, newIncident: () => string): Lockout {
    const before = this.#current;
    const goesOn = before !== undefined && before.outcome !== "flat";
    this.#current = {
      version: 1,
      bot: this.#plan.name,
      account: this.#plan.account,
      incident: goesOn ? before.incident : newIncident(),
      trigger: goesOn ? before.trigger : trigger,
      reason: goesOn ? before.reason : reason,
      lockedAt: goesOn ? before.lockedAt : this.#clock.wallTime().toISOString(),
      outcome: null,
      endedAt: null,
    };
    this.#save(this.#current);
    return this.#current;
  }

  end(outcome: RungOutcome): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, outcome, endedAt: this.#clock.wallTime().toISOString() };
    this.#save(this.#current);
  }

  /** Ends the lockout; a file that cannot be removed would lock the bot again at the next start, so that is said. */
  remove(): void {
    this.#current = undefined;
    for (const path of this.#paths) {
      try {
        unlinkSync(path);
        syncDir(dirname(path));
      } catch (error) {
        if (!isAbsent(error)) this.#onTrouble(`cannot remove ${path}: ${messageOf(error)}`);
      }
    }
  }

  get #paths(): readonly [string, string] {
    return [this.#plan.files.lockout, this.#plan.files.lockoutSpare];
  }

  #load(): Lockout | undefined {
    for (const path of this.#paths) {
      const reading = readLockout(this.#read(path));
      if (reading.kind === "locked") return reading.lockout;
      if (reading.kind === "damaged") return this.#damaged(path, reading.reason);
    }
    return undefined;
  }

  /** A file that is there and cannot be read counts as damaged, not as absent: the bot may be locked. */
  #read(path: string): string | undefined {
    try {
      return readTextIfExists(path, MAX_BYTES);
    } catch (error) {
      return `unreadable: ${messageOf(error)}`;
    }
  }

  #damaged(path: string, why: string): Lockout {
    const reason = `the lockout file ${path} cannot be read (${why}); the bot is taken for locked`;
    this.#onTrouble(reason);
    const now = this.#clock.wallTime().toISOString();
    return {
      version: 1,
      bot: this.#plan.name,
      account: this.#plan.account,
      incident: "damaged",
      trigger: "operator",
      reason,
      lockedAt: now,
      outcome: "lockDamaged",
      endedAt: now,
    };
  }

  #save(lockout: Lockout): void {
    const text = `${JSON.stringify(lockout, undefined, 2)}\n`;
    for (const path of this.#paths) {
      try {
        writeFileAtomic(path, text);
        return;
      } catch (error) {
        this.#onTrouble(`cannot write the lockout ${path}: ${messageOf(error)}`);
      }
    }
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
