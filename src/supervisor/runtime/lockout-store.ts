/**
 * The lockout of one bot on disk. It is written before anything is closed and removed by `arm` alone.
 *
 * Every change goes first into a slot whose room was taken at start, so that a full disk cannot lose it, then into
 * `lock.json` for people and scripts, and into the runtime folder where the state folder cannot be written at all.
 */
import { unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { gravestLockout, readLockout, type Lockout, type LockoutReading } from "../../core/lockout.ts";
import type { RungOutcome } from "../../core/ladder.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import { overwrite, readTextIfExists, reserveFile, syncDir, writeFileAtomic } from "../../platform/files.ts";
import type { BotPlan } from "./bot-plan.ts";

/** Largest lockout file read, bytes; ours are below 2 KiB. */
const MAX_BYTES = 64 * 1024;
/** Size of the slot, bytes: one block, which a disk writes whole or not at all. */
const SLOT_BYTES = 4_096;
/** Longest reason that goes into a lockout, characters, so that it fits into the slot whatever it says. */
const REASON_CHARS = 500;

export interface LockoutDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  /** Lockout files of bots that the config no longer names but whose account is this bot's. */
  readonly inherited: readonly string[];
  readonly newIncident: () => string;
  readonly onTrouble: (text: string) => void;
}

export class LockoutStore {
  readonly #deps: LockoutDeps;
  readonly #slot: string;
  #current: Lockout | undefined;

  /** Reads what holds, and reserves the slot. Throws when the room for it cannot be had: no bot starts without it. */
  constructor(deps: LockoutDeps) {
    this.#deps = deps;
    this.#slot = lockoutSlot(deps.plan.files.dir);
    this.#current = this.#load();
    reserveFile(this.#slot, SLOT_BYTES);
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get current(): Lockout | undefined {
    return this.#current;
  }

  /** Begins an incident, or goes on with the one whose account is not flat yet; on disk before it returns. */
  open(trigger: Trigger, reason: string): Lockout {
    const { plan, clock, newIncident } = this.#deps;
    const before = this.#current;
    const goesOn = before !== undefined && before.outcome !== "flat" && before.outcome !== "lockDamaged";
    this.#current = {
      version: 1,
      bot: plan.name,
      account: plan.account,
      incident: goesOn ? before.incident : newIncident(),
      trigger: goesOn ? before.trigger : trigger,
      reason: goesOn ? before.reason : reason.slice(0, REASON_CHARS),
      lockedAt: goesOn ? before.lockedAt : clock.wallTime().toISOString(),
      outcome: null,
      endedAt: null,
    };
    this.#save(this.#current);
    return this.#current;
  }

  end(outcome: RungOutcome): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, outcome, endedAt: this.#deps.clock.wallTime().toISOString() };
    this.#save(this.#current);
  }

  /** Ends the lockout; a file that cannot be removed would lock the bot again at the next start, so that is said. */
  remove(): void {
    this.#current = undefined;
    this.#attempt(`clear the lockout slot ${this.#slot}`, () => overwrite(this.#slot, ""));
    const { files } = this.#deps.plan;
    this.#removeAll([files.lockout, files.lockoutSpare, ...this.#deps.inherited]);
  }

  #load(): Lockout | undefined {
    const { plan, inherited, onTrouble } = this.#deps;
    const paths = [this.#slot, plan.files.lockout, plan.files.lockoutSpare, ...inherited];
    const readings = paths.map((path) => ({ path, reading: readLockoutFile(path) }));
    const held = gravestLockout(readings.map(({ reading }) => reading));
    if (held !== undefined) return held;
    for (const { path, reading } of readings) {
      if (reading.kind !== "damaged") continue;
      const reason = `the lockout file ${path} cannot be read (${reading.reason}); the bot is taken for locked`;
      onTrouble(reason);
      return this.#damaged(reason.slice(0, REASON_CHARS));
    }
    return undefined;
  }

  #damaged(reason: string): Lockout {
    const { plan, clock, newIncident } = this.#deps;
    const now = clock.wallTime().toISOString();
    return {
      version: 1,
      bot: plan.name,
      account: plan.account,
      incident: newIncident(),
      trigger: "operator",
      reason,
      lockedAt: now,
      outcome: "lockDamaged",
      endedAt: now,
    };
  }

  /** Under this name from here on: an older word under another name would hold again once the bot is renamed back. */
  #save(lockout: Lockout): void {
    const { files } = this.#deps.plan;
    const inSlot = this.#attempt(`write the lockout slot ${this.#slot}`, () =>
      overwrite(this.#slot, JSON.stringify(lockout)),
    );
    const text = `${JSON.stringify(lockout, undefined, 2)}\n`;
    const inFile = this.#attempt(`write the lockout ${files.lockout}`, () => writeFileAtomic(files.lockout, text));
    if (inSlot || inFile) return this.#removeAll(this.#deps.inherited);
    this.#attempt(`write the lockout ${files.lockoutSpare}`, () => writeFileAtomic(files.lockoutSpare, text));
    return undefined;
  }

  #removeAll(paths: readonly string[]): void {
    for (const path of paths) this.#attempt(`remove the lockout ${path}`, () => removeDurably(path));
  }

  /** Trouble with one copy is said and never stops the emergency: the others may hold. */
  #attempt(what: string, deed: () => void): boolean {
    try {
      deed();
      return true;
    } catch (error) {
      this.#deps.onTrouble(`cannot ${what}: ${messageOf(error)}`);
      return false;
    }
  }
}

/** The slot in a bot's state folder. */
export function lockoutSlot(botDir: string): string {
  return join(botDir, "lock.slot");
}

/** What a lockout file or slot says. A file that is there and cannot be read counts as damaged: the bot may be locked. */
export function readLockoutFile(path: string): LockoutReading {
  try {
    // A slot that holds nothing is all zeros.
    const text = readTextIfExists(path, MAX_BYTES)?.replace(/\0+$/, "");
    return readLockout(text === "" && path.endsWith(".slot") ? undefined : text);
  } catch (error) {
    return { kind: "damaged", reason: messageOf(error) };
  }
}

function removeDurably(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
    throw error;
  }
  syncDir(dirname(path));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
