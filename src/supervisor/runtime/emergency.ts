/** The emergency of one bot: its lockout, and the close that runs under it. */
import { chownSync } from "node:fs";
import { join } from "node:path";
import { acknowledgementSchema, type Acknowledgement } from "../../core/acknowledgement.ts";
import { goneBetween, withClose } from "../../core/account-closes.ts";
import type { AccountLook } from "../../core/account-look.ts";
import type { CloseGoal } from "../../core/close-goal.ts";
import type { CloseReport } from "../../core/close-job.ts";
import { isReached, type RungOutcome } from "../../core/ladder.ts";
import type { Trigger } from "../../core/lifecycle-types.ts";
import { badFillText, SLIPPAGE_ALERT_RATIO, worstFill } from "../../core/slippage.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTextIfExists, writeFileAtomic } from "../../platform/files.ts";
import type { User } from "../../platform/user.ts";
import type { BotPlan } from "./bot-plan.ts";
import { runClose, type CloseEnd, type CloseRequest } from "./closing.ts";
import { doubtText, killAll, livingText, type Fence } from "./fence.ts";
import { IncidentArrears } from "./incident-arrears.ts";
import { strangersText } from "./bot-setup.ts";
import { strangersOf } from "./survey.ts";
import { LastLook } from "./last-look.ts";
import { LockoutStore } from "./lockout-store.ts";
import { NoteFile } from "./note-file.ts";

/** Two characters of chance in base 36 tell apart two supervisors that open an incident in the same millisecond. */
const CHANCE_CHARS = 2;
/** Longest incident id, characters: client order ids derive from it. */
const INCIDENT_CHARS = 12;

/** Largest file of closes that is read, bytes; ours has eight incidents of 500 positions at most. */
const MAX_CLOSES_BYTES = 1024 ** 2;

/** Closes that a bot could not be told of and that are tried again; its file holds no more. */
const MAX_UNTOLD = 8;
/** Looks, of one a second, between two tries. */
const RETRY_LOOKS = 5;

/** Workers started one right after the other when one dies without a report; then the slow rounds go on. */
const WORKER_TRIES = 3;

/** What the close worker is doing, and how it ended last. */
export interface CloseView {
  readonly state: "fencing" | "closing" | "quiet" | "ended";
  readonly text: string;
  readonly report: CloseReport | undefined;
}

export interface EmergencyDeps {
  readonly plan: BotPlan;
  /** Who may read what the bot is told of its closes; `undefined`: we ourselves. */
  readonly user: User | undefined;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** cgroup of the close worker; `undefined` where there are none. */
  readonly workerCgroup: string | undefined;
  /** Lockout files of bots that the config no longer names but whose account is this bot's. */
  readonly inherited: readonly string[];
  /** Lockout files of bots that the config names under another account now; read, and never removed. */
  readonly shared: readonly string[];
  /** As in `BotDeps`. */
  readonly foreign?: (() => boolean) | undefined;
  /** As in `BotDeps`. */
  readonly closesOnly?: boolean | undefined;
  readonly fact: (level: "info" | "alert", text: string) => void;
}

export class Emergency {
  readonly lockout: LockoutStore;
  readonly #deps: EmergencyDeps;
  readonly #lastLook: LastLook;
  readonly #acknowledged: NoteFile<Acknowledgement>;
  readonly #arrears: IncidentArrears;
  #view: CloseView | undefined;
  #lastReport: CloseReport | undefined;
  readonly #closes: Partial<Record<RungOutcome, number>> = {};
  #working = false;
  /** Closes that `closes.json` lacks, as the disk did not take it, by incident. */
  readonly #untold = new Map<string, CloseReport>();
  #looks = 0;
  /** The order whose bad fill was told last. */
  #toldOrder: string | undefined;

  constructor(deps: EmergencyDeps) {
    this.#deps = deps;
    const { plan, clock, inherited, shared, foreign, closesOnly, fact } = deps;
    this.#lastLook = new LastLook(plan.files.dir, foreign);
    const path = join(plan.files.dir, "ack.json");
    this.#acknowledged = new NoteFile({ path, schema: acknowledgementSchema, foreign });
    const { incidents: folder, incidentsSpare: spare } = plan.files;
    this.#arrears = new IncidentArrears({ folder, spare, foreign, fact, found: (report) => this.#tellBot(report) });
    const onTrouble = (text: string): void => fact("alert", text);
    this.lockout = new LockoutStore({
      plan,
      clock,
      inherited,
      shared,
      foreign,
      closesOnly,
      newIncident: () => this.#newIncident(),
      onTrouble,
    });
  }

