/** The folders of one bot: what its starts need is made with it, the rest once all that are made together are on their way. */
import type { IdentityReading } from "../../core/identity.ts";
import type { Clock } from "../../platform/clock.ts";
import type { User } from "../../platform/user.ts";
import type { BotFiles } from "./bot-plan.ts";
import { prepareRest, prepareStart } from "./bot-setup.ts";
import { makeRoomForBot } from "./quarantine.ts";
import { SharedFolders } from "./shared-folders.ts";

export interface BotFoldersDeps {
  readonly files: BotFiles;
  readonly user: User | undefined;
  /** What was read of its last start. */
  readonly identity: IdentityReading | undefined;
  /** As in `BotDeps`. */
  readonly shared?: SharedFolders | undefined;
  readonly clock: Clock;
  readonly fact: (level: "alert", text: string) => void;
}

export class BotFolders {
  /** Its own folder was made just now: no earlier supervisor has left anything in it. */
  readonly isNew: boolean;
  readonly #deps: BotFoldersDeps;
  readonly #cancelTurn: () => void;
  /** The rest is still to be made. */
  #owed = true;

  /** Throws when a folder that its starts need cannot be made. */
  constructor(deps: BotFoldersDeps) {
    const { files, user, identity, shared = new SharedFolders(), clock, fact } = deps;
    this.#deps = deps;
    for (const move of makeRoomForBot(files, identity, shared)) fact("alert", move);
    this.isNew = prepareStart(files, user, shared);
    this.#cancelTurn = clock.after(0, () => this.complete());
  }

  /** Makes the rest, if that is still to be done. Never throws. */
  complete(): void {
    if (!this.#owed) return;
    this.#cancelTurn();
    try {
      prepareRest(this.#deps.files);
      this.#owed = false;
    } catch (error) {
      this.#deps.fact("alert", error instanceof Error ? error.message : String(error));
    }
  }
}
