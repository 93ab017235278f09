/**
 * Reloads the config of a running daemon: reads and checks the file as `run` does, and makes the bots what it says. All stops
 * of bots that leave or change their account come before any start, so that never two bots are on one account.
 */
import { planCommand } from "../../../core/close-next.ts";
import { longestStopMs } from "../../../core/lifecycle-moves.ts";
import { reloadSummary, type BotReload, type ReloadAnswer } from "../../../core/reload.ts";
import type { Order } from "../../../core/first-act.ts";
import type { CarriedBot } from "../../../core/upgrade.ts";
import type { Bot } from "../bot.ts";
import { checkEnvironment } from "../config/environment.ts";
import { ConfigError } from "../config/issues.ts";
import type { LoadedConfig } from "../config/load.ts";
import type { Clock } from "../../../platform/clock.ts";
import type { ConfigRead } from "../../../report/metric-source.ts";
import type { Fleet } from "../fleet.ts";
import { carriedBot } from "../handover.ts";
import { restsByWish } from "../live-plan.ts";
import { beginTaken, Intake, type Left } from "./intake.ts";
import type { BotChange, ReloadPlan } from "./plan.ts";
import { programRefusal, refusalOf, staleness } from "./refusals.ts";
import { atRest, inEmergency, isDown, isUp, outcomeOf, type Outcome } from "./states.ts";

/** Time beyond a bot's own timeouts that it is waited for, ms. */
const MARGIN_MS = 15_000;

const STAYS = "it could not be let go of, and keeps its definition and account";

export interface ReloaderDeps {
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** The config in force, but for the bots, which the fleet knows. */
  readonly current: () => LoadedConfig;
  /** Takes over what is of the supervisor itself; resolves when its servers are open again. */
  readonly adopt: (loaded: LoadedConfig, plan: ReloadPlan) => Promise<void>;
  /** The daemon ends: nothing is begun any more. */
  readonly stopping: () => boolean;
  readonly say: (level: "info" | "warn" | "alert", text: string) => void;
  /** Why nothing may be restarted now; `undefined` when it may. */
  readonly obstacle: () => string | undefined;
  /** The reload that was announced is being done (true), or is done. */
  readonly onBusy: (busy: boolean) => void;
}

/** A reload that was refused before anything changed. */
export class ReloadRefusal extends Error {
  readonly code: "config" | "refused" | "inProgress" | "stopping";
  readonly hint: string | undefined;