  /** `undefined` while this daemon has closed nothing. */
  get view(): CloseView | undefined {
    return this.#view;
  }

  /** Of the last close that ended while this daemon lived. */
  get lastReport(): CloseReport | undefined {
    return this.#lastReport;
  }

  /** How often a close ended so while this daemon lived. */
  get closes(): Readonly<Partial<Record<RungOutcome, number>>> {
    return this.#closes;
  }

  /** What of lockout, journals and reports the disk has not taken yet; `undefined`: it has all. */
  get owed(): string | undefined {
    const untold = [...this.#untold.keys()].map((incident) => `the bot could not be told of incident ${incident} yet`);
    const owed = [this.lockout.owed, this.#arrears.owed, ...untold].filter((each) => each !== undefined);
    return owed.length === 0 ? undefined : owed.join("; ");
  }

  /** Each second: brings to the disk what it has not taken. */
  settle(): void {
    this.lockout.settle();
    // Between two lines of a worker ours would be taken for a part of its run.
    if (!this.#working) this.#arrears.settle();
    this.#looks += 1;
    if (this.#looks % RETRY_LOOKS === 0) for (const report of this.#untold.values()) this.#tellBot(report);
  }

  /** Nothing is written any more once it returns. */
  release(): void {
    this.#arrears.end(this.#working);
  }

  /** A worker is under way; it goes on also when the daemon ends. */
  get working(): boolean {
    return this.#working;
  }

  open(trigger: Trigger, reason: string, goal?: CloseGoal): void {
    this.lockout.open(trigger, reason, goal);
    // A worker under way tells by itself where it is.
    if (!this.#working) this.#view = { state: "fencing", text: "proving that the bot is dead", report: undefined };
  }

  /** What a plan has seen of the account is newer than how its close ended. */
  see(report: CloseReport): void {
    if (this.lockout.current !== undefined) this.#lastLook.note(report, this.lockout.current);
  }

  /** What was seen of the account since its close ended; `undefined`: nobody has looked, or it is not locked. */
  get seen(): AccountLook | undefined {
    const { current } = this.lockout;
    return current === undefined ? undefined : this.#lastLook.since(current);
  }

  end(outcome: RungOutcome): void {
    this.lockout.end(outcome);
  }

  acknowledge(): void {
    this.lockout.acknowledge();
  }

  /** Kept for people; called before the acknowledgement itself, which counts without it. */
  noteAcknowledgement(reason: string, by: string | undefined): void {
    const { current } = this.lockout;
    if (current !== undefined)
      this.#acknowledged.write({ version: 1, incident: current.incident, by: by ?? null, reason });
  }

  /** Who has acknowledged the lockout that holds, when and why, as far as it is known; `undefined`: nobody has. */
  get acknowledged(): { readonly at: string; readonly by: string | null; readonly reason: string | null } | undefined {
    const { current } = this.lockout;
    if (current?.acknowledgedAt === undefined) return undefined;
    const { note } = this.#acknowledged;
    const { by, reason } = note?.incident === current.incident ? note : { by: null, reason: null };
    return { at: current.acknowledgedAt, by, reason };
  }

  unlock(): void {
    this.lockout.remove();
    this.#view = undefined;
  }

  /** Runs the close worker to its end. Never throws. */
  async close(fence: Fence): Promise<RungOutcome> {
    const { plan, clock, env, workerCgroup: cgroup } = this.#deps;
    const lockout = this.lockout.current;
    if (lockout === undefined) return "failed";
    // The loop proved the bot gone; whatever was born since (a stray child of a hook) is ended before the worker looks.
    const survivors = await killAll(fence, clock);
    if (survivors.length > 0)
      return this.#ended(
        "refused",
        doubtText(survivors, fence) ?? `${livingText(survivors, fence)} of the bot cannot be ended`,
      );
    const elsewhere = livesElsewhere(plan);
    if (elsewhere !== undefined) return this.#ended("refused", elsewhere);
    const onProgress = ({
      state,
      text,
    }: Pick<CloseView, "text"> & { state: "fencing" | "closing" | "quiet" }): void => {
      this.#view = { state, text, report: undefined };
      this.#deps.fact("info", `closing positions: ${text}`);
    };
    const onStarted = (): void => {
      this.#working = true;
    };
    this.#arrears.flush();
    const { goal } = lockout;
    const { isSlowRound: slow, isFirstRound: first } = this.lockout;
    const end = await this.#run({
      plan,
      mode: "close",
      lockout,
      goal,
      slow,
      first,
      fence,
      env,
      clock,
      cgroup,
      onProgress,
      onAlert: (text) => this.#deps.fact("alert", `closing positions: ${text}`),
      onStarted,
    });
    if (end.kind === "failed") return this.#ended("failed", end.reason);
    const outcome = this.#ended(end.report.outcome, end.report.reason, end.report);
    if (end.unwritten !== undefined) this.#arrears.take(end.report, end.unwritten);
    return outcome;
  }

  /** Nothing is closed, as the bot may still trade. */
  refuse(reason: string): RungOutcome {
    return this.#ended("refused", reason);
  }

  /** A worker that was killed (for want of memory, by a person) leaves a half-closed account: the next one goes on at once. */
  async #run(request: CloseRequest): Promise<CloseEnd> {
    for (let tries = 1; ; tries += 1) {
      // Safe: a worker follows the one that died.
      // oxlint-disable-next-line no-await-in-loop
      const end = await runClose(request);
      if (end.kind === "report" || !end.died || tries >= WORKER_TRIES) return end;
      this.#deps.fact("alert", `${end.reason}; starting another one`);
    }
  }

  #ended(outcome: RungOutcome, text: string, report?: CloseReport): RungOutcome {
    this.#view = { state: "ended", text, report };
    this.#lastReport = report ?? this.#lastReport;
    this.#closes[outcome] = (this.#closes[outcome] ?? 0) + 1;
    this.#working = false;
    this.#deps.fact(isReached(outcome) ? "info" : "alert", `closing positions ended ${outcome}: ${text}`);
    if (report !== undefined) this.#tellBot(report);
    if (report !== undefined) this.#tellSlippage(report);
    return outcome;
  }

