/** One bot of the daemon: its lifecycle loop, and the deeds that the loop's effects ask for. It decides nothing itself. */
import { unlinkSync } from "node:fs";
import type { Rung } from "../../core/ladder.ts";
import type { Effect, Event, Hook, State } from "../../core/lifecycle-types.ts";
import type { Lockout } from "../../core/lockout.ts";
import type { Clock } from "../../platform/clock.ts";
import { runCommand } from "../../platform/command.ts";
import { writeFileAtomic } from "../../platform/files.ts";
import { bootId, type ProcessId } from "../../platform/proc.ts";
import { killTree, listTree, type TreeMarks } from "../../platform/tree.ts";
import type { User } from "../../platform/user.ts";
import { createUsageSampler } from "../../platform/usage.ts";
import { fenceMarks, KILL_GRACE_MS, planBot, unmarked, type BotPlan } from "./bot-plan.ts";
import { prepareFolders, resolveUser } from "./bot-setup.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { Emergency } from "./emergency.ts";
import { Generation } from "./generation.ts";
import type { Journal } from "./journal.ts";
import { Loop, type Deed } from "./loop.ts";
import { decisionEntry } from "./narrate.ts";
import type { ProbeView } from "./schedule.ts";
import { Starter } from "./starter.ts";

/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_GRACE_MS = 1_000;

/** Effects whose decision must outlive the machine, so that its journal line is forced to the disk first. */
const LASTING: ReadonlySet<Effect["kind"]> = new Set(["openIncident", "runAction", "endIncident", "unlock"]);

export interface BotDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly journal: Journal;
  /** Folder below which bots get their cgroup; `undefined` where there is none. */
  readonly cgroupBase: string | undefined;
  /** No other bot runs under this supervisor, so whatever orphan comes to it is this bot's. */
  readonly alone: boolean;
  /** Tells the cgroups of two supervisors on one machine apart. */
  readonly installation: string;
  /** The supervisor's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads what waits in the bot's notify socket. */
  readonly drain: () => void;
  /** Something that status shows has changed. */
  readonly onChange: () => void;
}

export class Bot {
  readonly plan: BotPlan;
  readonly loop: Loop;
  readonly emergency: Emergency;
  readonly sampleUsage: ReturnType<typeof createUsageSampler>;
  readonly #deps: BotDeps;
  readonly #starter: Starter;
  readonly #user: User | undefined;
  #generation: Generation | undefined;
  #earlier: TreeMarks | undefined;
  #hook = new AbortController();
  #lastExitAt: Date | undefined;
  #exited: Promise<void> = Promise.resolve();
  #level = "";

