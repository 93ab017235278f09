/**
 * Judges the simulated world after every event by what the invariants of the architecture say, from the world's own truth
 * and never from what the supervisor believes. The first complaint ends the episode.
 */
import { retriesByItself, type RungOutcome } from "../../src/core/ladder.ts";
import type { Lockout } from "../../src/core/lockout.ts";
import type { Effect, Event, State } from "../../src/core/lifecycle-types.ts";
import type { Deed } from "../../src/supervisor/runtime/loop.ts";
import { stateBoundMs, waitsForGood } from "./bounds.ts";
import type { Process } from "./machine.ts";
import { RestartBook } from "./restart-book.ts";
import type { SimulatedBot } from "./simulated-bot.ts";
import type { World } from "./world.ts";

/** Effects that one event may have. */
const MAX_EFFECTS = 20;
/** Timers of the daemon at a time: those of each loop and of each probe, and of what is late. */
const MAX_TIMERS = 100;
/** Lines of the trace that a failure shows. */
const TRACE_LINES = 50;

export interface Entry {
  readonly event: Event;
  readonly from: State;
  readonly to: State;
  readonly effects: readonly Effect[];
}

/** What is true of one account, whatever the supervisor knows. */
class Truth {
  /** A lockout is on disk, acknowledged and not ended by a person. */
  locked = false;
  outcome: RungOutcome | null = null;
  /** The last word of config or operator. */
  wish = false;
  /** Why it is right that the bot does not run. */
  excuse: string | undefined;
  spawns = 0;
  book = new RestartBook();
  last: Entry | undefined;
  phase = "";
  phaseSinceMs = 0;
  badSinceMs: number | undefined;
}

export class Oracle {
  readonly #world: World;
  readonly #truths = new Map<string, Truth>();
  readonly #trace: (() => string)[] = [];
  complaint: string | undefined;
  events = 0;
  /** Of everything decided; two runs of one seed have the same. */
  digest = 0;
  /** Cells of the lifecycle that acted. */
  readonly cells = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  truth(account: string): Truth {
    const known = this.#truths.get(account) ?? new Truth();
    this.#truths.set(account, known);
    return known;
  }

  get trace(): readonly string[] {
    return this.#trace.map((line) => line());
  }

  complain(text: string): void {
    this.complaint ??= text;
  }

  note(line: () => string): void {
    const atMs = this.#world.time.nowMs;
    this.#trace.push(() => `${String(atMs).padStart(8)} ms  ${line()}`);
    if (this.#trace.length > TRACE_LINES) this.#trace.shift();
  }

  beforeEvent(): void {
    this.events += 1;
    this.check();
  }

  /** Everything that must hold between any two events. */
  check(): void {
    const { settings, machine, venue, daemon } = this.#world;
    for (const { name } of settings.accounts) {
      const living = machine.living(name);
      if (living.size > 0) {
        const lives = new Set([...living].map(({ invocationId }) => invocationId));
        if (lives.size > 1) this.complain(`I1: ${[...lives].join(" and ")} live on account ${name} at once`);
        if (venue.trading.has(name))
          this.complain(`I2: positions of ${name} are closed while ${[...lives].join()} lives`);
      }
    }
    if (daemon === undefined || !daemon.alive || !daemon.begun) return;
    if (daemon.owner.waiting > MAX_TIMERS) this.complain(`I8: ${daemon.owner.waiting} timers wait in the daemon`);
    for (const bot of daemon.bots) this.#checkBot(bot);
  }

  #checkBot(bot: SimulatedBot): void {
    const { state } = bot.loop;
    const name = bot.plan.account;
    const truth = this.truth(name);
    const down = !["starting", "running", "stopping", "stuck"].includes(state.kind);
    if (down && this.#world.machine.living(name).size > 0) this.complain(`${bot.plan.name} lives and is ${state.kind}`);
    const lockedUp = ["stopping", "stuck", "recovering", "locked"].includes(state.kind);
    if (truth.locked && !lockedUp) this.complain(`I3: ${bot.plan.name} is ${state.kind} in a lockout`);
    if (state.kind === "running" && state.health === "unhealthy" && state.closeClock === "due")
      this.complain("closeAfter is over, the bot is unhealthy, and nothing is closed");
    this.#checkTime(bot, truth);
  }

  /** Every state is left within its time, and no bot is away for longer than closeAfter without a close. */
  #checkTime(bot: SimulatedBot, truth: Truth): void {
    const { state } = bot.loop;
    const { policy } = bot.plan;
    const nowMs = this.#world.movingMs;
    const mainLives = this.#world.mainLives(bot.plan.account);
    const inPhase = "phase" in state ? ` (${state.phase})` : "";
    const phase = `${state.kind}${inPhase} with start ${state.generation} ${mainLives ? "alive" : "dead"}`;
    if (phase !== truth.phase) {
      truth.phase = phase;
      truth.phaseSinceMs = nowMs;
    }
    const acknowledged = isAcknowledged(bot);
    const boundMs = stateBoundMs(policy, state, { mainLives, acknowledged });
    if (nowMs - truth.phaseSinceMs > boundMs) this.complain(`${bot.plan.name} is ${phase} for more than ${boundMs} ms`);
    if (waitsForGood(state)) truth.badSinceMs ??= nowMs;
    else truth.badSinceMs = undefined;
    if (policy.emergency === undefined || truth.badSinceMs === undefined) return;
    const closeMs = policy.emergency.closeAfter + 11 * (policy.startTimeout + policy.stopTimeout) + 60_000;
    if (nowMs - truth.badSinceMs > closeMs) this.complain(`no healthy bot for ${closeMs} ms, and nothing is closed`);
  }

