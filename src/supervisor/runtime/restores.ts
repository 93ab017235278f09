/**
 * The daemon and restores, which workers do: one that was broken off is ended before any bot starts, and looked for since. A
 * bot whose data is being replaced is not started meanwhile, by nobody.
 */
import {
  deleteKept,
  heldText,
  openRestoreOf,
  openRestores,
  serverWork,
  settleRestores,
  type OpenRestore,
  type Settled,
} from "../../actions/backup/restore-journal.ts";
import { startServerOf } from "../../actions/backup/restore-server.ts";
import type { settleOnServer } from "./backup-run.ts";
import type { Clock } from "../../platform/clock.ts";

/** The same for old databases that a restore has put aside. */
const OLD_TICKS = 3_600;
/** Ticks of the daemon between two looks for a restore that was broken off. */
const LOOK_TICKS = 10;

/** Why a bot may not start, and the restore because of which, where its journal was found. */
export interface Held {
  readonly reason: string;
  readonly open: OpenRestore | undefined;
}

interface RestoresDeps {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly say: (level: "info" | "alert", text: string) => void;
  readonly start: (bot: string) => void;
  /** Starts what only a restore has put off, unless it still does. */
  readonly startWaiting: () => void;
  /** Ends what a restore of the target has left on its server; never throws. */
  readonly settleOnServer: (target: string) => ReturnType<typeof settleOnServer>;
}

export class Restores {
  readonly #deps: RestoresDeps;
  /** Targets whose server is asked now. */
  readonly #asking = new Set<string>();
  #said = "";
  #ticks = 0;
  #deleting = false;

  constructor(deps: RestoresDeps) {
    this.#deps = deps;
  }

  /** At the start of the daemon: ends what can be ended, before any bot starts. */
  begin(): void {
    this.#settle();
  }

  /** What keeps the bot from its start now; `undefined` when it may start. Nothing that cannot be read reads as "may". */
  held(bot: string): Held | undefined {
    try {
      const open = openRestoreOf(this.#deps.stateDir, bot);
      return open === undefined ? undefined : { reason: heldText(open), open };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { reason: `cannot look for restores: ${why}`, open: undefined };
    }
  }

  holding(bot: string): string | undefined {
    return this.held(bot)?.reason;
  }

  /** Why there can be no reload of these bots now: a restart would let one of them open data that is being replaced under it. */
  obstacle(bots: Iterable<string>): string | undefined {
    for (const bot of bots) {
      const reason = this.holding(bot);
      if (reason !== undefined) return `bot ${bot}: ${reason}`;
    }
    return undefined;
  }

  /** Each second. */
  tick(): void {
    this.#ticks += 1;
    if (this.#ticks % LOOK_TICKS !== 0) return;
    if (openRestores(this.#deps.stateDir).length > 0 || this.#ticks % OLD_TICKS === 0) this.#settle();
    this.#deps.startWaiting();
  }

  #settle(): void {
    const { stateDir, clock, say } = this.#deps;
    for (const settled of settleRestores(stateDir, clock)) {
      const { outcome, detail } = settled;
      if (outcome === "server") continue;
      if (outcome !== "busy" && detail !== this.#said) say(outcome === "failed" ? "alert" : "info", detail);
      // The same trouble is said once.
      this.#said = detail;
      if (outcome === "busy" || outcome === "failed") continue;
      void this.#startAgain(settled);
    }
    for (const target of serverWork(stateDir, clock.wallTime())) void this.#ask(target);
    void this.#deleteKept();
  }

  async #deleteKept(): Promise<void> {
    if (this.#deleting) return;
    this.#deleting = true;
    await deleteKept(this.#deps.stateDir, this.#deps.clock.wallTime());
    this.#deleting = false;
  }

  /** A worker asks the server, which may take its time: the bots wait. */
  async #ask(target: string): Promise<void> {
    if (this.#asking.has(target)) return;
    this.#asking.add(target);
    const { settled, failure } = await this.#deps.settleOnServer(target);
    this.#asking.delete(target);
    if (failure !== undefined && failure !== this.#said) this.#deps.say("alert", failure);
    this.#said = failure ?? this.#said;
    if (settled === undefined) return;
    this.#deps.say("info", settled.detail);
    for (const bot of settled.stopped) this.#deps.start(bot);
  }

  /** What a restore that was broken off had stopped: the server first, which the bots find when they start. */
  async #startAgain(settled: Settled): Promise<void> {
    const { clock, say, start } = this.#deps;
    const fault = await startServerOf(settled, clock);
    if (fault !== undefined) say("alert", fault);
    for (const bot of settled.stopped) start(bot);
  }
}
