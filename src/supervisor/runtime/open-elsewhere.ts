/**
 * The lockout of an account that the bot had before and that is not proven closed, once the bot's own lockout, of the account that it has
 * now, takes its place: it has a file of its own from there on, and its close goes on where the bot gets that account back.
 */
import { join } from "node:path";
import { howItEnded, type Lockout, type LockoutReading } from "../../core/lockout.ts";
import { removeDurably, writeFileAtomic } from "../../platform/files.ts";
import { lockoutText, readLockoutFile } from "./lockout-file.ts";
import { moveAway } from "./quarantine.ts";

export class OpenElsewhere {
  readonly path: string;
  readonly #tell: (text: string) => void;
  #found: Lockout | undefined;

  constructor(folder: string, tell: (text: string) => void) {
    this.path = join(folder, "lock-elsewhere.json");
    this.#tell = tell;
  }

  /** What is known of a close that is open on another account than `account`, wherever its lockout is now; `undefined`: there is none. */
  openBeside(account: string): string | undefined {
    const reading: LockoutReading =
      this.#found === undefined ? readLockoutFile(this.path) : { kind: "locked", lockout: this.#found };
    if (reading.kind === "absent") return undefined;
    if (reading.kind !== "locked") return `the close in ${this.path} cannot be read (${reading.reason})`;
    const { lockout } = reading;
    if (lockout.account === account || lockout.outcome === "flat") return undefined;
    return `the close of account ${lockout.account} (incident ${lockout.incident}), which it had before, ${howItEnded(lockout)}`;
  }

  /** It is in the bot's own files; `undefined`: none is, or a person has ended it. */
  find(lockout: Lockout | undefined): void {
    this.#found = lockout;
  }

  /** Call it before `next` goes into the bot's own files. Throws when what stands there cannot be kept. */
  makeWay(next: Lockout): void {
    const found = this.#found;
    const kept = this.#kept;
    if (found === undefined || found.account === next.account) return;
    if (kept !== undefined && kept !== found.account)
      this.#tell(moveAway(this.path, `it is of account ${kept}, and the file is for account ${found.account} now`));
    writeFileAtomic(this.path, lockoutText(found));
    // Not before: what a full disk does not take now is in the older files still, and is tried again with the next write to them.
    this.#found = undefined;
    this.#tell(
      `the close of account ${found.account} (incident ${found.incident}) has not ended; it is in ${this.path}`,
    );
  }

  /** `next` is in the bot's own files, and says all of its account. Throws when the older word of it cannot be removed. */
  settle(next: Lockout): void {
    if (this.#kept === next.account) removeDurably(this.path);
  }

  get #kept(): string | undefined {
    const reading = readLockoutFile(this.path);
    return reading.kind === "locked" ? reading.lockout.account : undefined;
  }
}
