/** Orders to close the positions of every bot that lie ready for the daemon: the emergency file, and `BOT_EMERGENCY_SHUTDOWN` at its start. */
import type { Order } from "../../core/first-act.ts";
import { EmergencyFile } from "./triggers.ts";

export interface OrderWatchDeps {
  /** The emergency file. */
  readonly path: string;
  /** `BOT_EMERGENCY_SHUTDOWN` was set. */
  readonly switchedOn: boolean;
  /** There is maintenance, in which nothing closes by itself. */
  readonly suspended: () => boolean;
  readonly order: (order: Order) => void;
  readonly alert: (text: string) => void;
}

export class OrderWatch {
  readonly #deps: OrderWatchDeps;
  #file: EmergencyFile;

  constructor(deps: OrderWatchDeps) {
    this.#deps = deps;
    this.#file = openFile(deps.path);
  }

  /** The config names another file. */
  follow(path: string): void {
    this.#file = openFile(path);
  }

  /** An order that was there before us: then no bot is started first. It is obeyed as its bots are begun; `consume` then. */
  atStart(): Order | undefined {
    const { switchedOn, suspended, alert } = this.#deps;
    if (switchedOn)
      return { trigger: "environment", reason: "BOT_EMERGENCY_SHUTDOWN was set when the supervisor started" };
    if (!this.#fires()) return undefined;
    const { path } = this.#file;
    if (!suspended()) return { trigger: "file", reason: `the emergency file ${path} was there` };
    alert(`the emergency file ${path} was there; nothing is closed in maintenance`);
    this.#remove();
    return undefined;
  }

  /** Removes the file only when its order is in the lockouts on disk: from there on it outlives us. */
  consume({ trigger }: Order): void {
    if (trigger === "file") this.#remove();
  }

  /** Each second: obeys a file that has appeared. */
  look(): void {
    if (!this.#fires()) return;
    this.#deps.order({ trigger: "file", reason: `the emergency file ${this.#file.path} appeared` });
    this.#remove();
  }

  #fires(): boolean {
    const { fired, alert } = this.#file.look();
    if (alert !== undefined) this.#deps.alert(alert);
    return fired;
  }

  #remove(): void {
    const trouble = this.#file.consume();
    if (trouble !== undefined) this.#deps.alert(trouble);
  }
}

function openFile(path: string): EmergencyFile {
  return new EmergencyFile(path, process.getuid?.() ?? 0);
}
