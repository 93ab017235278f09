/**
 * Whether the state folder at its path is still the one that this supervisor has locked. Where it was moved or removed, another one is
 * begun in its place, so that no second supervisor takes it; where another supervisor has it, nothing is written there that it
 * would go by, and no bot is started.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { isLockAt, lockHolder, tryLock, type Lock } from "../../platform/lock.ts";
import type { Bot } from "./bot.ts";
import type { Dirs } from "./config/load.ts";
import { claimFolder, isClaimed } from "./folder-claim.ts";
import { LOCK_FILE, statusFile, takeFolder } from "./installation.ts";
import type { Journal } from "./journal.ts";
import type { LockoutStore } from "./lockout-store.ts";
import { Presence } from "./presence.ts";
import { makeRoom } from "./quarantine.ts";

/** What is written for a bot into a folder that is new or is back. */
interface WatchedBot extends Pick<Bot, "renewSigns"> {
  readonly emergency: { readonly lockout: Pick<LockoutStore, "renew"> };
}

export interface FolderWatchDeps {
  readonly dirs: Dirs;
  /** Descriptor by which an earlier version in this process held the lock. */
  readonly inherited: number | undefined;
  readonly journal: () => Pick<Journal, "close">;
  readonly bots: () => readonly WatchedBot[];
  readonly say: (level: "info" | "alert", text: string) => void;
}

/** Something that a folder which is new or is back must get. */
interface Owed {
  readonly deed: () => void;
  /** That it failed. */
  readonly said: boolean;
}

type FolderIdentity = { readonly dev: number; readonly ino: number };

export class FolderWatch {
  readonly #deps: FolderWatchDeps;
  readonly #path: string;
  /** Of the folders that were at the path one after the other; an unmounted one may come back. */
  readonly #locks: Lock[];
  #lock: Lock;
  /** The folder that the lock is in. */
  #folder: FolderIdentity;
  #foreign = false;
  #trouble: string | null = null;
  /** What the folder that is there now lacks yet. */
  #owed: readonly Owed[] = [];

  /** What is to be told of the start. */
  readonly said: readonly string[];
  /** How the supervisor before has died; `undefined`: it has not. */
  readonly died: string | undefined;
  readonly #presence: Presence;

  /** Makes the folders and takes the state folder. Throws when another supervisor has it, or when it is a copy. */
  constructor(deps: FolderWatchDeps) {
    this.#deps = deps;
    const { stateDir, runtimeDir, logDir } = deps.dirs;
    this.#path = join(stateDir, LOCK_FILE);
    ensureDir(stateDir, 0o711);
    this.#lock = takeFolder(deps.dirs, deps.inherited);
    this.#locks = [this.#lock];
    this.#folder = identityOf(stateDir);
    const claimed = claimFolder(stateDir);
    const move = makeRoom(statusFile(stateDir), "file");
    this.said = move === undefined ? claimed : [...claimed, move];
    ensureDir(runtimeDir, 0o711);
    ensureDir(logDir, 0o755);
    this.#presence = new Presence(stateDir, systemClock, () => this.#foreign);
    const died = this.#presence.begin();
    // A version that has handed over is this very process.
    this.died = deps.inherited === undefined ? died : undefined;
  }

  /** Every 10 s: tells the next supervisor that this one lives. Never throws. */
  sign(): void {
    this.#presence.sign();
  }

  /** Descriptor of the lock that is at the path, as far as one of ours is. */
  get fd(): number {
    return this.#lock.fd;
  }

  /** What happened to the folder under us; null: nothing. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Another supervisor has the folder: what is in it is not ours. */
  get foreign(): boolean {
    return this.#foreign;
  }

  /** Why nothing is begun now; `undefined`: the folder is ours. */
  get obstacle(): string | undefined {
    return this.#foreign ? "another supervisor has the state folder of this one" : undefined;
  }

