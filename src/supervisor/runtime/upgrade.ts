/**
 * Puts a new version of the program into this very process, with every bot running on (`supervisor upgrade`, SIGUSR1). The
 * new one must first show, as a process of its own, that it can take over; until the kernel has taken it nothing is given up.
 */
import { closeSync } from "node:fs";
import type * as z from "zod";
import {
  HANDOVER_VERSION,
  judgeSelfCheck,
  type CarriedBot,
  type upgradeAnswerSchema,
  type upgradeStateSchema,
} from "../../core/upgrade.ts";
import type { Clock } from "../../platform/clock.ts";
import { runCommand, runningCommands } from "../../platform/command.ts";
import { fileStamp, programProblem, replaceProcess, startedAs } from "../../platform/exec.ts";
import { endLateWatch, lateSignal, watchLateSignals, type LateWatch } from "../../platform/late-signals.ts";
import { pidNamespace } from "../../platform/pid-namespace.ts";
import { ownedLeft } from "../../platform/subreaper.ts";
import { ownProgram } from "../../platform/worker.ts";
import type { Bot } from "./bot.ts";
import type { LoadedConfig } from "./config/load.ts";
import type { FolderWatch } from "./folder-watch.ts";
import {
  carriedBot,
  carriedWorkers,
  changeOf,
  HANDOVER_VARIABLE,
  obstacleOf,
  packHandover,
  waitingOf,
  type Judgement,
} from "./handover.ts";
import { readyText } from "./service-manager.ts";

/** Longest self-check, ms: it takes some 50 ms, and a starved machine is no reason to refuse. */
const SELF_CHECK_MS = 20_000;
/** Longest report kept, bytes: some 100 for each bot. */
const REPORT_BYTES = 1_048_576;
/** Time for the answer to reach the command before the program is replaced, ms. */
const ANSWER_MS = 100;
/** One turn of the loop at the least, ms; a signal that came before it is obeyed by its end. */
const TURN_MS = 10;

export interface UpgraderDeps {
  readonly version: string;
  readonly bots: ReadonlyMap<string, Bot>;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** As it was at the start: file and folders stay. */
  readonly loaded: Pick<LoadedConfig, "file" | "dirs">;
  /** The state folder and its lock. */
  readonly folder: Pick<FolderWatch, "fd" | "foreign">;
  /** A reload is changing the bots, or has left some of them out, of which the next version would know nothing; `undefined`: neither. */
  readonly unsettled: () => string | undefined;
  readonly stopping: () => boolean;
  /** Reads what waits in the bots' notify sockets: what is not read is lost with them. */
  readonly drain: () => void;
  /** Writes the last known state. */
  readonly snapshot: () => Promise<void>;
  readonly say: (level: "info" | "warn" | "alert", text: string) => void;
  readonly tellSystemd: (text: string) => void;
}

/** Each by the two numbers that name it for ever. */
function ourCommands(): { pid: number; startTicks: number }[] {
  return [...runningCommands].map(({ pid, startTicks }) => ({ pid, startTicks }));
}

interface Fit extends Judgement {
  readonly version: string;
}

interface Request {
  /** Absolute path; `undefined`: as this program was started. */
  readonly binary?: string | undefined;
  readonly dryRun?: boolean | undefined;
}

/** Which files were there. */
interface Stamps {
  readonly binary: string;
  readonly config: string;
}

type Answer = z.output<typeof upgradeAnswerSchema>;
type Outcome =
  | { readonly kind: "fit"; readonly answer: Answer }
  | { readonly kind: "refused"; readonly reason: string };

export class Upgrader {
  readonly #deps: UpgraderDeps;
  readonly #instance = crypto.randomUUID();
  readonly #startedAs = startedAs();
  #busy = false;
  #failure: string | null = null;
  #order: string | null = null;
  #late: LateWatch | undefined;

  constructor(deps: UpgraderDeps) {
    this.#deps = deps;
  }

