/** Starts the generations of one bot: cgroup, environment, process, identity on disk. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Identity } from "../../core/identity.ts";
import { createBotCgroup, removeCgroup } from "../../platform/cgroup.ts";
import type { Clock } from "../../platform/clock.ts";
import { writeFileAtomic } from "../../platform/files.ts";
import { bootId, type ProcessId } from "../../platform/proc.ts";
import { EXIT_BEFORE_EXEC } from "../../platform/process-limits.ts";
import { spawnChild, type ExitResult, type SpawnedChild } from "../../platform/spawn.ts";
import type { User } from "../../platform/user.ts";
import type { BotLimits } from "./bot-limits.ts";
import { botEnvironment, definitionOf, type BotPlan } from "./bot-plan.ts";
import { EnvFileError, readEnvFile, strangersText } from "./bot-setup.ts";
import { strangersOf } from "./survey.ts";

/**
 * A bot that has been down for longer than this is looked for under other state folders before it is started, ms: another
 * supervisor may have started it meanwhile. The look reads all of /proc, which neither a restart without a delay nor the
 * start of many bots, whose shells have just looked, need wait for.
 */
const UNWATCHED_MS = 500;

export interface StarterDeps {
  readonly clock: Clock;
  readonly plan: BotPlan;
  readonly user: User | undefined;
  /** Why the bot's user cannot be had; it is then never started, least of all as ourselves. */
  readonly userError: string | undefined;
  /** Folder below which bots get their cgroup; `undefined` where there is none. */
  readonly cgroupBase: string | undefined;
  /** Name of the bot's cgroup. */
  readonly cgroupName: string;
  readonly limits: BotLimits;
  /** The supervisor's own environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fact: (level: "warn" | "alert", text: string) => void;
}

export type Started =
  | {
      readonly kind: "started";
      readonly child: SpawnedChild;
      readonly env: Readonly<Record<string, string>>;
      readonly invocationId: string;
      /** Resolves when the runtime has seen the end of the main process. */
      readonly exited: Promise<void>;
    }
  | { readonly kind: "failed"; readonly permanent: boolean; readonly reason: string };

export class Starter {
  /** The bot's own cgroup, which holds one for each start; `undefined` where there are none. */
  readonly cgroup: string | undefined;
  readonly #deps: StarterDeps;
  #identity: Identity | undefined;
  #held: string | undefined;
  #downSinceMs: number;

  constructor(deps: StarterDeps) {
    this.#deps = deps;
    const { cgroupBase, cgroupName, clock } = deps;
    this.#downSinceMs = clock.monotonicMs();
    this.cgroup = cgroupBase === undefined ? undefined : createBotCgroup(cgroupBase, cgroupName);
  }

