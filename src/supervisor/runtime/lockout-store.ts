/**
 * The lockout of one bot on disk. It is written before anything is closed and removed by `arm` alone.
 *
 * Every change goes first into a slot whose room was taken at start, so that a full disk cannot lose it, then into
 * `lock.json` for people and scripts, and into the runtime folder where the state folder cannot be written at all.
 */
import type { CloseGoal } from "../../core/close-goal.ts";
import { elsewhereText, laterOf, lockoutsOn, type Lockout, type LockoutReading } from "../../core/lockout.ts";
import type { RungOutcome } from "../../core/ladder.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import {
  ensureDir,
  overwrite,
  removeDurably,
  reserveFile,
  setAside,
  syncDir,
  syncFile,
  writeFileAtomic,
} from "../../platform/files.ts";
import type { BotPlan } from "./bot-plan.ts";
import { EndedElsewhere } from "./ended-elsewhere.ts";
import { failureOf } from "./failure-of.ts";
import { lockoutSlot, lockoutText, readLockoutFile, SLOT_BYTES, type LockoutCopy } from "./lockout-file.ts";
import { lockoutPlace, lockoutPlaceText, type LockoutFailures, type LockoutPlace } from "./lockout-place.ts";
import { OpenElsewhere } from "./open-elsewhere.ts";
import { moveAway } from "./quarantine.ts";

/** Looks, of one a second, between two tries to bring a change to a disk that did not take it. */
const RETRY_LOOKS = 5;
/** Incidents that are kept in mind once a person has ended their lockouts. */
const MAX_ENDED = 16;
const DAMAGED = "the lockout in it could not be read";
const STILL_LOCKED = "the lockout is ended, and the disk still has it: the next supervisor would lock the bot again";
/** Longest reason that goes into a lockout, characters, so that it fits into the slot whatever it says. */
const REASON_CHARS = 500;

export interface LockoutDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  /** Lockout files of bots that the config no longer names but whose account is this bot's. */
  readonly inherited: readonly string[];
  /** Lockout files of bots that the config names under another account now; read, and never removed. */
  readonly shared: readonly string[];
  /** As in `BotDeps`: what changes meanwhile goes into the spare file, which is in the runtime folder, and is owed. */
  readonly foreign?: (() => boolean) | undefined;
  /** Nothing is started: a close is not refused for want of room. Absent: no bot starts without it. */
  readonly closesOnly?: boolean | undefined;
  readonly newIncident: () => string;
  readonly onTrouble: (text: string) => void;
}

export class LockoutStore {
  readonly #deps: LockoutDeps;
  readonly #slot: string;
  #current: Lockout | undefined;
  #slow = false;
  #first = false;
  /** The slot is new, and a power cut may still lose it. */
  #unsettled = false;
  /** Why the last change is not in all of its places; `undefined`: it is. */
  #owed: string | undefined;
  /** Where it is, as far as that has been said. */
  #said: LockoutPlace = "everywhere";
  #looks = 0;
  /** Whose lockouts were ended while we live, the newest last. */
  readonly #ended: string[] = [];
  readonly #endedElsewhere: EndedElsewhere;
  readonly #openElsewhere: OpenElsewhere;
  readonly #files: readonly string[];
  /** The trouble has been said. */
  #quiet = false;

