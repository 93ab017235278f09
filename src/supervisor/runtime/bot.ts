/** One bot of the daemon: its lifecycle loop, and the deeds that the loop's effects ask for. It decides nothing itself. */
import { randomUUID } from "node:crypto";
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { readIdentity } from "../../core/identity.ts";
import type { Rung, RungOutcome } from "../../core/ladder.ts";
import type { Effect, Event, Hook, State, Trigger } from "../../core/lifecycle-types.ts";
import type { CloseReport } from "../../core/close-job.ts";
import { createBotCgroup, removeCgroup } from "../../platform/cgroup.ts";
import type { Clock } from "../../platform/clock.ts";
import { runCommand } from "../../platform/command.ts";
import { readTextIfExists, writeFileAtomic } from "../../platform/files.ts";
import { bootId, type ProcessId } from "../../platform/proc.ts";
import { spawnChild } from "../../platform/spawn.ts";
import { killTree, listTree, type TreeMarks } from "../../platform/tree.ts";
import type { User } from "../../platform/user.ts";
import { createUsageSampler } from "../../platform/usage.ts";
import { botEnvironment, fenceMarks, planBot, unmarked, type BotPlan } from "./bot-plan.ts";
import { runClose } from "./closing.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { prepareFolders, readEnvFile, resolveUser } from "./bot-setup.ts";
import { Generation } from "./generation.ts";
import type { Journal } from "./journal.ts";
import { LockoutStore } from "./lockout-store.ts";
import { Loop, type Deed } from "./loop.ts";
import { decisionEntry } from "./narrate.ts";
import type { ProbeView } from "./schedule.ts";

/** Time that SIGKILL is given to empty a process tree before the bot counts as stuck, ms. */
const KILL_GRACE_MS = 5_000;
/** Time that the runtime's own word of a child's end may take after the kernel's, ms. */
const REAP_GRACE_MS = 1_000;
/** Largest identity file read, bytes. */
const MAX_IDENTITY_BYTES = 64 * 1024;

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

/** What the close worker is doing, and how it ended last. */
export interface CloseView {
  readonly state: "fencing" | "closing" | "quiet" | "ended";
  readonly text: string;
  readonly report: CloseReport | undefined;
}

export class Bot {
  readonly plan: BotPlan;
  readonly loop: Loop;
  readonly lockout: LockoutStore;
  readonly sampleUsage: ReturnType<typeof createUsageSampler>;
  readonly #deps: BotDeps;
  readonly #cgroup: string | undefined;
  readonly #user: User | undefined;
  #generation: Generation | undefined;
  #earlier: TreeMarks | undefined;
  #hook = new AbortController();
  #close: CloseView | undefined;
  #lastExitAt: Date | undefined;
  #exited: Promise<void> = Promise.resolve();
  #level = "";
  #oomKills = 0;

