/** Starts the generations of one bot: cgroup, environment, process, identity on disk. */
import { join } from "node:path";
import { isKnownOn, NO_PROCESS, withoutProcess, type Identity, type StartPlace } from "../../core/identity.ts";
import type { Carried } from "../../core/lifecycle-types.ts";
import {
  createBotCgroup,
  createFreshCgroup,
  isUnpopulated,
  keepEvents,
  releaseEvents,
  removeCgroup,
} from "../../platform/cgroup.ts";
import type { Clock } from "../../platform/clock.ts";
import { rewriteFile, syncFile } from "../../platform/files.ts";
import { bootId, type ProcessId } from "../../platform/proc.ts";
import { EXIT_BEFORE_EXEC } from "../../platform/process-limits.ts";
import { spawnChild, type ExitResult, type SpawnedChild, type SpawnRequest } from "../../platform/spawn.ts";
import { recentCensus } from "../../platform/census.ts";
import type { User } from "../../platform/user.ts";
import type { BotLimits } from "./bot-limits.ts";
import { definitionOf, lastingEnvironment, startEnvironment, type BotPlan } from "./bot-plan.ts";
import { EnvFileError, envFileNow, readEnvFile, strangersText } from "./bot-setup.ts";
import { withOutput } from "./output-target.ts";
import { newInvocationId, placeHere } from "./start-place.ts";
import { readIdentityFile, strangersOf } from "./survey.ts";

/**
 * A bot that has been down for longer than this is looked for under other state folders before it is started, ms: another
 * supervisor may have started it meanwhile. The look reads all of /proc, which a restart without a delay need not wait
 * for; and for many bots that are started together one look that is no older does.
 */
const UNWATCHED_MS = 500;

/** Cgroups of past starts that would not go and are tried again; what is left beyond goes with the bot's own. */
const MAX_USED = 8;

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
  /** As in `BotDeps`. */
  readonly foreign?: () => boolean;
  readonly fact: (level: "warn" | "alert", text: string) => void;
  /** The identity that the disk has of a start of an earlier supervisor. */
  readonly before: Identity | undefined;
  /** It must not be started as long as anything about it is in doubt. */
  readonly doubt?: { readonly text: string | undefined };
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
  | { readonly kind: "failed"; readonly permanent: boolean; readonly waits?: boolean; readonly reason: string };

/** What a start is told apart by, and kept in. */
interface Place {
  readonly invocationId: string;
  readonly cgroup: string | undefined;
  /** A start that has no cgroup is told by none, least of all by that of its bot, which may be empty. */
  readonly place: StartPlace | undefined;
}

/** What follows from a plan and its environment file, whichever start it is. */
interface Defined {
  readonly plan: BotPlan;
  readonly fileEnv: Readonly<Record<string, string>>;
  readonly definition: string;
  /** The part of the environment that all starts have in common. */
  readonly lasting: Readonly<Record<string, string>>;
}

/** Goes into the identity. */
type Restarts = Pick<Carried, "generation" | "restarts" | "restartsBy">;

export class Starter {
  /** The bot's own cgroup, which holds one for each start; `undefined` where there are none. */
  readonly cgroup: string | undefined;
  /** The kernel made the cgroup for us, under a name that none had, and nothing was started since. */
  untouched: boolean;
  readonly #deps: StarterDeps;
  #identity: Identity | undefined;
  /** The identity on disk is newer than what a power cut would leave. */
  #unsettled = false;
  #unsaved = false;
  /** Whose account the identity on disk says the bot has; `undefined`: there is none. */
  #accountOnDisk: string | undefined;
  #prepared: Place | undefined;
  #cancelPrepare: (() => void) | undefined;
  /** Cgroups of starts that may still exist, the present one last. */
  readonly #used: string[] = [];
  #held: string | undefined;
  #defined: Defined | undefined;
  #downSinceMs: number;
  /** Everything of the last start is proven dead, and the identity on disk names it still. */
  #gone = false;

  constructor(deps: StarterDeps) {
    this.#deps = deps;
    const { cgroupBase, cgroupName, clock } = deps;
    this.#downSinceMs = clock.monotonicMs();
    this.#accountOnDisk = deps.before?.account;
    const fresh = cgroupBase === undefined ? undefined : createFreshCgroup(cgroupBase, cgroupName);
    this.cgroup = cgroupBase === undefined ? undefined : (fresh ?? createBotCgroup(cgroupBase, cgroupName));
    this.untouched = fresh !== undefined;
    // Nobody lives in it, so it was made just now, and nothing was ever killed in it.
    if (this.cgroup !== undefined && (fresh !== undefined || isUnpopulated(this.cgroup))) this.prepare();
  }

