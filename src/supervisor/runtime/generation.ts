/** One start of a bot: its process, its marks, what it says and how it is probed. Nothing of it outlives it. */
import { join } from "node:path";
import type { Disturbance } from "../../core/excuse.ts";
import type { Verdict } from "../../core/verdict.ts";
import { parseNotify } from "../../core/notify.ts";
import { cgroupPids } from "../../platform/cgroup.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Datagram } from "../../platform/notify-socket.ts";
import { isLive, type ProcessId } from "../../platform/proc.ts";
import type { SpawnedChild } from "../../platform/spawn.ts";
import { isProvenGone, listTree, UNSEEN, type TreeMarks } from "../../platform/tree.ts";
import type { User } from "../../platform/user.ts";
import type { createProbe } from "../../probes/index.ts";
import type { Input } from "./loop.ts";
import { fenceMarks, type BotPlan } from "./bot-plan.ts";
import { hasDegrading } from "./bot-signs.ts";
import type { BotProbe } from "./config/load.ts";
import { Mailbox } from "./mailbox.ts";
import { Schedule, withProcessProbe, type ProbeView } from "./schedule.ts";
import { Speakers } from "./speakers.ts";

export interface GenerationDeps {
  /** May become another by a reload; what it was at the start holds for readiness. */
  readonly plan: BotPlan;
  readonly user: User | undefined;
  readonly clock: Clock;
  readonly generation: number;
  /** Automatic restarts that were made before it, its own included. */
  readonly restarts: number;
  readonly invocationId: string;
  readonly cgroup: string | undefined;
  /** Every orphan that comes to the supervisor is this bot's. */
  readonly alone: () => boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly child: SpawnedChild;
  /** Age of a process that an earlier supervisor started, ms; `undefined` for one of our own. */
  readonly ageMs?: number;
  /** The heartbeat timeout that it has asked that one for, ms. */
  readonly watchdogMs?: number | undefined;
  /** That one had told it to degrade. */
  readonly degradedBefore?: boolean;
  readonly createProbe: typeof createProbe;
  readonly post: (input: Input) => void;
  /** Reads what waits in the notify socket. */
  readonly drain: () => void;
  readonly onVerdict: (probe: ProbeView) => void;
  readonly onExcused: (probe: ProbeView) => void;
  readonly disturbance: () => Disturbance | undefined;
  /** A process that is not of the bot has spoken on its notify socket, for the first time. */
  readonly onStranger: (pid: number) => void;
}

/** The probe that every bot has: its main process lives. */
export const processProbe: BotProbe = {
  kind: "process",
  name: "process",
  role: "liveness",
  initialDelay: 0,
  period: 10_000,
  timeout: 5_000,
  failureThreshold: 1,
  successThreshold: 1,
  onFailure: "restart",
};

/** How long a heartbeat says that its bot lives, where no heartbeat probe says it, ms: that probe's default. */
const DEFAULT_BEAT_MS = 60_000;

export class Generation {
  readonly generation: number;
  readonly restarts: number;
  readonly invocationId: string;
  readonly child: SpawnedChild;
  /** Started by an earlier supervisor. */
  readonly adopted: boolean;
  readonly startedAt: Date;
  readonly startedAtMs: number;
  readonly env: Readonly<Record<string, string>>;
  readonly mailbox: Mailbox;
  readonly #deps: GenerationDeps;
  readonly #schedule: Schedule;
  readonly #speakers: Speakers;
  readonly #environ: readonly string[];
  #armedAtMs: number;
  #known: readonly ProcessId[] = [];
  #degradedBefore: boolean;
  #looked = false;
  #past = false;
  #gone = false;

