/** The emergency of one bot: its lockout, and the close that runs under it. */
import type { CloseReport } from "../../core/close-job.ts";
import type { RungOutcome } from "../../core/ladder.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import type { Clock } from "../../platform/clock.ts";
import { killTree, type TreeMarks } from "../../platform/tree.ts";
import { KILL_GRACE_MS, type BotPlan } from "./bot-plan.ts";
import { runClose } from "./closing.ts";
import { LockoutStore } from "./lockout-store.ts";

/** Two characters of chance in base 36 tell apart two supervisors that open an incident in the same millisecond. */
const CHANCE_CHARS = 2;
/** Longest incident id, characters: client order ids derive from it. */
const INCIDENT_CHARS = 12;

/** What the close worker is doing, and how it ended last. */
export interface CloseView {
  readonly state: "fencing" | "closing" | "quiet" | "ended";
  readonly text: string;
  readonly report: CloseReport | undefined;
}

export interface EmergencyDeps {
  readonly plan: BotPlan;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fact: (level: "info" | "alert", text: string) => void;
}

export class Emergency {
  readonly lockout: LockoutStore;
  readonly #deps: EmergencyDeps;
  #view: CloseView | undefined;

  constructor(deps: EmergencyDeps) {
    this.#deps = deps;
    this.lockout = new LockoutStore(deps.plan, deps.clock, (text) => deps.fact("alert", text));
  }

  /** `undefined` while this daemon has closed nothing. */
  get view(): CloseView | undefined {
    return this.#view;
  }

  open(trigger: Trigger, reason: string): void {
    this.lockout.open(trigger, reason, () => this.#newIncident());
    this.#view = { state: "fencing", text: "proving that the bot is dead", report: undefined };
  }

  end(outcome: RungOutcome): void {
    this.lockout.end(outcome);
  }

  unlock(): void {
    this.lockout.remove();
    this.#view = undefined;
  }

  /** Runs the close worker to its end. Never throws. */
  async close(fence: {
    readonly marks: TreeMarks;
    readonly invocationId: string | undefined;
    readonly cgroup: string | undefined;
  }): Promise<RungOutcome> {
    const { plan, clock, env } = this.#deps;
    const lockout = this.lockout.current;
    if (lockout === undefined) return "failed";
    // The loop proved the bot gone; whatever was born since (a stray child of a hook) is ended before the worker looks.
    const survivors = await killTree(fence.marks, { clock, graceMs: KILL_GRACE_MS });
    if (survivors.length > 0) return this.#ended("refused", "the bot's processes cannot be ended");
    const { invocationId, cgroup } = fence;
    const onProgress = ({
      state,
      text,
    }: Pick<CloseView, "text"> & { state: "fencing" | "closing" | "quiet" }): void => {
      this.#view = { state, text, report: undefined };
      this.#deps.fact("info", `closing positions: ${text}`);
    };
    const end = await runClose({ plan, mode: "close", lockout, invocationId, cgroup, env, clock, onProgress });
    if (end.kind === "failed") return this.#ended("failed", end.reason);
    return this.#ended(end.report.outcome, end.report.reason, end.report);
  }

  #ended(outcome: RungOutcome, text: string, report?: CloseReport): RungOutcome {
    this.#view = { state: "ended", text, report };
    this.#deps.fact(outcome === "flat" ? "info" : "alert", `closing positions ended ${outcome}: ${text}`);
    return outcome;
  }

  /** The time in base 36 orders the incidents of an account. */
  #newIncident(): string {
    const { clock, random } = this.#deps;
    const time = clock.wallTime().getTime().toString(36);
    const chance = Math.floor(random() * 36 ** CHANCE_CHARS).toString(36);
    return `${time}${chance.padStart(CHANCE_CHARS, "0")}`.slice(-INCIDENT_CHARS);
  }
}