  constructor(name: string, config: BotConfig, dirs: Dirs, deps: BotDeps) {
    this.#deps = deps;
    this.plan = planBot(name, config, dirs);
    this.sampleUsage = createUsageSampler(deps.clock);
    this.#user = resolveUser(config.user);
    prepareFolders(this.plan.files, this.#user);
    const { clock, random, env } = deps;
    const fact = this.fact.bind(this);
    this.emergency = new Emergency({ plan: this.plan, clock, random, env, fact });
    this.#starter = new Starter({ ...deps, plan: this.plan, user: this.#user, fact });
    const before = this.#starter.readIdentity();
    if (before !== undefined) this.#earlier = this.#marksOf(before.invocationId, this.#processOf(before));
    this.loop = new Loop(
      this.plan.policy,
      { clock, random, record: (e) => this.#record(e), perform: (d) => this.#perform(d) },
      { generation: before?.generation ?? 0, restarts: before?.restarts ?? 0 },
    );
  }

  get generation(): Generation | undefined {
    return this.#generation;
  }

  /** The lockout that holds now; `undefined` when the bot is not locked. */
  get lockout(): Lockout | undefined {
    return this.emergency.lockout.current;
  }

  get lastExitAt(): Date | undefined {
    return this.#lastExitAt;
  }

  get user(): User | undefined {
    return this.#user;
  }

  /** Kills of the bot's processes for want of memory that the kernel has counted. */
  get oomKills(): number {
    return this.#starter.oomKills;
  }

  /** First acts of the daemon for this bot: end leftovers, honour a lockout, or start. */
  begin({ emergency }: { emergency: boolean }): void {
    const leftovers = this.#leftovers();
    if (leftovers.length > 0) this.loop.post({ kind: "leftovers", pids: leftovers });
    const locked = this.lockout;
    const wanted = this.plan.config.autostart;
    this.#setLevel();
    if (locked !== undefined) {
      const { outcome, trigger, reason } = locked;
      return this.loop.post({ kind: "lockFound", outcome: outcome ?? undefined, trigger, reason, wanted });
    }
    if (emergency) return this.#closeAtStart();
    if (wanted) this.loop.post({ kind: "start" });
    return undefined;
  }

  #closeAtStart(): void {
    if (this.plan.policy.emergency === undefined)
      return this.fact(
        "alert",
        "kept down by BOT_EMERGENCY_SHUTDOWN; it has no emergency section, so nothing is closed",
      );
    const reason = "BOT_EMERGENCY_SHUTDOWN was set when the supervisor started";
    return this.loop.post({ kind: "emergency", trigger: "environment", reason });
  }

  /** Puts a fact about the bot into the journal. */
  fact(level: "info" | "warn" | "alert", text: string): void {
    this.#deps.journal.write({ kind: "fact", bot: this.plan.name, level, text }, { sync: level === "alert" });
    this.#deps.onChange();
  }

  /** Once in a while: remembers the tree, so that whoever escapes from it later is still known. */
  tick(): void {
    this.#generation?.remember();
  }

  /** The daemon ends: nothing is decided any more. Running processes are left as they are. */
  shutDown(): void {
    this.loop.close();
    this.#generation?.unwatch();
    if (this.loop.state.kind === "stopped") this.#starter.release();
  }

  #record({ event, from, to, effects }: { event: Event; from: State; to: State; effects: readonly Effect[] }): void {
    if (to.lastExit !== from.lastExit) this.#lastExitAt = this.#deps.clock.wallTime();
    const entry = decisionEntry(this.plan.name, event, from, to, effects);
    const sync = effects.some(({ kind }) => LASTING.has(kind));
    this.#deps.journal.write(entry, { sync });
    this.#deps.onChange();
  }