  constructor(name: string, config: BotConfig, dirs: Dirs, deps: BotDeps) {
    this.#deps = deps;
    this.plan = planBot(name, config, dirs);
    this.sampleUsage = createUsageSampler(deps.clock);
    this.#user = resolveUser(config.user);
    prepareFolders(this.plan.files, this.#user);
    this.lockout = new LockoutStore(this.plan, deps.clock, (text) => this.fact("alert", text));
    this.#cgroup = this.#openCgroup();
    this.#oomKills = oomKillsOf(this.#cgroup);
    const before = readIdentity(this.#readIdentityText());
    if (before !== undefined) this.#earlier = this.#marksOf(before.invocationId, this.#processOf(before));
    this.loop = new Loop(
      this.plan.policy,
      { clock: deps.clock, random: deps.random, record: (e) => this.#record(e), perform: (d) => this.#perform(d) },
      { generation: before?.generation ?? 0, restarts: before?.restarts ?? 0 },
    );
  }

  get generation(): Generation | undefined {
    return this.#generation;
  }

  get close(): CloseView | undefined {
    return this.#close;
  }

  get lastExitAt(): Date | undefined {
    return this.#lastExitAt;
  }

  get user(): User | undefined {
    return this.#user;
  }

  /** Kills of the bot's processes for want of memory that the kernel has counted. */
  get oomKills(): number {
    return oomKillsOf(this.#cgroup);
  }

  /** First acts of the daemon for this bot: end leftovers, honour a lockout, or start. */
  begin({ emergency }: { emergency: boolean }): void {
    const leftovers = this.#leftovers();
    if (leftovers.length > 0) this.loop.post({ kind: "leftovers", pids: leftovers });
    const locked = this.lockout.current;
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
    if (this.loop.state.kind === "stopped" && this.#cgroup !== undefined) removeCgroup(this.#cgroup);
  }

  #record({ event, from, to, effects }: { event: Event; from: State; to: State; effects: readonly Effect[] }): void {
    if (to.lastExit !== from.lastExit) this.#lastExitAt = this.#deps.clock.wallTime();
    const entry = decisionEntry(this.plan.name, event, from, to, effects);
    const lasting = to.kind === "recovering" || to.kind === "locked" || event.kind === "arm";
    this.#deps.journal.write(entry, { sync: lasting });
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
        return this.#openIncident(deed.trigger, deed.reason);
      case "runAction":
        return void this.#runAction(deed.action);
      case "endIncident":
        return this.#endIncident(deed.outcome);
      case "unlock":
        return this.#unlock();
      case "note":
        // The journal line of the decision carries it.
        return undefined;
    }
  }

  #spawn(generation: number): void {
    const { plan } = this;
    const { config, files } = plan;
    const post = this.loop.post.bind(this.loop);
    const setup = this.#environmentFor(generation);
    if (setup.kind === "failed")
      return post({ kind: "spawnFailed", generation, permanent: true, reason: setup.reason });
    const { env, invocationId } = setup;
    const ended = Promise.withResolvers<void>();
    const outcome = spawnChild({
      command: config.command,
      cwd: config.cwd,
      env,
      ...(this.#user === undefined ? {} : { user: this.#user }),
      outputPath: files.log,
      ...this.#freshCgroup(invocationId),
      onExit: ({ code, signal }) => {
        ended.resolve();
        post({ kind: "exited", generation, code, signal, oom: this.#oomKilled(signal) });
      },
    });
    if (outcome.kind === "failed") {
      const { permanent, reason } = outcome;
      return post({ kind: "spawnFailed", generation, permanent, reason });
    }
    if (outcome.outputError !== undefined) this.fact("alert", outcome.outputError);
    this.#exited = ended.promise;
    const { child } = outcome;
    this.#writeIdentity(generation, invocationId, child);
    this.#generation = new Generation({
      plan,
      clock: this.#deps.clock,
      generation,
      invocationId,
      cgroup: this.#cgroup,
      alone: this.#deps.alone,
      env,
      child,
      post,
      drain: this.#deps.drain,
      onVerdict: (probe) => this.#onVerdict(probe),
    });
    return post({ kind: "spawned", generation });
  }

  #environmentFor(
    generation: number,
  ):
    | { readonly kind: "built"; readonly env: Record<string, string>; readonly invocationId: string }
    | { readonly kind: "failed"; readonly reason: string } {
    try {
      const invocationId = randomUUID().replaceAll("-", "");
      const fileEnv = readEnvFile(this.plan.config.envFile);
      const env = botEnvironment({
        plan: this.plan,
        own: this.#deps.env,
        fileEnv,
        home: this.#user?.home,
        invocationId,
        generation,
      });
      return { kind: "built", env, invocationId };
    } catch (error) {
      return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
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

  #openIncident(trigger: Trigger, reason: string): void {
    const { clock, random } = this.#deps;
    // Nine characters of the time in base 36 order the incidents; two random ones tell two supervisors apart.
    const newIncident = (): string =>
      `${clock.wallTime().getTime().toString(36)}${Math.floor(random() * 1_296)
        .toString(36)
        .padStart(2, "0")}`.slice(-12);
    this.lockout.open(trigger, reason, newIncident);
    this.#close = { state: "fencing", text: "starting the close worker", report: undefined };
    this.#setLevel();
  }

  async #runAction(action: Rung): Promise<void> {
    const outcome = await this.#closePositions();
    this.loop.post({ kind: "actionEnded", action, outcome });
  }

  async #closePositions(): Promise<RungOutcome> {
    const lockout = this.lockout.current;
    if (lockout === undefined) return "failed";
    // The loop proved the bot gone; whatever was born since (a stray child of a hook) is ended before the worker looks.
    const survivors = await killTree(this.#currentMarks(), { clock: this.#deps.clock, graceMs: KILL_GRACE_MS });
    if (survivors.length > 0) return "refused";
    const end = await runClose({
      plan: this.plan,
      mode: "close",
      lockout,
      invocationId: this.#generation?.invocationId,
      cgroup: this.#cgroup,
      env: this.#deps.env,
      clock: this.#deps.clock,
      onProgress: ({ state, text }) => {
        this.#close = { state, text, report: undefined };
        this.fact("info", `closing positions: ${text}`);
      },
    });
    if (end.kind === "failed") {
      this.#close = { state: "ended", text: end.reason, report: undefined };
      this.fact("alert", `closing positions failed: ${end.reason}`);
      return "failed";
    }
    this.#close = { state: "ended", text: end.report.reason, report: end.report };
    this.fact(end.report.outcome === "flat" ? "info" : "alert", `closing positions: ${end.report.reason}`);
    return end.report.outcome;
  }

  #endIncident(outcome: RungOutcome): void {
    this.lockout.end(outcome);
  }

  #unlock(): void {
    this.lockout.remove();
    this.#close = undefined;
    this.#setLevel();
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
    if (this.lockout.current !== undefined) return "emergency";
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
    return { environ, cgroup: this.#cgroup, root, known: [], orphans: this.#deps.alone };
  }

  #processOf(identity: { bootId: string; pid: number; startTimeTicks: number }): ProcessId | undefined {
    return identity.bootId === bootId() ? { pid: identity.pid, startTicks: identity.startTimeTicks } : undefined;
  }