  constructor(deps: GenerationDeps) {
    const { plan, clock, generation } = deps;
    this.#deps = deps;
    this.generation = generation;
    this.restarts = deps.restarts;
    this.invocationId = deps.invocationId;
    this.#degradedBefore = deps.degradedBefore === true;
    this.#environ = fenceMarks(plan.files, deps.invocationId);
    this.child = deps.child;
    this.env = deps.env;
    this.adopted = deps.ageMs !== undefined;
    const ageMs = deps.ageMs ?? 0;
    this.startedAt = new Date(clock.wallTime().getTime() - ageMs);
    this.startedAtMs = clock.monotonicMs() - ageMs;
    this.#armedAtMs = clock.monotonicMs();
    this.#speakers = new Speakers(deps.child, `INVOCATION_ID=${deps.invocationId}`, deps.cgroup);
    this.mailbox = new Mailbox({
      clock,
      generation,
      watchdogMs: deps.watchdogMs,
      readyByNotify: plan.policy.ready === "notify",
      readyMayBeLost: plan.policy.ready === "notify" && this.adopted,
      heartbeatTimeoutMs: () => this.#heartbeat()?.timeout,
      post: deps.post,
      onNews: (kind) => this.#schedule.poke(kind),
    });
    this.#schedule = this.#createSchedule();
  }

  get health(): Verdict {
    return this.#schedule.health;
  }

  get probes(): readonly ProbeView[] {
    return this.#schedule.views;
  }

  /**
   * It was told to degrade, and what may still ask for that has not been judged since: by this supervisor, or by the probes of a reload. Nothing
   * has become better for that, so it is not told meanwhile that it may do everything.
   */
  get degradedBefore(): boolean {
    this.#degradedBefore &&= !this.#looked || hasDegrading(this.probes, "pending");
    return this.#degradedBefore;
  }

  /** Its memory has been looked at. True when the level may be another by now: for `changed`, or as that look was awaited. */
  noteLook(changed: boolean): boolean {
    const awaited = !this.#looked && this.#degradedBefore;
    this.#looked = true;
    return changed || awaited;
  }

  /** By what the processes of this generation are recognised. */
  get marks(): TreeMarks {
    const { cgroup, child, alone } = this.#deps;
    return {
      environ: this.#environ,
      cgroup,
      root: { pid: child.pid, startTicks: child.startTicks },
      known: this.#known,
      orphans: alone(),
      begunHere: !this.adopted,
      session: this.#past ? "over" : "watched",
    };
  }

  /** Nothing of it lives: what has its pid, or a session of that number, from now on is somebody else's. */
  noteGone(): void {
    this.#past = true;
  }

  /** By what only this start is recognised, and no other of its bot, which all carry its lasting mark. */
  get ownMarks(): TreeMarks {
    const environ = [`INVOCATION_ID=${this.invocationId}`];
    return { ...this.marks, environ, cgroup: this.leaf, known: [], orphans: false };
  }

  /**
   * Whether the kernel's books prove that nothing of it lives. Once they do they are not asked again: nobody is left who
   * could fork, and what we start carries the marks of a later start, or none.
   */
  get provenGone(): boolean {
    this.#gone ||= isProvenGone(this.marks);
    return this.#gone;
  }