  #perform(deed: Deed): void {
    switch (deed.kind) {
      case "spawn":
        return this.#spawn(deed.generation);
      case "askToStop":
        return this.#askToStop();
      case "sweep":
        return void this.#sweep();
      case "forbidOrders":
        return this.#forbidOrders();
      case "permitOrders":
        return this.#permitOrders();
      case "runHook":
        return void this.#runHook(deed.hook);
      case "watch":
        return this.#generation?.watch(deed.stage);
      case "unwatch":
        return this.#generation?.unwatch();
      case "openIncident":
        this.emergency.open(deed.trigger, deed.reason);
        return this.#setLevel();
      case "runAction":
        return void this.#runAction(deed.action);
      case "endIncident":
        return this.emergency.end(deed.outcome);
      case "unlock":
        this.emergency.unlock();
        return this.#setLevel();
      case "note":
        // The journal line of the decision carries it.
        return undefined;
    }
  }

  #spawn(generation: number): void {
    const post = this.loop.post.bind(this.loop);
    const started = this.#starter.start(generation, this.loop.state.restarts, ({ code, signal, oom }) =>
      post({ kind: "exited", generation, code, signal, oom }),
    );
    if (started.kind === "failed") {
      const { permanent, reason } = started;
      return post({ kind: "spawnFailed", generation, permanent, reason });
    }
    const { child, env, invocationId, exited } = started;
    this.#exited = exited;
    this.#generation = new Generation({
      plan: this.plan,
      clock: this.#deps.clock,
      generation,
      invocationId,
      cgroup: this.#starter.cgroup,
      alone: this.#deps.alone,
      env,
      child,
      post,
      drain: this.#deps.drain,
      onVerdict: (probe) => this.#onVerdict(probe),
      onStranger: (pid) =>
        this.fact("warn", `notify messages of pid ${pid} are ignored: it is not of the bot's processes`),
    });
    return post({ kind: "spawned", generation });
  }

  /** SIGCONT follows, so that a stopped bot hears the signal too (systemd.kill(5)). */
  #askToStop(): void {
    const child = this.#generation?.child;
    child?.signal(this.plan.config.stopSignal);
    child?.signal("SIGCONT");
  }

  async #sweep(): Promise<void> {
    this.#hook.abort();
    const { generation } = this.loop.state;
    const marks = this.#currentMarks();
    const survivors = await killTree(marks, { clock: this.#deps.clock, graceMs: KILL_GRACE_MS });
    await Promise.race([this.#exited, this.#wait(REAP_GRACE_MS)]);
    if (survivors.length === 0) return this.loop.post({ kind: "gone", generation });
    return this.loop.post({ kind: "survivors", generation, pids: survivors.map((member) => member.pid) });
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(delayMs, resolve));
  }

  #currentMarks(): TreeMarks {
    return this.#generation?.marks ?? this.#earlier ?? this.#marksOf(undefined, undefined);
  }

  #forbidOrders(): void {
    this.#tryFile("forbid new orders", () => writeFileAtomic(this.plan.files.noNewOrders, "stopping\n", 0o644));
  }

  #permitOrders(): void {
    this.#tryFile("permit orders", () => unlinkIfThere(this.plan.files.noNewOrders));
  }

  async #runHook(hook: Hook): Promise<void> {
    const { config } = this.plan;
    const command = hook === "preStop" ? config.preStop : config.postStop;
    const { generation, lastExit } = this.loop.state;
    const env = this.#generation?.env ?? {};
    this.#hook = new AbortController();
    const { signal } = this.#hook;
    const result =
      command === undefined
        ? undefined
        : await runCommand({
            command,
            cwd: config.cwd,
            env: { ...(hook === "postStop" ? unmarked(env) : env), SUPERVISOR_REASON: lastExit?.cause ?? "stopped" },
            ...(this.#user === undefined ? {} : { user: this.#user }),
            timeoutMs: config.stopTimeout,
            // A postStop hook may outlast the sweep: nothing of the bot is left for the sweep to wait for.
            ...(hook === "preStop" ? { signal } : {}),
            clock: this.#deps.clock,
          });
    if (result !== undefined && !(result.kind === "exited" && result.code === 0))
      this.fact("warn", `hook ${hook} failed: ${JSON.stringify(result)}`);
    this.loop.post({ kind: "hookEnded", generation, hook });
  }

  async #runAction(action: Rung): Promise<void> {
    const outcome = await this.emergency.close({
      marks: this.#currentMarks(),
      invocationId: this.#generation?.invocationId,
      cgroup: this.#starter.cgroup,
    });
    this.loop.post({ kind: "actionEnded", action, outcome });
  }

  #onVerdict(probe: ProbeView): void {
    const name = probe.config.name ?? probe.config.kind;
    const { verdict } = probe.record;
    const reason = probe.result !== undefined && probe.result.kind !== "success" ? `: ${probe.result.reason}` : "";
    const loud = verdict === "unhealthy" ? (probe.config.onFailure === "alert" ? "alert" : "warn") : "info";
    this.fact(loud, `probe ${name} is ${verdict}${reason}`);
    this.#setLevel();
  }

  /** The level that the supervisor demands of the bot, from its lockout and its probes. */
  get level(): "normal" | "degraded" | "emergency" {
    if (this.lockout !== undefined) return "emergency";
    const degraded = this.#generation?.probes.some(
      (probe) => probe.config.onFailure === "degrade" && probe.record.verdict === "unhealthy",
    );
    return degraded === true ? "degraded" : "normal";
  }

  #setLevel(): void {
    const { level } = this;
    if (level === this.#level) return;
    this.#tryFile("write the level", () => writeFileAtomic(this.plan.files.level, `${level}\n`, 0o644));
    this.#level = level;
  }

  #leftovers(): readonly number[] {
    try {
      return listTree(this.#currentMarks()).map((member) => member.pid);
    } catch {
      // Unknown is not empty: the sweep looks for itself and says what it found.
      return [0];
    }
  }

  #marksOf(invocationId: string | undefined, root: ProcessId | undefined): TreeMarks {
    const environ = fenceMarks(this.plan.files, invocationId);
    return { environ, cgroup: this.#starter.cgroup, root, known: [], orphans: this.#deps.alone };
  }

  #processOf(identity: { bootId: string; pid: number; startTimeTicks: number }): ProcessId | undefined {
    return identity.bootId === bootId() ? { pid: identity.pid, startTicks: identity.startTimeTicks } : undefined;
  }

  /** A full or unwritable disk never stops supervision: it is said and the bot goes on. */
  #tryFile(what: string, deed: () => void): void {
    try {
      deed();
    } catch (error) {
      this.fact("alert", `cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