  constructor(code: ReloadRefusal["code"], message: string, hint?: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

export class Reloader {
  readonly #deps: ReloaderDeps;
  #lastRead: ConfigRead;
  #busy = false;
  #again = false;
  /** An order to close everything came while bots were being replaced: those that come have to obey it, too. */
  #order: Order | undefined;
  /** Bots that were let go of, and are taken in again. */
  #coming: ReadonlySet<string> = new Set();
  readonly #intake: Intake;

  constructor(deps: ReloaderDeps) {
    this.#deps = deps;
    this.#intake = new Intake(deps);
    // The daemon is made of a config that has just been read.
    this.#lastRead = { success: true, lastSuccessAt: deps.clock.wallTime() };
  }

  /** How the last reload ended that was begun; before the first, the start. */
  get lastRead(): ConfigRead {
    return this.#intake.trouble === null ? this.#lastRead : { ...this.#lastRead, success: false };
  }

  /** Which bots of the config in force are not there, and why; null: all are. */
  get missing(): string | null {
    return this.#intake.trouble;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Why the bots that are there are not all that are to be handed over; `undefined`: they are. */
  get unsettled(): string | undefined {
    return this.#busy ? "a reload of the config is under way" : (this.missing ?? undefined);
  }

  /** Why the fleet does not know a bot of the config; `undefined`: it does, or it is none. */
  absenceOf(bot: string): Absence | undefined {
    if (this.#deps.fleet.bots.has(bot)) return undefined;
    if (this.#coming.has(bot)) return { kind: "coming" };
    const reason = this.#intake.reasonOf(bot);
    return reason === undefined ? undefined : { kind: "missing", reason };
  }

  /** An order that every bot was given. */
  noteOrder(order: Order): void {
    if (this.#busy) this.#order = order;
    this.#intake.noteOrder(order);
  }

  /** Each 10 s: takes in what a reload could not, if it can be had now. Never throws. */
  retryMissing(): void {
    const { current, stopping, obstacle, say } = this.#deps;
    if (this.#busy || this.missing === null || stopping() || obstacle() !== undefined) return;
    this.#intake.retry(current(), say);
  }

  /** What `reload` would do now. Throws `ReloadRefusal` for a file that is no config. */
  async preview(): Promise<ReloadAnswer> {
    return this.#read(await loadTools()).answer;
  }

  /** Does it, and answers when every bot has come to rest. Throws `ReloadRefusal` when nothing was changed. */
  async reload(): Promise<ReloadAnswer> {
    const { stopping, onBusy, say } = this.#deps;
    if (stopping()) throw new ReloadRefusal("stopping", "cannot reload: the supervisor is stopping");
    if (this.#busy)
      throw new ReloadRefusal("inProgress", "cannot reload: a reload is in progress", "try again when it has ended");
    this.#busy = true;
    this.#order = undefined;
    try {
      const tools = await loadTools();
      const obstacle = this.#deps.obstacle();
      if (obstacle !== undefined)
        throw new ReloadRefusal("inProgress", `cannot reload: ${obstacle}`, "try again when that has ended");
      const { loaded, plan, answer } = this.#read(tools);
      if (answer.refusal !== null)
        throw new ReloadRefusal("refused", `cannot reload: ${answer.refusal}`, "nothing was changed");
      say("info", `reloading ${loaded.file}: ${reloadSummary(answer)}`);
      onBusy(true);
      const unclosed = new Map(plan.bots.map((each) => [each.name, tools.unclosedText(each, loaded.config)]));
      // A missing one is not there to be removed.
      const before = this.#deps.current().config.bots;
      for (const name of this.#intake.names)
        unclosed.set(
          name,
          tools.unclosedText({ before: before[name], after: loaded.config.bots[name] }, loaded.config),
        );
      for (const [name, text] of unclosed) if (text !== undefined) say("warn", `reload: ${name}: ${text}`);
      const done = await this.#apply(loaded, plan);
      const bots = done.map((bot) => ({ ...bot, note: unclosed.get(bot.name) ?? bot.note }));
      this.#lastRead = { success: true, lastSuccessAt: this.#deps.clock.wallTime() };
      return { ...answer, applied: true, bots };
    } catch (error) {
      this.#lastRead = { ...this.#lastRead, success: false };
      if (error instanceof ReloadRefusal)
        say("warn", `the config is not reloaded, and everything goes on as it was: ${error.message}`);
      else
        say(
          "alert",
          `internal error: the reload broke off: ${messageOf(error)}; supervisor config diff shows what is left`,
        );
      throw error;
    } finally {
      this.#busy = false;
      // Also of one that broke off: whoever is there obeys again, and nobody else is on the way.
      this.#coming = new Set();
      for (const bot of this.#deps.fleet.all) bot.leaving = false;
      onBusy(false);
    }
  }

  /** A signal came: as `reload`, and what came of it is in the journal. During a reload it is done after it: the file may be another by now. */
  async obeySignal(): Promise<void> {
    this.#again = true;
    if (this.#busy) return;
    while (this.#again && !this.#deps.stopping()) {
      this.#again = false;
      // Safe: a reload follows the one before.
      // oxlint-disable-next-line no-await-in-loop
      await this.reload().catch(() => undefined);
    }
  }

  #read({ loadConfig, planReload, unclosedText }: Tools): {
    loaded: LoadedConfig;
    plan: ReloadPlan;
    answer: ReloadAnswer;
  } {
    const { current, fleet } = this.#deps;
    const { file, env, config, dirs } = current();
    const { loaded, warnings } = readAll(loadConfig, file, env);
    const inForce = Object.fromEntries(fleet.all.map(({ latestPlan }) => [latestPlan.name, latestPlan.config]));
    const plan = planReload({ ...config, bots: inForce }, loaded.config, (after) => staleness(fleet, after, dirs));
    const refusal = refusalOf(plan, loaded.config, fleet.bots) ?? programRefusal(plan, loaded, fleet) ?? null;
    const bots = plan.bots.map((each) => {
      const { name, meaning, changes } = each;
      const unclosed = unclosedText(each, loaded.config);
      const note = unclosed === undefined ? null : `${unclosed}; until then ${planCommand(name)} shows what is open`;
      return { name, meaning, changes: [...changes], ...UNTOUCHED, note };
    });
    return {
      loaded,
      plan,
      answer: { version: 1, file, applied: false, refusal, changes: [...plan.changes], bots, warnings: [...warnings] },
    };
  }

  async #apply(loaded: LoadedConfig, plan: ReloadPlan): Promise<BotReload[]> {
    const { fleet, adopt } = this.#deps;
    // No wait between the judgement of the plan and its first deeds: what was judged is as it was.
    const own = adopt(loaded, plan).catch((error: unknown) =>
      this.#deps.say("alert", `internal error: cannot take over the new config: ${messageOf(error)}`),
    );
    const ends = new Map<string, Promise<Outcome>>();
    const going = plan.bots.filter(
      ({ before, after, replaced }) => before !== undefined && (after === undefined || replaced),
    );
    for (const each of plan.bots) {
      const bot = fleet.bots.get(each.name);
      if (bot === undefined || each.after === undefined || each.replaced) continue;
      const restarts = each.meaning === "restart";
      const waits = restarts && isUp(bot.loop.state);
      bot.redefine(each.after, restarts);
      ends.set(each.name, this.#settled(bot, { waits, notes: restarts }));
    }
    // Also bots that are as they were: what held them back at the start is there now.
    for (const bot of fleet.all) bot.release();
    const gone = await this.#letGo(going);
    const left = new Map(gone.map((each) => [each.name, each]));
    for (const { name, error } of gone) if (error !== undefined) ends.set(name, Promise.resolve({ error }));
    for (const [name, end] of this.#takeIn(loaded, plan, left, new Set(ends.keys()))) ends.set(name, end);
    this.#coming = new Set();
    await own;
    return Promise.all(
      plan.bots.map(async ({ name, meaning, changes }): Promise<BotReload> => {
        const { note, error } = (await ends.get(name)) ?? {};
        const state = fleet.bots.get(name)?.loop.state.kind ?? null;
        if (error !== undefined) this.#deps.say("alert", `reload: ${name}: ${error}`);
        return { name, meaning, changes: [...changes], state, note: note ?? null, error: error ?? null };
      }),
    );
  }

  /**
   * Stops bots under their old definitions, and lets go of them together once every one has come to rest: until then each is there for
   * whoever orders its positions to be closed. `error` where that failed and it stays.
   */
  async #letGo(going: readonly BotChange[]): Promise<Left[]> {
    const { fleet, say } = this.#deps;
    const stopped = await Promise.all(going.map((each) => this.#stop(each)));
    const removals: Promise<void>[] = [];
    const left = stopped.map(({ bot, was, forgetsStop }): Left => {
      const error = bot === undefined ? undefined : (was.error ?? this.#stays(bot));
      if (bot === undefined || error !== undefined) return { ...was, ...(error === undefined ? {} : { error }) };
      const onFailure = (cause: unknown): void =>
        say("alert", `internal error: reload: ${was.name} was let go of, but not all of it ended: ${messageOf(cause)}`);
      removals.push(fleet.remove(bot, { forgetsStop }).catch(onFailure));
      return was;
    });
    this.#coming = new Set(going.flatMap(({ name, after }) => (after === undefined ? [] : [name])));
    await Promise.all(removals);
    return left;
  }

  /** Never throws: the others are let go of all the same. */
  async #stop({ name, after }: BotChange): Promise<Stopped> {
    const forgetsStop = after === undefined;
    const bot = this.#deps.fleet.bots.get(name);
    const atMs = this.#deps.clock.monotonicMs();
    if (bot === undefined) return { bot, was: { name, atMs, wanted: false, waitsFor: [] }, forgetsStop };
    // One that waits to be started is stopped, and is to run all the same; the stop ends its wait.
    const wanted = bot.loop.state.wanted || bot.turn.isDue;
    const waitsFor = bot.turn.waitsFor.filter((each) => after?.after.includes(each));
    // Nobody has ordered its start, and what closeAfter has counted goes on.
    const halted = bot.loop.state.kind === "halted" ? carriedBot(bot, this.#deps.clock) : undefined;
    const was = { name, atMs, wanted, waitsFor, keptDown: bot.turn.keptDown, halted };
    const closeAtMs = after?.account === bot.plan.account ? bot.loop.dueAtMs("closeAfter") : undefined;
    try {
      await this.#bringDown(bot);
      return { bot, was: { ...was, counted: this.#countedOf(bot, atMs, closeAtMs) }, forgetsStop };
    } catch (error) {
      bot.leaving = false;
      return { bot, was: { ...was, error: `${STAYS}: internal error: ${messageOf(error)}` }, forgetsStop };
    }
  }

  /** The stop has ended the count of `closeAfter`, which is said as of `atMs`; it goes on where the bot has the same account under its new definition. */
  #countedOf(bot: Bot, atMs: number, closeAtMs: number | undefined): CarriedBot | undefined {
    const carried = closeAtMs === undefined ? undefined : carriedBot(bot, this.#deps.clock);
    if (closeAtMs === undefined || carried?.kind !== "stopped") return undefined;
    // Its budget begins anew, as that of every bot with a new definition.
    return { ...carried, restartAgesMs: [], closeAfterLeftMs: Math.max(0, closeAtMs - atMs) };
  }

  async #bringDown(bot: Bot): Promise<void> {
    bot.leaving = true;
    bot.loop.post({ kind: "stop", why: "stopped by a reload" });
    await bot.loop.settles(({ kind }) => isDown(kind) || kind === "recovering", stopBoundMs(bot));
    // As at the end of the daemon: whoever is let go of disarms no switch any more. That of a locked or halted bot is to run out.
    if (restsByWish(bot.loop.state)) await bot.guard.watch.rest();
  }

  /** Why a bot that was stopped cannot be let go of; `undefined` when it can. */
  #stays(bot: Bot): string | undefined {
    const { state } = bot.loop;
    if (this.#deps.stopping()) return "the supervisor is stopping";
    if (isDown(state.kind) && !inEmergency(state)) return undefined;
    bot.leaving = false;
    return `${STAYS}: it is ${state.kind}`;
  }

  /** Takes in what is new: first all of them, then their starts. */
  #takeIn(
    loaded: LoadedConfig,
    plan: ReloadPlan,
    left: ReadonlyMap<string, Left>,
    settled: ReadonlySet<string>,
  ): Map<string, Promise<Outcome>> {
    const { fleet } = this.#deps;
    const ends = new Map<string, Promise<Outcome>>();
    const coming = plan.bots.flatMap(({ name, before, after, replaced }) => {
      const comes = after !== undefined && (before === undefined || replaced);
      return comes && !settled.has(name) && !fleet.bots.has(name) ? [after] : [];
    });
    const { taken, failed } = this.#intake.take(loaded, coming, left);
    if (this.#order !== undefined) this.#intake.noteOrder(this.#order);
    for (const [name, error] of failed) ends.set(name, Promise.resolve({ error }));
    for (const each of taken) {
      const { bot, was } = each;
      const error = beginTaken(each, this.#order);
      const comes = was?.halted === undefined && (isUp(bot.loop.state) || bot.loop.state.wanted);
      const end = this.#settled(bot, { waits: comes, notes: true });
      ends.set(bot.plan.name, error === undefined ? end : Promise.resolve({ error }));
    }
    return ends;
  }

  /** How a bot does under its new definition; `waits` when it is being started, `notes` when a person may want to start it. */
  async #settled(bot: Bot, { waits, notes }: { waits: boolean; notes: boolean }): Promise<Outcome> {
    const { startTimeout } = bot.latestPlan.policy;
    if (waits) await bot.loop.settles(atRest, stopBoundMs(bot) + startTimeout);
    return outcomeOf(bot, { waits, notes });
  }
}

/** Why the fleet does not know a bot of the config: it is between its old definition and its new one, or could not be taken in. */
export type Absence = { readonly kind: "coming" } | { readonly kind: "missing"; readonly reason: string };

/** A bot that was stopped, as far as it could be. */
interface Stopped {
  /** `undefined`: there is none of the name. */
  readonly bot: Bot | undefined;
  readonly was: Left;
  /** As in `Fleet`. */
  readonly forgetsStop: boolean;
}

const UNTOUCHED = { state: null, error: null };

interface Tools {
  readonly loadConfig: typeof import("../config/load.ts").loadConfig;
  readonly planReload: typeof import("./plan.ts").planReload;
  readonly unclosedText: typeof import("./plan.ts").unclosedText;
}

/** Loaded when they are needed: schema and YAML parser are large, and a daemon that never reloads has no use for them. */
async function loadTools(): Promise<Tools> {
  const [{ loadConfig }, plan] = await Promise.all([import("../config/load.ts"), import("./plan.ts")]);
  return { loadConfig, planReload: plan.planReload, unclosedText: plan.unclosedText };
}

function readAll(
  loadConfig: Tools["loadConfig"],
  file: string,
  env: LoadedConfig["env"],
): { loaded: LoadedConfig; warnings: readonly string[] } {
  try {
    const loaded = loadConfig({ file, env });
    return { loaded, warnings: checkEnvironment(loaded) };
  } catch (error) {
    if (error instanceof ConfigError) throw new ReloadRefusal("config", error.message, "the old config stays in force");
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stopBoundMs({ plan }: Bot): number {
  return longestStopMs(plan.policy) + MARGIN_MS;
}