  /** Reads what holds, and reserves the slot. Throws when the room for it cannot be had, unless nothing is to be started. */
  constructor(deps: LockoutDeps) {
    this.#deps = deps;
    this.#slot = lockoutSlot(deps.plan.files.dir);
    this.#endedElsewhere = new EndedElsewhere(deps.plan.files.dir, deps.foreign);
    this.#openElsewhere = new OpenElsewhere(deps.plan.files.dir, deps.onTrouble);
    const { lockout, lockoutSpare } = deps.plan.files;
    this.#files = [lockout, lockoutSpare, this.#openElsewhere.path];
    const copies = this.#read();
    this.#current = this.#judge(copies);
    const damaged = copies.flatMap(({ path, reading }) =>
      reading.kind === "damaged" && this.#isOurs(path) ? [path] : [],
    );
    if (damaged.length > 0) this.#repair(damaged);
    if (copies.some(({ path, reading }) => path === this.#slot && reading.kind === "newer")) return;
    const why = failureOf(() => this.#reserveSlot());
    if (why !== undefined && deps.closesOnly !== true)
      throw new Error(`cannot supervise ${deps.plan.name}: no room can be taken for its lockout: ${why}`);
  }

  /**
   * Writes what holds into a folder that is new or is back. A lockout in it that was ended while it was away is ended there, too; one
   * that we do not know stays, and locks at the next start. Never throws.
   */
  renew(): void {
    const { dir } = this.#deps.plan.files;
    this.#attempt(`make the folder ${dir}`, () => ensureDir(dir, 0o711));
    this.#attempt(`reserve the lockout slot ${this.#slot}`, () => this.#reserveSlot());
    if (this.#current !== undefined) this.#save(this.#current);
    else if (this.#holdsEnded) this.#clearOrOwe();
  }

  get #holdsEnded(): boolean {
    const locks = this.#read().filter(({ path, reading }) => this.#isOurs(path) && reading.kind !== "absent");
    return (
      locks.length > 0 &&
      locks.every(({ reading }) => reading.kind === "locked" && this.#ended.includes(reading.lockout.incident))
    );
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get current(): Lockout | undefined {
    return this.#current;
  }

  /** What is known of a close that is open on an account which the bot had before; `undefined`: there is none. */
  get openElsewhere(): string | undefined {
    return this.#openElsewhere.openBeside(this.#deps.plan.account);
  }

  /** What the disk has not taken of the last change yet; `undefined`: it has all. The next start may find another lockout, or none. */
  get owed(): string | undefined {
    return this.#owed;
  }

  /** Whether a supervisor that starts now would find the bot locked, by one copy at least. */
  get isOnDisk(): boolean {
    return this.#read().some(({ reading }) => reading.kind !== "absent");
  }

  /** The bot was locked a moment ago, and no file says so: it is locked anew, as by one that cannot be read. */
  restoreLost(reason: string): void {
    this.#deps.onTrouble(reason);
    this.#current = this.#damaged(reason.slice(0, REASON_CHARS));
    this.#save(this.#current);
  }

  /** Each second: brings a change to the disk that it has not taken yet, and forces a new slot to it. The slot's room is taken at once, so that this need not be waited for before a bot starts. */
  settle(): void {
    if (this.#owed !== undefined) {
      this.#looks += 1;
      if (this.#looks % RETRY_LOOKS === 0) this.retry();
    }
    if (!this.#unsettled) return;
    this.#unsettled = false;
    syncFile(this.#slot).catch((error: unknown) =>
      this.#deps.onTrouble(`cannot force the lockout slot ${this.#slot} to the disk: ${messageOf(error)}`),
    );
  }

  /** What the disk did not take is tried again for as long as we live: a lockout must not end with us, nor outlive `arm`. */
  retry(): void {
    if (this.#owed === undefined || this.#foreign) return;
    this.#quiet = true;
    this.#attempt(`reserve the lockout slot ${this.#slot}`, () => this.#reserveSlot());
    if (this.#current === undefined) this.#clearOrOwe();
    else this.#save(this.#current);
    this.#quiet = false;
    if (this.#owed === undefined) this.#deps.onTrouble("what the disk did not take of the lockout is on it now");
  }

  /** The close that was opened last follows one of the same incident by itself: one of the slow rounds. */
  get isSlowRound(): boolean {
    return this.#slow;
  }

  /** The close that was opened last begins its incident: what asks for it is the trigger of the incident. */
  get isFirstRound(): boolean {
    return this.#first;
  }

  /**
   * Begins an incident, or goes on with the one whose account is not flat yet; on disk before it returns. Without `goal` the
   * incident keeps its own.
   */
  open(trigger: Trigger, reason: string, goal?: CloseGoal): Lockout {
    const { plan, clock, newIncident } = this.#deps;
    const before = this.#current;
    const goesOn = before !== undefined && before.outcome !== "flat" && before.outcome !== "lockDamaged";
    // It may be opened again before its first close has ended, for the proof that the bot is dead.
    this.#first = !goesOn || (this.#first && before.outcome === null);
    const aim = goal ?? (goesOn ? before.goal : undefined);
    const later = goesOn ? laterOf(before, trigger) : [];
    this.#slow = goesOn && goal === undefined && (before.outcome !== null || this.#slow);
    this.#current = {
      version: 1,
      bot: plan.name,
      account: plan.account,
      incident: goesOn ? before.incident : newIncident(),
      trigger: goesOn ? before.trigger : trigger,
      reason: goesOn ? before.reason : reason.slice(0, REASON_CHARS),
      ...(later.length === 0 ? {} : { later: [...later] }),
      lockedAt: goesOn ? before.lockedAt : clock.wallTime().toISOString(),
      outcome: null,
      endedAt: null,
      ...(aim === undefined ? {} : { goal: aim }),
    };
    this.#save(this.#current);
    return this.#current;
  }

  /** A person knows how it ended. */
  acknowledge(): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, acknowledgedAt: this.#deps.clock.wallTime().toISOString() };
    this.#save(this.#current);
  }

  end(outcome: RungOutcome): void {
    if (this.#current === undefined) return;
    this.#current = { ...this.#current, outcome, endedAt: this.#deps.clock.wallTime().toISOString() };
    this.#save(this.#current);
  }

  /** Ends the lockout; a file that cannot be removed would lock the bot again at the next start, so that is said. */
  remove(): void {
    this.#endedElsewhere.add(this.#read().filter(({ path }) => !this.#isOurs(path)));
    if (this.#current !== undefined) this.#ended.push(this.#current.incident);
    this.#ended.splice(0, this.#ended.length - MAX_ENDED);
    this.#current = undefined;
    this.#openElsewhere.find(undefined);
    this.#clearOrOwe();
  }

  #clearOrOwe(): void {
    this.#owed = this.#clear() ? undefined : STILL_LOCKED;
    this.#said = "everywhere";
  }

  #clear(): boolean {
    if (this.#foreign) return false;
    const unread = this.#read().filter(
      ({ path, reading }) => (reading.kind === "damaged" || reading.kind === "newer") && this.#isOurs(path),
    );
    const aside = unread.map(({ path }) =>
      this.#attempt(`set the lockout ${path} aside`, () => void setAside(path, "its lockout was ended by a person")),
    );
    const cleared = this.#attempt(`clear the lockout slot ${this.#slot}`, () => {
      this.#reserveSlot();
      overwrite(this.#slot, "");
    });
    const removed = this.#removeAll([...this.#files, ...this.#deps.inherited]);
    return cleared && removed && aside.every(Boolean);
  }

  /** Every place where the lockout may be, the most certain first. */
  #read(): readonly LockoutCopy[] {
    const { inherited, shared } = this.#deps;
    return [this.#slot, ...this.#files, ...inherited, ...shared].map((path) => ({ path, reading: this.#readAt(path) }));
  }

  #readAt(path: string): LockoutReading {
    const reading = readLockoutFile(path);
    const isOver = !this.#isOurs(path) && this.#endedElsewhere.has({ path, reading });
    return isOver ? { kind: "absent" } : reading;
  }

  /** What another bot of the config keeps is read and never touched. */
  #isOurs(path: string): boolean {
    return !this.#deps.shared.includes(path);
  }

  /** The gravest of what the copies say; one that does not say what it holds locks as well. */
  #judge(copies: readonly LockoutCopy[]): Lockout | undefined {
    const { onTrouble, plan } = this.#deps;
    const readings = copies.map(({ reading }) => reading);
    const { held, elsewhere } = lockoutsOn(plan.account, readings);
    const own = copies.filter(({ path }) => this.#isOurs(path)).map(({ reading }) => reading);
    this.#openElsewhere.find(lockoutsOn(plan.account, own).elsewhere);
    if (elsewhere !== undefined) {
      const reason = elsewhereText(elsewhere, plan.account);
      onTrouble(reason);
      // What is on the disk stays as it is until this account is closed: with its account given back, its close goes on.
      if (held === undefined || held.outcome === "flat") return this.#damaged(reason.slice(0, REASON_CHARS));
    }
    if (held !== undefined) return held;
    for (const { path, reading } of copies) {
      if (reading.kind !== "damaged" && reading.kind !== "newer") continue;
      const reason = `the lockout file ${path} cannot be read (${reading.reason}); the bot is taken for locked`;
      onTrouble(reason);
      return this.#damaged(reason.slice(0, REASON_CHARS));
    }
    return undefined;
  }

  /**
   * Sets damaged copies aside and writes the lockout anew, so that it holds at the next start as well. It is in the spare
   * file before the first copy is moved: a supervisor killed in between must not find the bot unlocked.
   */
  #repair(damaged: readonly string[]): void {
    const { plan, onTrouble } = this.#deps;
    const current = this.#current;
    if (current === undefined) return;
    const { lockoutSpare } = plan.files;
    if (damaged.includes(lockoutSpare)) onTrouble(moveAway(lockoutSpare, DAMAGED));
    this.#attempt(`write the lockout ${lockoutSpare}`, () => writeFileAtomic(lockoutSpare, lockoutText(current)));
    // Without the spare, a copy that cannot be read is what locks the bot: then it stays where it is.
    if (readLockoutFile(lockoutSpare).kind !== "locked") return;
    for (const path of damaged) if (path !== lockoutSpare) onTrouble(moveAway(path, DAMAGED));
    const { lockout } = plan.files;
    this.#attempt(`reserve the lockout slot ${this.#slot}`, () => this.#reserveSlot());
    const written = this.#save(current);
    if (written && readLockoutFile(lockout).kind === "locked")
      this.#attempt(`remove the lockout ${lockoutSpare}`, () => removeDurably(lockoutSpare));
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

  /** One of another size is made anew with what it holds: it may be the only copy. */
  #reserveSlot(): void {
    const text = this.#current === undefined ? "" : JSON.stringify(this.#current);
    if (!reserveFile(this.#slot, SLOT_BYTES, text)) this.#unsettled = true;
  }

  /**
   * Under this name from here on: an older word under another name would hold again once the bot is renamed back.
   * Whether it is in the state folder, in one copy at least.
   */
  #save(lockout: Lockout): boolean {
    const { files } = this.#deps.plan;
    const text = lockoutText(lockout);
    const writeSpare = (): void => writeFileAtomic(files.lockoutSpare, text);
    if (this.#foreign) {
      this.#owed = "another supervisor has the state folder, and the lockout is not in it";
      this.#attempt(`write the lockout ${files.lockoutSpare}`, writeSpare);
      return false;
    }
    this.#attempt("keep the lockout of another account", () => this.#openElsewhere.makeWay(lockout));
    const slot = failureOf(() => {
      overwrite(this.#slot, JSON.stringify(lockout));
      if (this.#unsettled) syncDir(files.dir);
    });
    const file = failureOf(() => writeFileAtomic(files.lockout, text));
    const inFolder = slot === undefined || file === undefined;
    this.#owe({ slot, file, ...(inFolder ? {} : { spare: failureOf(writeSpare) }) });
    if (!inFolder) return false;
    this.#attempt("remove the older word of a lockout", () => this.#openElsewhere.settle(lockout));
    this.#removeAll(this.#deps.inherited);
    return true;
  }

  /** Said anew only where it is in other places now: each change of a lockout meets the same full disk. */
  #owe(failures: LockoutFailures): void {
    const { name, files } = this.#deps.plan;
    const paths = { slot: this.#slot, file: files.lockout, spare: files.lockoutSpare };
    const place = lockoutPlace(failures);
    this.#owed = lockoutPlaceText(name, paths, failures);
    if (this.#owed !== undefined && place !== this.#said) this.#deps.onTrouble(this.#owed);
    this.#said = place;
  }

  get #foreign(): boolean {
    return this.#deps.foreign?.() === true;
  }

  #removeAll(paths: readonly string[]): boolean {
    return paths.map((path) => this.#attempt(`remove the lockout ${path}`, () => removeDurably(path))).every(Boolean);
  }

  /** Trouble with one copy is said and never stops the emergency: the others may hold. */
  #attempt(what: string, deed: () => void): boolean {
    try {
      deed();
      return true;
    } catch (error) {
      if (!this.#quiet) this.#deps.onTrouble(`cannot ${what}: ${messageOf(error)}`);
      return false;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
