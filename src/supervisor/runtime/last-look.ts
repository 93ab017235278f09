/** Remembers what was last seen of a locked account, so that the status tells it also after the daemon's death. */
import { join } from "node:path";
import { accountLookSchema, isNewer, lookOf, type AccountLook } from "../../core/account-look.ts";
import type { CloseReport } from "../../core/close-job.ts";
import type { Lockout } from "../../core/lockout.ts";
import { readTextIfExists, writeFileAtomic } from "../../platform/files.ts";

/** A look is some hundred bytes. */
const MAX_BYTES = 65_536;

export class LastLook {
  readonly #path: string;
  readonly #foreign: (() => boolean) | undefined;
  #look: AccountLook | undefined;
  #isRead = false;

  /** `folder`: the bot's. `foreign`: whether that is another supervisor's by now. */
  constructor(folder: string, foreign: (() => boolean) | undefined) {
    this.#path = join(folder, "look.json");
    this.#foreign = foreign;
  }

  /** What was seen since the close of the lockout ended; `undefined`: nobody has looked. */
  since(lockout: Pick<Lockout, "incident" | "endedAt">): AccountLook | undefined {
    if (!this.#isRead) this.#look = this.#read();
    this.#isRead = true;
    return this.#look !== undefined && isNewer(this.#look, lockout) ? this.#look : undefined;
  }

  /** A plan has ended. Never throws: what cannot be written is forgotten with the daemon. */
  note(report: CloseReport, lockout: Pick<Lockout, "incident" | "endedAt">): void {
    const look = lookOf(report, lockout);
    if (look === undefined) return;
    this.#look = look;
    this.#isRead = true;
    if (this.#foreign?.() === true) return;
    try {
      writeFileAtomic(this.#path, `${JSON.stringify(look)}\n`);
    } catch {
      // The next plan tries again.
    }
  }

  #read(): AccountLook | undefined {
    try {
      const parsed = accountLookSchema.safeParse(JSON.parse(readTextIfExists(this.#path, MAX_BYTES) ?? "null"));
      return parsed.success ? parsed.data : undefined;
    } catch {
      // One that cannot be read says nothing.
      return undefined;
    }
  }
}