  /** Each second. Whether another folder is at the path since the last look. Never throws. */
  look(): boolean {
    const before = this.#lock;
    try {
      this.#look();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#alert(
        `the state folder ${this.#deps.dirs.stateDir} was moved or removed from under the supervisor: ${why}`,
      );
    }
    return this.#lock !== before;
  }

  #look(): void {
    if (isLockAt(this.#lock.fd, this.#path)) return this.#haveIt();
    const again = this.#locks.find(({ fd }) => isLockAt(fd, this.#path));
    if (again !== undefined) {
      this.#lock = again;
      this.#folder = identityOf(this.#deps.dirs.stateDir);
      return this.#renewed(`the state folder ${this.#deps.dirs.stateDir} is back`);
    }
    this.#take();
  }

  release(): void {
    this.#presence.end();
    for (const lock of this.#locks) lock.release();
  }

  #haveIt(): void {
    this.#regain();
    this.#catchUp();
  }

  #regain(): void {
    if (!this.#foreign) return;
    this.#foreign = false;
    this.#trouble = null;
    this.#deps.say("info", `the state folder ${this.#deps.dirs.stateDir} is this supervisor's again`);
  }

  #take(): void {
    const { stateDir } = this.#deps.dirs;
    ensureDir(stateDir, 0o711);
    const lock = tryLock(this.#path);
    if (lock === undefined) return this.#lose();
    this.#lock = lock;
    this.#locks.push(lock);
    const before = this.#folder;
    this.#folder = identityOf(stateDir);
    const isSame = before.dev === this.#folder.dev && before.ino === this.#folder.ino;
    if (isSame && isClaimed(stateDir)) return this.#relocked();
    this.#renewed(
      isSame
        ? `what is in the state folder ${stateDir} was removed from under the supervisor; it is begun anew, with the lockouts that hold and nothing else of before`
        : `the state folder ${stateDir} was moved or removed from under the supervisor; another one is begun there, with the lockouts that hold and nothing else of before`,
    );
  }

  /** The folder is as it was, but for the lock: another supervisor could have taken it, and none has. */
  #relocked(): void {
    const { dirs, say, bots } = this.#deps;
    this.#foreign = false;
    this.#trouble = null;
    say(
      "alert",
      `somebody removed ${this.#path}; the supervisor has locked ${dirs.stateDir} anew, and nothing else is missing`,
    );
    // Should more be missing than the lock, a lockout must not be.
    this.#owe(bots().map((bot) => () => bot.emergency.lockout.renew()));
  }

  #renewed(text: string): void {
    const { dirs, journal, bots, say } = this.#deps;
    const now = bots();
    this.#foreign = false;
    // What is written from here on goes to the path again.
    journal().close();
    this.#alert(text);
    // The lockouts first: without them, should we end now, a locked bot would be started.
    this.#owe([
      ...now.map((bot) => () => bot.emergency.lockout.renew()),
      () => {
        for (const each of claimFolder(dirs.stateDir)) say("alert", each);
      },
      () => ensureDir(dirs.logDir, 0o755),
      ...now.map((bot) => () => {
        if (bots().includes(bot)) bot.renewSigns();
      }),
    ]);
  }

  #owe(deeds: readonly (() => void)[]): void {
    this.#owed = deeds.map((deed) => ({ deed, said: false }));
    this.#catchUp();
  }

  /** Each deed by itself: what fails costs no other one, is said once and is tried again at the next look. */
  #catchUp(): void {
    if (this.#owed.length === 0) return;
    const { stateDir } = this.#deps.dirs;
    const before = this.#owed;
    this.#owed = before.flatMap(({ deed, said }) => {
      try {
        deed();
        return [];
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        if (!said)
          this.#deps.say("alert", `the state folder ${stateDir} lacks something yet, which is tried again: ${why}`);
        return [{ deed, said: true }];
      }
    });
    if (this.#owed.length === 0 && before.some(({ said }) => said))
      this.#deps.say("info", `the state folder ${stateDir} lacks nothing any more`);
  }

  #lose(): void {
    this.#foreign = true;
    const holder = lockHolder(this.#path);
    const who = holder === undefined ? "another supervisor" : `the supervisor with pid ${holder}`;
    this.#alert(
      `${who} has the state folder ${this.#deps.dirs.stateDir} by now, which was moved or removed from under this one; no bot is started here, and no status, identity or lockout is written there any more: end one of the two`,
    );
  }

  /** The same is said once. */
  #alert(text: string): void {
    if (this.#trouble === text) return;
    this.#trouble = text;
    this.#deps.say("alert", text);
  }
}

function identityOf(folder: string): FolderIdentity {
  const { dev, ino } = statSync(folder);
  return { dev, ino };
}
