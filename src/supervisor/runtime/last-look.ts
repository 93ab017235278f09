/** Remembers what was last seen of a locked account, so that the status tells it also after the daemon's death. */
import { join } from "node:path";
import { accountLookSchema, isNewer, lookOf, type AccountLook } from "../../core/account-look.ts";
import type { CloseReport } from "../../core/close-job.ts";
import type { Lockout } from "../../core/lockout.ts";
import { NoteFile } from "./note-file.ts";

export class LastLook {
  readonly #file: NoteFile<AccountLook>;

  /** `folder`: the bot's. `foreign`: whether that is another supervisor's by now. */
  constructor(folder: string, foreign: (() => boolean) | undefined) {
    this.#file = new NoteFile({ path: join(folder, "look.json"), schema: accountLookSchema, foreign });
  }

  /** What was seen since the close of the lockout ended; `undefined`: nobody has looked. */
  since(lockout: Pick<Lockout, "incident" | "endedAt">): AccountLook | undefined {
    const { note } = this.#file;
    return note !== undefined && isNewer(note, lockout) ? note : undefined;
  }

  /** A plan has ended. Never throws: what cannot be written is forgotten with the daemon. */
  note(report: CloseReport, lockout: Pick<Lockout, "incident" | "endedAt">): void {
    const look = lookOf(report, lockout);
    if (look !== undefined) this.#file.write(look);
  }
}