  /**
   * A cgroup of its own for each start, below the bot's: Linux 6.14 and later kill at once what is started into a cgroup
   * that has seen `cgroup.kill`, since the sequence number of the kill is compared with that of the parent's cgroup.
   */
  #freshCgroup(invocationId: string): { cgroup?: string } {
    if (this.#cgroup === undefined) return {};
    removeCgroup(this.#cgroup);
    const cgroup = createBotCgroup(this.#cgroup, invocationId);
    if (cgroup === undefined)
      this.fact("warn", `cannot make a cgroup below ${this.#cgroup}: this start is swept without one`);
    return cgroup === undefined ? {} : { cgroup };
  }

  #openCgroup(): string | undefined {
    const { cgroupBase, installation } = this.#deps;
    return cgroupBase === undefined ? undefined : createBotCgroup(cgroupBase, `bot-${this.plan.name}-${installation}`);
  }

  #readIdentityText(): string | undefined {
    try {
      return readTextIfExists(this.plan.files.identity, MAX_IDENTITY_BYTES);
    } catch {
      return undefined;
    }
  }

  #writeIdentity(generation: number, invocationId: string, child: ProcessId): void {
    const identity = {
      version: 1,
      bootId: bootId() ?? "unknown",
      pid: child.pid,
      startTimeTicks: child.startTicks,
      invocationId,
      generation,
      cgroup: this.#cgroup ?? null,
      restarts: this.loop.state.restarts,
    };
    this.#tryFile("write the identity", () =>
      writeFileAtomic(this.plan.files.identity, `${JSON.stringify(identity)}\n`),
    );
  }

  /** A full or unwritable disk never stops supervision: it is said and the bot goes on. */
  #tryFile(what: string, deed: () => void): void {
    try {
      deed();
    } catch (error) {
      this.fact("alert", `cannot ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #oomKilled(signal: string | null): boolean {
    const before = this.#oomKills;
    this.#oomKills = oomKillsOf(this.#cgroup);
    return signal === "SIGKILL" && this.#oomKills > before;
  }
}

/** Kills for want of memory in the cgroup so far (cgroup v2 with the memory controller); 0 where nobody counts them. */
function oomKillsOf(cgroup: string | undefined): number {
  if (cgroup === undefined) return 0;
  try {
    const events = readTextIfExists(join(cgroup, "memory.events"), MAX_IDENTITY_BYTES) ?? "";
    return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}
