/** Whether a bot may be started by nobody's order: what it waits for, and what keeps it down, until somebody says otherwise. */
import type { OpenRestore } from "../../actions/backup/restore-journal.ts";
import type { EventKind } from "../../core/lifecycle-types.ts";
import { endsWait } from "../../core/start-order.ts";
import type { OperatorStop } from "./operator-stop.ts";
import type { Held } from "./restores.ts";

interface StartTurnDeps {
  /** What keeps the bot down; `undefined`: no restore does. */
  readonly restoring: () => Held | undefined;
  /** Starts the bot. */
  readonly start: () => void;
  readonly stop: OperatorStop;
  readonly alert: (text: string) => void;
}

export class StartTurn {
  /** Bots that are to be ready before its first start; empty once it is started, or somebody said otherwise. */
  waitsFor: readonly string[] = [];
  /** The order that keeps it down since the daemon's start, although nothing of it is closed. */
  keptDown: string | undefined;
  readonly stop: OperatorStop;
  readonly #deps: StartTurnDeps;
  #restore: string | undefined;

  constructor(deps: StartTurnDeps) {
    this.#deps = deps;
    this.stop = deps.stop;
  }

  /** A person has stopped it since it was last to run: neither the end of a restore nor the next supervisor starts it. */
  get staysDown(): boolean {
    return this.stop.holds;
  }

  /** The restore that puts off its first start; `undefined` where none does. */
  get waitsForRestore(): string | undefined {
    return this.#restore;
  }

  /** The restore that has not ended and uses the bot's data. */
  get openRestore(): OpenRestore | undefined {
    return this.#deps.restoring()?.open;
  }

  /** It is to run once what it waits for is over. */
  get isDue(): boolean {
    return this.waitsFor.length > 0 || this.#restore !== undefined;
  }

  /** What it waits for is over once somebody said otherwise. */
  heard(event: EventKind): void {
    if (!endsWait(event)) return;
    this.waitsFor = [];
    this.#restore = undefined;
    this.keptDown = undefined;
  }

  /** The first start, by nobody's order: it waits while a restore replaces the bot's data. */
  come(): void {
    const restore = this.#deps.restoring()?.reason;
    if (restore === undefined) return this.#deps.start();
    if (this.#restore !== restore) this.#deps.alert(`not started yet: ${restore}`);
    this.#restore = restore;
    return undefined;
  }
}