  /** A datagram of the bot's notify socket; only the bot's own tree may speak. */
  hear(datagram: Datagram): void {
    if (!this.#speakers.admits(datagram.pid)) {
      // Said once for each start: a stranger that goes on must not fill the journal.
      if (this.#speakers.refused === 1) this.#deps.onStranger(datagram.pid);
      return;
    }
    for (const message of parseNotify(datagram.text)) this.mailbox.take(message);
  }

  watch(stage: "starting" | "running"): void {
    if (stage === "starting") return this.#schedule.start();
    this.#armedAtMs = this.#deps.clock.monotonicMs();
    // An adopted bot that was ready has passed its startup probes long ago.
    return this.#schedule.arm({ startupPassed: this.adopted });
  }

  /** The probes are those of the plan now: what is unchanged goes on, what is new begins with a period of its own. */
  reprobe(): void {
    const { plan, clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#degradedBefore ||= hasDegrading(this.probes, "unhealthy");
    const armedAtMs = (): number => Math.max(this.#armedAtMs, nowMs);
    this.#schedule.change(withProcessProbe(plan.config.probes, processProbe), armedAtMs);
  }

  #heartbeat(): BotProbe | undefined {
    return this.#deps.plan.config.probes.find((probe) => probe.kind === "heartbeat");
  }

  unwatch(): void {
    this.#schedule.stop();
  }

  /** Remembers who is in the tree now, so that whoever escapes later is still known. Cheap where there is a cgroup. */
  remember(): void {
    if (this.#deps.cgroup !== undefined) return;
    try {
      this.#known = listTree(this.marks).map(({ pid, startTicks }) => ({ pid, startTicks }));
    } catch {
      // What was known stays known; the sweep looks again by itself.
    }
  }

  /** Living pids of the tree; only the main process when the tree cannot be read. */
  treePids(): readonly number[] {
    const { cgroup, child } = this.#deps;
    try {
      // Every start has a cgroup of its own below the bot's.
      const pids =
        cgroup === undefined
          ? listTree(this.marks).map((member) => member.pid)
          : [child.pid, ...cgroupPids(join(cgroup, this.invocationId))];
      // To the kernel 0 means whoever asks.
      return [...new Set(pids)].filter((pid) => pid !== UNSEEN);
    } catch {
      return isLive(child.pid, child.startTicks) ? [child.pid] : [];
    }
  }

  /** The cgroup of all starts of its bot; `undefined` where there is none. */
  get botCgroup(): string | undefined {
    return this.#deps.cgroup;
  }

  /** The cgroup that its processes were started into; `undefined` where there is none. */
  get leaf(): string | undefined {
    const { cgroup } = this.#deps;
    return cgroup === undefined ? undefined : join(cgroup, this.invocationId);
  }

  /** Processes in its cgroup; `undefined` without one, where counting them means to look through all of /proc. */
  get processes(): number | undefined {
    return this.#deps.cgroup === undefined ? undefined : this.treePids().length;
  }

  #createSchedule(): Schedule {
    const { plan, clock, generation, child, post, drain, onVerdict, user } = this.#deps;
    const { mailbox } = this;
    const context = {
      clock,
      generation,
      pid: child.pid,
      startTicks: child.startTicks,
      armedAtMs: () => this.#armedAtMs,
      heartbeatAtMs: () => mailbox.facts.signs.heartbeatAtMs,
      watchdogTriggered: () => mailbox.facts.triggered,
      watchdogMs: () => mailbox.facts.watchdogMs,
      progressAtMs: () => mailbox.facts.signs.progressAtMs,
      treePids: () => this.treePids(),
      cwd: plan.config.cwd,
      env: this.env,
      user,
    };
    return new Schedule(withProcessProbe(plan.config.probes, processProbe), {
      clock,
      createProbe: (config, armedAtMs = context.armedAtMs) => this.#deps.createProbe(config, { ...context, armedAtMs }),
      disturbance: this.#deps.disturbance,
      beating: () => this.#beating(),
      onExcused: this.#deps.onExcused,
      beforeRun: drain,
      onHealth: (health) => post({ kind: "verdict", generation, health }),
      onStartupPassed: () => {
        if (plan.policy.ready === "probe") post({ kind: "ready", generation });
      },
      onVerdict: (probe) => {
        onVerdict(probe);
        if (probe.record.verdict === "unhealthy") this.#act(probe);
      },
    });
  }

  /** Its last heartbeat is younger than the heartbeat's timeout: the bot lives, whatever else it lacks. */
  #beating(): boolean {
    const { plan, clock } = this.#deps;
    const { signs, watchdogMs } = this.mailbox.facts;
    const configured = plan.config.probes.find((probe) => probe.kind === "heartbeat")?.timeout;
    const timeoutMs = watchdogMs === undefined || watchdogMs === 0 ? (configured ?? DEFAULT_BEAT_MS) : watchdogMs;
    return signs.heartbeatAtMs !== undefined && clock.monotonicMs() - signs.heartbeatAtMs <= timeoutMs;
  }

  #act({ config, result }: ProbeView): void {
    // The kernel's own word of a dead main process is on its way, and says more.
    if (config.kind === "process") return;
    const action = config.onFailure;
    if (action !== "restart" && action !== "emergency") return;
    const name = config.name ?? config.kind;
    const cause = config.kind === "heartbeat" || config.kind === "progress" ? config.kind : (`probe:${name}` as const);
    const why = result !== undefined && result.kind !== "success" ? result.reason : "unhealthy";
    const { generation } = this;
    this.#deps.post({ kind: "failing", generation, cause, detail: `${name}: ${why}`, action });
  }
}