  record(bot: SimulatedBot, entry: Entry): void {
    const { event, from, to, effects } = entry;
    const truth = this.truth(bot.plan.account);
    truth.last = entry;
    this.note(
      () =>
        `${bot.plan.name}  ${describe(event)}  ${from.kind} -> ${describeState(to)}  [${effects.map(describe).join(", ")}]`,
    );
    this.#digest(`${event.kind} ${to.kind} ${to.generation} ${effects.length}`);
    this.cells.add(`${from.kind} + ${event.kind}`);
    const ownTimer = event.kind === "elapsed" && event.timer === "closeAfter";
    if ("generation" in event && event.kind !== "adopted" && !ownTimer && event.generation !== from.generation)
      this.complain(`an event of generation ${event.generation} changed generation ${from.generation}: ${event.kind}`);
    if (effects.length > MAX_EFFECTS) this.complain(`I8: ${effects.length} effects of one event`);
    if (to.log.length > bot.plan.policy.budget.intensity + 1) this.complain("I8: the restart log outgrew its bound");
    this.#excuse(bot, truth, entry);
    this.#judgeMove(bot, truth, entry);
  }

  /** Notes what makes it right that a bot does not run. */
  #excuse({ plan }: SimulatedBot, truth: Truth, { event }: Entry): void {
    const { restart, haltExitCodes } = plan.policy;
    if (event.kind === "exited" && event.code !== null && haltExitCodes.includes(event.code))
      truth.excuse = "haltExitCodes";
    if (event.kind === "exited" && event.code === 0 && restart !== "always") truth.excuse = "a clean end";
    const bad = event.kind === "exited" || event.kind === "failing" || event.kind === "spawnFailed";
    const late = event.kind === "elapsed" && event.timer === "start";
    if (restart === "never" && (bad || late || event.kind === "leaving")) truth.excuse = "restart is never";
  }

  #judgeMove(bot: SimulatedBot, truth: Truth, { event, from, to, effects }: Entry): void {
    const { policy } = bot.plan;
    const nowMs = this.#world.time.nowMs;
    const { book } = truth;
    if (event.kind === "resetBackoff" || (event.kind === "elapsed" && event.timer === "stable")) book.rowEnds();
    for (const effect of effects)
      if (effect.kind === "setTimer" && !(effect.delayMs >= 0 && effect.delayMs < Number.POSITIVE_INFINITY))
        this.complain(`I8: cannot wait ${effect.delayMs} ms`);
    if (to.kind !== from.kind && to.kind === "backoff" && event.kind !== "backoffFound") {
      const delayMs = effects.flatMap((e) => (e.kind === "setTimer" && e.timer === "backoff" ? [e.delayMs] : []))[0];
      const trouble = book.restart(policy, nowMs, delayMs);
      if (trouble !== undefined) this.complain(trouble);
    }
    const atOnce = to.kind === "starting" && event.kind === "exited";
    if (atOnce) {
      const trouble = book.restart(policy, nowMs, 0);
      if (trouble !== undefined) this.complain(trouble);
      truth.excuse = undefined;
    }
    if (to.kind !== from.kind && to.kind === "starting" && event.kind !== "adopted" && !atOnce) {
      const waited = (from.kind === "backoff" && event.kind === "elapsed") || event.kind === "backoffFound";
      const trouble = waited ? book.started(nowMs) : book.afresh();
      if (trouble !== undefined) this.complain(trouble);
      truth.excuse = undefined;
    }
    if (to.kind !== from.kind && to.kind === "halted" && !book.exhausted(policy, nowMs) && truth.excuse === undefined)
      this.complain(`halted without a reason: ${to.reason}`);
    if (to.kind === "halted") truth.excuse ??= "budget spent";
    if (to.kind !== from.kind && to.kind === "stopped" && truth.wish && truth.excuse === undefined)
      this.complain("stopped although it is wanted");
    const trouble = !["stopped", "starting", "running"].includes(to.kind);
    if (this.#world.settings.calm && this.#world.hostile && trouble)
      this.complain(`I7: a bot that behaves became ${to.kind} by ${event.kind}`);
  }

  /** Called before anything is done: it must have been decided and journaled. */
  beforeDeed(bot: SimulatedBot, deed: Deed): void {
    const name = bot.plan.account;
    const truth = this.truth(name);
    if (truth.last?.effects.includes(deed) !== true) this.complain(`I4: ${deed.kind} is done before it is journaled`);
    if (deed.kind === "runAction" && !truth.locked) this.complain("I4: closes before the lockout is on disk");
    if (deed.kind !== "spawn") return;
    if (this.#world.machine.living(name).size > 0) this.complain(`I1: starts ${bot.plan.name} while ${name} has a bot`);
    if (this.#world.venue.trading.has(name)) this.complain(`I2: starts ${bot.plan.name} beside a close of ${name}`);
    if (truth.locked) this.complain(`I3: starts ${bot.plan.name} although it is locked`);
  }

  /** The books of a start are closed: nothing of it may live. */
  sealing({ plan }: SimulatedBot): void {
    if (this.#world.machine.living(plan.account).size > 0) this.complain(`I1: ${plan.name} lives and counts as gone`);
  }

  spawned(bot: SimulatedBot, process: Process): void {
    const truth = this.truth(bot.plan.account);
    truth.spawns += 1;
    if (this.#world.settings.calm && this.#world.hostile && truth.spawns > 1)
      this.complain(`I7: a bot that behaves was started again as pid ${process.pid}`);
    this.note(() => `${bot.plan.name}  is pid ${process.pid}`);
  }

  failedToSpawn(bot: SimulatedBot, permanent: boolean): void {
    if (permanent) this.truth(bot.plan.account).excuse = "a start that always fails";
  }

  /** A lockout is about to be ended: only a person may, of an account that is flat or whose positions they accept. */
  unlocking(bot: SimulatedBot): void {
    const truth = this.truth(bot.plan.account);
    const event = truth.last?.event;
    const allowed = event?.kind === "arm" && (event.acceptPositions || truth.outcome === "flat");
    if (!allowed) this.complain(`I3: unlocked by ${event?.kind ?? "nobody"} with positions ${truth.outcome}`);
  }

  /** What the disk says now is what was acknowledged, also when the daemon was killed between two of its writes. */
  written(bot: SimulatedBot, lockout: Lockout | undefined): void {
    const truth = this.truth(bot.plan.account);
    truth.locked = lockout !== undefined;
    truth.outcome = lockout?.outcome ?? null;
  }

  /** Config or operator has said whether the bot is to run. */
  wishes(account: string, wish: boolean): void {
    const truth = this.truth(account);
    truth.wish = wish;
    if (wish) truth.excuse = undefined;
  }

  /** A daemon begins: what the last one counted in memory is gone. */
  daemonBegins(): void {
    for (const truth of this.#truths.values()) {
      truth.book = new RestartBook();
      truth.phase = "";
      truth.badSinceMs = undefined;
    }
  }

  /** A new version goes on with what the last one counted; only the pause between two rounds of a close begins anew. */
  upgraded(account: string): void {
    const truth = this.truth(account);
    if (truth.locked) truth.phase = "";
  }

  /** Why the account is not at rest, now that everybody behaves; `undefined` when it is. */
  unrest(bot: SimulatedBot): string | undefined {
    const { state } = bot.loop;
    const truth = this.truth(bot.plan.account);
    const is = `${bot.plan.name} is ${state.kind}`;
    if (state.kind === "locked" && (!truth.locked || truth.outcome === null))
      return `${is} and its incident has not ended`;
    if (state.kind === "locked")
      return retriesByItself(state.outcome) && !isAcknowledged(bot) ? `${is} with ${state.outcome}` : undefined;
    if (truth.locked) return `I3: ${is} and not locked`;
    if (state.kind === "running") return undefined;
    if (state.kind !== "stopped" && state.kind !== "halted") return is;
    if (state.kind === "halted" && bot.plan.policy.emergency !== undefined) return `${is} and its positions are open`;
    return truth.wish && truth.excuse === undefined ? `${is} although it is wanted` : undefined;
  }

  #digest(text: string): void {
    for (let i = 0; i < text.length; i += 1)
      this.digest = Math.imul(this.digest ^ text.charCodeAt(i), 0x01000193) >>> 0;
    this.digest = Math.imul(this.digest ^ Math.floor(this.#world.time.nowMs), 0x01000193) >>> 0;
  }
}

function describe(said: Event | Effect): string {
  const { kind, ...rest } = said;
  const facts = Object.entries(rest).filter(([key]) => !["atMs", "roll", "reason", "text", "detail"].includes(key));
  return facts.length === 0 ? kind : `${kind}(${facts.map(([key, value]) => `${key} ${String(value)}`).join(", ")})`;
}

function describeState(state: State): string {
  const after = "after" in state ? ` then ${state.after.kind}` : "";
  const phase = "phase" in state ? ` ${state.phase}` : "";
  return `${state.kind}${phase}${after} #${state.generation}`;
}

/** A person knows of it and has ended the rounds of the close. */
function isAcknowledged(bot: SimulatedBot): boolean {
  return bot.lockout.current?.acknowledgedAt !== undefined;
}