  get state(): z.output<typeof upgradeStateSchema> {
    const [instance, failure, order] = [this.#instance, this.#failure, this.#order];
    return { instance, version: this.#deps.version, pid: process.pid, failure, order };
  }

  /** We took over from another version, and an order to close was there. */
  noteOrder(reason: string | undefined): void {
    this.#order = reason ?? null;
  }

  /** Checks the new program and, unless that is all, takes its place a moment after the answer. Never throws. */
  async attempt(request: Request): Promise<Outcome> {
    if (this.#busy) return { kind: "refused", reason: "an upgrade is under way" };
    this.#busy = true;
    const outcome = await this.#check(request);
    const dry = request.dryRun === true;
    if (outcome.kind === "refused" && !dry) this.#fail(outcome.reason);
    if (outcome.kind === "refused" || dry) this.#busy = false;
    else this.#failure = null;
    return outcome;
  }

  /** The same by a signal: nobody waits for an answer. */
  bySignal(): void {
    void this.attempt({});
  }

  #fail(reason: string): void {
    this.#failure = reason;
    this.#deps.say("warn", `not upgraded: ${reason}; version ${this.#deps.version} goes on`);
  }

  async #check({ binary = this.#startedAs, dryRun = false }: Request): Promise<Outcome> {
    const { version, clock } = this.#deps;
    try {
      const reason = this.#obstacle() ?? programProblem(binary);
      if (reason !== undefined) return { kind: "refused", reason: `cannot upgrade to ${binary}: ${reason}` };
      // What a disk did not take a moment ago, it may take now: the new program judges by what stands there.
      for (const bot of this.#deps.bots.values()) bot.settle();
      const stamps = this.#stamps(binary);
      const report = await this.#selfCheck(binary);
      const bots = [...this.#deps.bots.values()];
      const running = bots.filter(({ loop }) => loop.state.kind === "running");
      const waiting = bots.flatMap(waitingOf);
      const judged = new Map([
        ...running.map(({ plan, loop }) => [plan.name, loop.state.generation] as const),
        ...waiting.map(({ name }) => [name, undefined] as const),
      ]);
      const { dirs } = this.#deps.loaded;
      const fitness = judgeSelfCheck(report, { running: running.map(({ plan }) => plan.name), waiting, ...dirs });
      if (fitness.kind === "unfit")
        return { kind: "refused", reason: `cannot upgrade to ${binary}: ${fitness.reason}` };
      const to = fitness.version;
      if (!dryRun) {
        await this.#deps.snapshot();
        clock.after(ANSWER_MS, () => this.#announce(binary, stamps, { ...fitness, judged }));
      }
      const self = { instance: this.#instance, pid: process.pid, pidNamespace: pidNamespace() };
      return { kind: "fit", answer: { from: version, to, binary, dryRun, ...self } };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { kind: "refused", reason: `cannot upgrade to ${binary}: ${why}` };
    }
  }

  /** Why this is no moment for it; `undefined` when it is. */
  #obstacle(): string | undefined {
    const { bots, folder, stopping, unsettled } = this.#deps;
    if (stopping()) return "the supervisor is stopping";
    if (folder.foreign) return "another supervisor has the state folder";
    if (ownProgram().length > 1) return "this supervisor runs from its source; build it, and run the binary";
    const why = unsettled();
    if (why !== undefined) return why;
    for (const bot of bots.values()) {
      const obstacle = obstacleOf(bot);
      if (obstacle !== undefined) return obstacle;
    }
    return undefined;
  }

  #selfCheck(binary: string) {
    const { loaded, clock, env } = this.#deps;
    const own = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
    return runCommand({
      command: [binary, "__self-check", "--config", loaded.file],
      // Whatever program it is, it must find nothing of anybody's to run.
      cwd: "/",
      env: Object.fromEntries(own),
      timeoutMs: SELF_CHECK_MS,
      maxOutputBytes: REPORT_BYTES,
      clock,
    });
  }

  /** What is slow is done here; a signal that comes from here on is noted, and one that came before is obeyed in the next turns. */
  #announce(binary: string, stamps: Stamps, fit: Fit): void {
    const { clock, say, tellSystemd } = this.#deps;
    const { version: to } = fit;
    say("info", `upgrading to ${to}: ${binary} takes over as pid ${process.pid}`);
    tellSystemd(`RELOADING=1\nSTATUS=upgrading to ${to}`);
    this.#late = watchLateSignals();
    clock.after(TURN_MS, () => clock.after(TURN_MS, () => this.#replace(binary, stamps, fit)));
  }

  /** In one turn of the loop: what was found is still so when the kernel takes the program. */
  #replace(binary: string, stamps: Stamps, fit: Fit): void {
    const { bots, stopping, tellSystemd } = this.#deps;
    const failure = this.#tryReplace(binary, stamps, fit);
    this.#busy = false;
    if (!stopping()) tellSystemd(readyText(bots.size));
    this.#fail(`cannot upgrade to ${binary}: ${failure}`);
    const late = this.#late && endLateWatch(this.#late);
    if (late !== undefined) process.kill(process.pid, late);
  }

  /** Returns only when it failed. */
  #tryReplace(binary: string, stamps: Stamps, fit: Fit): string {
    const { version, clock, folder, drain } = this.#deps;
    let data: number | undefined;
    try {
      drain();
      const changed = this.#changedFile(binary, stamps);
      const { umask, noting } = this.#late ?? {};
      const late = this.#late && lateSignal(this.#late);
      const came = late === undefined ? undefined : `${late} has come`;
      const obstacle = came ?? this.#obstacle() ?? changed ?? this.#changedBot(fit);
      if (obstacle !== undefined) return obstacle;
      const running = { bots: this.#carried(), commands: ourCommands(), workers: carriedWorkers(clock) };
      const versions = { pid: process.pid, from: version, to: fit.version };
      data = packHandover({ ...versions, umask, noting, ...running, left: [...ownedLeft()] });
      const lock = folder.fd;
      const env = { [HANDOVER_VARIABLE]: `${HANDOVER_VERSION} ${lock} ${data}` };
      return replaceProcess({ path: binary, env, pass: [lock, data] });
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      if (data !== undefined) closeSync(data);
    }
  }

  /** What the self-check judged by: a config that was edited since may drop a bot that runs, or be none at all. */
  #stamps(binary: string): Stamps {
    return { binary: fileStamp(binary), config: fileStamp(this.#deps.loaded.file) };
  }

  #changedFile(binary: string, before: Stamps): string | undefined {
    const now = this.#stamps(binary);
    if (now.binary !== before.binary) return "the file has changed since its self-check";
    return now.config === before.config ? undefined : `${this.#deps.loaded.file} has changed since the self-check`;
  }

  #carried(): Record<string, CarriedBot> {
    const carried: Record<string, CarriedBot> = {};
    for (const [name, bot] of this.#deps.bots) {
      const state = carriedBot(bot, this.#deps.clock);
      if (state !== undefined) carried[name] = state;
    }
    return carried;
  }

  /** Why a bot is not any more what the new program has judged; `undefined`: all are. */
  #changedBot(fit: Fit): string | undefined {
    for (const bot of this.#deps.bots.values()) {
      const change = changeOf(bot, fit);
      if (change !== undefined) return change;
    }
    return undefined;
  }
}