  /** Starts one generation; `restarts` goes into the identity, so that the count outlives the daemon. Never throws. */
  start(generation: number, restarts: number, onExit: (end: ExitResult & { oom: boolean }) => void): Started {
    const { plan, user, userError, limits, fact, clock } = this.#deps;
    const refusal = this.#held ?? userError ?? limits.refusal;
    if (refusal !== undefined) return { kind: "failed", permanent: true, reason: refusal };
    const { promise: exited, resolve: sawExit } = Promise.withResolvers<void>();
    try {
      const double = this.#double();
      if (double !== undefined) return { kind: "failed", permanent: true, reason: double };
      const invocationId = randomUUID().replaceAll("-", "");
      const env = this.#environment(generation, invocationId);
      const cgroup = this.#freshCgroup(invocationId);
      const before = limits.prepare(invocationId, cgroup, env);
      const outcome = spawnChild({
        command: plan.config.command,
        cwd: plan.config.cwd,
        env,
        ...(user === undefined ? {} : { user }),
        before,
        outputPath: plan.files.log,
        ...(cgroup === undefined ? {} : { cgroup }),
        onExit: ({ code, signal }) => {
          sawExit();
          this.#downSinceMs = clock.monotonicMs();
          if (before.length > 0) this.#explain(code);
          onExit({ code, signal, oom: signal === "SIGKILL" && limits.wasOom() });
        },
      });
      if (outcome.kind === "failed") return outcome;
      if (outcome.outputError !== undefined) fact("alert", outcome.outputError);
      this.#writeIdentity(generation, restarts, invocationId, outcome.child);
      return { kind: "started", child: outcome.child, env, invocationId, exited };
    } catch (error) {
      // An environment file that is not there or not understood: no waiting cures it. Want of memory or descriptors: it may.
      const permanent = error instanceof EnvFileError;
      return { kind: "failed", permanent, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Why it must not be started: the same bot lives under another state folder. Throws when processes cannot be listed. */
  #double(): string | undefined {
    const { plan, clock } = this.#deps;
    if (clock.monotonicMs() - this.#downSinceMs < UNWATCHED_MS) return undefined;
    const pids = strangersOf(plan);
    return pids.length === 0 ? undefined : `cannot start ${plan.name}: ${strangersText(plan, pids)}`;
  }

  /** Forbids every start of this daemon: something that the bot or its emergency needs is missing. */
  hold(reason: string): void {
    this.#held = reason;
  }

  /** Notes in the identity that the present start has become ready, so that an adoption need not wait for it again. */
  noteReady(): void {
    if (this.#identity === undefined || this.#identity.ready) return;
    this.#identity = { ...this.#identity, ready: true };
    this.#saveIdentity(this.#identity);
  }

  /** Goes on with the start of an earlier supervisor. */
  adopt(identity: Identity): void {
    this.#identity = identity;
    const { cgroup, invocationId } = identity;
    this.#deps.limits.adopt(invocationId, cgroup === null ? undefined : join(cgroup, invocationId));
  }

  /** The environment that the start of `identity` was given, as far as the config still says the same. */
  environmentOf({ generation, invocationId }: Identity): Record<string, string> {
    return this.#environment(generation, invocationId);
  }

  /** Takes the cgroup away once nothing is in it. */
  release(): void {
    this.#deps.limits.settle();
    if (this.cgroup !== undefined) removeCgroup(this.cgroup);
  }

  /** The steps before the program report by exit codes that a program may use too. */
  #explain(code: number | null): void {
    for (const [failed, what] of Object.entries(EXIT_BEFORE_EXEC))
      if (code === Number(failed))
        this.#deps.fact(
          "warn",
          `exit code ${code}: unless the bot itself ends so, its start could not ${what}; see its log`,
        );
  }

  #environment(generation: number, invocationId: string): Record<string, string> {
    const { plan, env: own, user } = this.#deps;
    const fileEnv = readEnvFile(plan.config.envFile);
    return botEnvironment({ plan, own, fileEnv, home: user?.home, invocationId, generation });
  }

  /**
   * A cgroup of its own for each start, below the bot's: recent kernels kill at once what is started into a cgroup that
   * has seen `cgroup.kill`, since the kill's sequence number is compared with that of the parent's cgroup (seen on 6.18).
   */
  #freshCgroup(invocationId: string): string | undefined {
    if (this.cgroup === undefined) return undefined;
    removeCgroup(this.cgroup);
    const cgroup = createBotCgroup(this.cgroup, invocationId);
    if (cgroup === undefined)
      this.#deps.fact("warn", `cannot make a cgroup below ${this.cgroup}: this start is swept without one`);
    return cgroup;
  }

  #writeIdentity(generation: number, restarts: number, invocationId: string, child: ProcessId): void {
    const { plan } = this.#deps;
    this.#identity = {
      version: 1,
      account: plan.account,
      bootId: bootId() ?? "unknown",
      pid: child.pid,
      startTimeTicks: child.startTicks,
      invocationId,
      generation,
      ready: false,
      definition: definitionOf(plan),
      cgroup: this.cgroup ?? null,
      restarts,
    };
    this.#saveIdentity(this.#identity);
  }

  #saveIdentity(identity: Identity): void {
    const { plan, fact } = this.#deps;
    try {
      writeFileAtomic(plan.files.identity, `${JSON.stringify(identity)}\n`);
    } catch (error) {
      // The bot's marks in its environment still tell its processes from others.
      fact("alert", `cannot write the identity: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