  /** Starts one generation; the restarts so far go into the identity, so that the counts outlive the daemon. Never throws. */
  start({ generation, restarts, restartsBy }: Restarts, onExit: (end: ExitResult & { oom: boolean }) => void): Started {
    const { plan, user, userError, limits, fact, clock, doubt } = this.#deps;
    const refusal = doubt?.text ?? this.#held ?? userError ?? limits.refusal;
    if (refusal !== undefined) return { kind: "failed", permanent: true, reason: refusal };
    let sawExit: (() => void) | undefined;
    try {
      const double = this.#double();
      // It may go away; a spent budget would close positions beside it.
      if (double !== undefined) return { kind: "failed", permanent: false, waits: true, reason: double };
      const { invocationId, cgroup, place } = this.#takePlace();
      const fileEnv = readEnvFile(plan.config.envFile);
      const { definition, lasting } = this.#define(fileEnv);
      const env = { ...lasting, ...startEnvironment(generation, invocationId) };
      const before = limits.prepare(invocationId, cgroup, env);
      const request: SpawnRequest = {
        command: plan.config.command,
        cwd: plan.config.cwd,
        env,
        ...(user === undefined ? {} : { user }),
        before,
        outputPath: plan.files.log,
        ...(cgroup === undefined ? {} : { cgroup }),
        onExit: ({ code, signal }) => {
          sawExit?.();
          this.#downSinceMs = clock.monotonicMs();
          if (before.length > 0) this.#explain(code);
          onExit({ code, signal, oom: signal === "SIGKILL" && limits.wasOom() });
        },
      };
      const start = { generation, restarts, restartsBy: { ...restartsBy }, invocationId, definition, place };
      this.#gone = false;
      // Killed once the process is there and before it is named: the next daemon must know the start, and whose account it has.
      this.#saveIdentity(this.#identityOf(start));
      // Killed in a moment, this supervisor would leave a bot that the next one takes for one of another account, or does not know at all.
      if (!isKnownOn(this.#accountOnDisk, plan.account))
        return { kind: "failed", permanent: false, reason: unnamed(plan) };
      const outcome = withOutput(plan, fact, (output) => spawnChild({ ...request, output }));
      if (outcome.kind === "failed") {
        // What stands on the disk is this start, and nothing lives of it.
        this.#identity = this.#identityOf(start);
        this.noteGone();
        return outcome;
      }
      if (outcome.outputError !== undefined) fact("alert", outcome.outputError);
      this.#identity = this.#identityOf(start, outcome.child);
      this.#saveIdentity(this.#identity);
      const { promise: exited, resolve } = Promise.withResolvers<void>();
      sawExit = resolve;
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
    const pids = strangersOf(plan, recentCensus(clock, UNWATCHED_MS));
    return pids.length === 0 ? undefined : `cannot start ${plan.name}: ${strangersText(plan, pids)}`;
  }

  /** Forbids every start: something that the bot or its emergency needs is missing. `undefined`: it is there now. */
  hold(reason: string | undefined): void {
    this.#held = reason;
  }

  /**
   * Makes the place of the next start now, while nobody waits for it, and removes that of the last. Every start has a
   * cgroup of its own below the bot's, so that the next one is never frozen or killed by what ended the one before.
   */
  prepare(): void {
    if (this.cgroup === undefined || this.#prepared !== undefined) return;
    const invocationId = newInvocationId();
    const cgroup = createFreshCgroup(this.cgroup, invocationId);
    if (cgroup !== undefined) this.#prepared = { invocationId, cgroup, place: placeHere(this.#deps.cgroupBase) };
    const past = this.#used.splice(0, this.#used.length - 1);
    this.#used.unshift(...past.filter((used) => !removeCgroup(used)).slice(-MAX_USED));
  }

  /** `prepare` once this turn is over: a bot that is started together with others does not make them wait for its next place. */
  prepareSoon(): void {
    this.#cancelPrepare ??= this.#deps.clock.after(0, () => {
      this.#cancelPrepare = undefined;
      if (this.cgroup !== undefined) keepEvents(this.cgroup);
      this.prepare();
    });
  }

  /** `cgroup.kill` may reach the place of the next start: it is made anew. */
  distrustPrepared(): void {
    this.#cancelPrepare?.();
    this.#cancelPrepare = undefined;
    this.#prepared = undefined;
  }

  /** Everything of the last start is proven dead. Written when nobody waits: a restart that does writes its own. */
  noteGone(): void {
    this.#gone = true;
  }

  #forgetProcess(): void {
    const identity = this.#identity ?? this.#deps.before;
    if (!this.#gone || identity === undefined) return;
    this.#gone = false;
    this.#identity = withoutProcess(identity);
    this.#saveIdentity(this.#identity);
  }

  /** Each second: forces the identity to the disk, if it was written since the last call; one that could not be written is tried again. */
  settle(): void {
    this.#forgetProcess();
    if (this.#unsaved && this.#identity !== undefined) this.#saveIdentity(this.#identity);
    if (!this.#unsettled) return;
    this.#unsettled = false;
    syncFile(this.#deps.plan.files.identity).catch((error: unknown) => this.#complain(error));
  }

  /** Notes in the identity what the present start has become or asked for, so that an adoption goes on with it. */
  note(said: Partial<Pick<Identity, "ready" | "watchdogMs">>): void {
    const noted = this.#identity === undefined ? undefined : { ...this.#identity, ...said };
    if (noted === undefined || Bun.deepEquals(noted, this.#identity)) return;
    this.#identity = noted;
    this.#saveIdentity(noted);
  }

  /** Fingerprint of what the last start was started with; `undefined` before the first. */
  get definition(): string | undefined {
    return this.#identity?.definition;
  }

  /** Goes on with the start of an earlier supervisor; `pids` are those of its tree, `undefined` when it has ended. */
  adopt(identity: Identity, pids?: () => readonly number[]): void {
    this.#identity = identity;
    const { cgroup, invocationId, pid } = identity;
    this.#deps.limits.adopt({
      invocationId,
      cgroup: cgroup === null ? undefined : join(cgroup, invocationId),
      living: pids === undefined ? undefined : { pid, pids },
    });
  }

  /** The environment that the start of `identity` was given, as far as the config still says the same. */
  environmentOf({ generation, invocationId }: Identity): Record<string, string> {
    const { plan } = this.#deps;
    const { lasting } = this.#define(envFileNow(plan.config.envFile) ?? {});
    return { ...lasting, ...startEnvironment(generation, invocationId) };
  }

  /** Takes the cgroup away once nothing is in it. */
  release(): void {
    this.distrustPrepared();
    this.#deps.limits.settle();
    this.#forgetProcess();
    if (this.cgroup === undefined) return;
    releaseEvents(this.cgroup);
    removeCgroup(this.cgroup);
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

  /** The prepared place, else one that is made now. */
  #takePlace(): Place {
    const place = this.#prepared ?? this.#makePlace();
    this.untouched = false;
    this.#prepared = undefined;
    if (place.cgroup !== undefined) this.#used.push(place.cgroup);
    return place;
  }

  #makePlace(): Place {
    const invocationId = newInvocationId();
    this.#used.length = 0;
    const cgroup = this.#freshCgroup(invocationId);
    return { invocationId, cgroup, place: placeHere(cgroup === undefined ? undefined : this.#deps.cgroupBase) };
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

  /** What is written of a start: without `child` before it has one. */
  #identityOf(
    start: Pick<Identity, "generation" | "restarts" | "restartsBy" | "invocationId" | "definition" | "place">,
    child?: ProcessId,
  ): Identity {
    const { plan } = this.#deps;
    const process =
      child === undefined
        ? NO_PROCESS
        : { bootId: bootId() ?? NO_PROCESS.bootId, pid: child.pid, startTimeTicks: child.startTicks };
    return {
      ...start,
      ...process,
      version: 1,
      account: plan.account,
      // Such a bot is ready as soon as it runs.
      ready: plan.policy.ready === "started",
      cgroup: this.cgroup ?? null,
    };
  }

  /**
   * On disk in the sense of another process, and within a second in the sense of a power cut: the next daemon on this boot
   * must know the bot, also when this one is killed on the next line, and for that the page cache is enough. After a power
   * cut no bot lives, the identity is of another boot, and all that it could lose are its counts. One that cannot be read
   * costs the adoption: the marks of the bot's processes still find them.
   */
  #saveIdentity(identity: Identity): void {
    const foreign = this.#deps.foreign?.() === true;
    this.#unsaved ||= foreign;
    if (foreign) return;
    try {
      // Of a restart that waits for it, the last start has written one.
      const isThere = this.#identity === undefined ? undefined : true;
      rewriteFile(this.#deps.plan.files.identity, `${JSON.stringify(identity)}\n`, undefined, isThere);
      this.#accountOnDisk = identity.account;
      this.#unsettled = true;
      this.#unsaved = false;
    } catch (error) {
      // It may have been torn, or be gone.
      this.#accountOnDisk = accountIn(this.#deps.plan.files.identity);
      // Said once, and tried again until the disk takes it.
      if (!this.#unsaved) this.#complain(error);
      this.#unsaved = true;
    }
  }

  /** Made anew only when what it is made of has changed: a restart waits for it. */
  #define(fileEnv: Readonly<Record<string, string>>): Defined {
    const { plan, env: own, user } = this.#deps;
    const last = this.#defined;
    if (last?.plan === plan && (last.fileEnv === fileEnv || Bun.deepEquals(last.fileEnv, fileEnv))) return last;
    const lasting = lastingEnvironment({ plan, own, fileEnv, home: user?.home });
    const defined = { plan, fileEnv, definition: definitionOf(plan, fileEnv), lasting };
    this.#defined = defined;
    return defined;
  }

  /** The bot's marks in its environment still tell its processes from others. */
  #complain(error: unknown): void {
    this.#deps.fact("alert", `cannot write the identity: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function unnamed({ name, account, files }: BotPlan): string {
  return `cannot start ${name}: ${files.identity} cannot be written, and does not say that the bot has account ${account}; make room or mend the disk`;
}

/** Whose account the identity at `path` names, as the next supervisor will read it. */
function accountIn(path: string): string | undefined {
  const reading = readIdentityFile(path);
  return reading.kind === "known" ? reading.identity.account : undefined;
}