  /** So that the bot's next start knows this close from a stranger's; that it cannot be told is no reason to do anything else, and is tried again. */
  #tellBot(report: CloseReport): void {
    const { plan, user, clock, fact } = this.#deps;
    const { incident, trigger, startedAt, endedAt, outcome, before, after } = report;
    const path = plan.files.closes;
    try {
      const close = {
        incident,
        trigger,
        startedAt: Date.parse(startedAt),
        endedAt: endedAt === undefined ? clock.wallTime().getTime() : Date.parse(endedAt),
        outcome,
        positions: goneBetween(before?.positions, after?.positions),
      };
      writeFileAtomic(path, withClose(readTextIfExists(path, MAX_CLOSES_BYTES), close));
      if (user !== undefined) chownSync(path, user.uid, user.gid);
      this.#untold.delete(incident);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (!this.#untold.has(incident))
        fact("info", `cannot tell the bot of incident ${incident}, which is tried again every 5 s: ${why}`);
      this.#untold.set(incident, report);
      const [oldest] = this.#untold.keys();
      if (this.#untold.size > MAX_UNTOLD && oldest !== undefined) this.#untold.delete(oldest);
    }
  }

  /** Once for each fill: the report of a further run has the orders of all. */
  #tellSlippage({ orders }: CloseReport): void {
    const worst = worstFill(orders, this.#deps.plan.config.emergency?.maxSlippage ?? SLIPPAGE_ALERT_RATIO);
    if (worst === undefined || worst.order.id === this.#toldOrder) return;
    this.#toldOrder = worst.order.id;
    this.#deps.fact("alert", `closing positions: ${badFillText(worst)}`);
  }

  /** The time in base 36 orders the incidents of an account. */
  #newIncident(): string {
    const { clock, random } = this.#deps;
    const time = clock.wallTime().getTime().toString(36);
    const chance = Math.floor(random() * 36 ** CHANCE_CHARS).toString(36);
    return `${time}${chance.padStart(CHANCE_CHARS, "0")}`.slice(-INCIDENT_CHARS);
  }
}

/** Why the same bot may be trading under another state folder; unknown is not nobody. */
function livesElsewhere(plan: BotPlan): string | undefined {
  try {
    const pids = strangersOf(plan);
    return pids.length === 0 ? undefined : strangersText(plan, pids);
  } catch (error) {
    return `cannot look for the bot under other state folders: ${error instanceof Error ? error.message : String(error)}`;
  }
}
