/** The daemon: one state folder, its bots, and the sockets they and people speak to. The one place that news things up. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ReloadAnswer } from "../../core/reload.ts";
import type { Status } from "../../core/status.ts";
import { detectCgroup, type CgroupSupport } from "../../platform/cgroup.ts";
import { openControllers, removeStaleCgroups, type Controllers } from "../../platform/controllers.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import type { Lock } from "../../platform/lock.ts";
import { sendNotify } from "../../platform/notify-send.ts";
import { readMachine, type MachineReading } from "../../platform/sample-file.ts";
import { releaseProgramPages } from "../../platform/memory.ts";
import { Census } from "../../platform/census.ts";
import { becomeSubreaper, reapOrphans } from "../../platform/subreaper.ts";
import { readMachineClocks } from "../../platform/machine-clocks.ts";
import { Backups } from "./backups.ts";
import type { Order } from "./bot-deps.ts";
import { refuseNewer } from "./bot-setup.ts";
import { controlSocketPath } from "./config/paths.ts";
import type { LoadedConfig } from "./config/load.ts";
import { openControl } from "./control.ts";
import { firstMinute } from "./boot.ts";
import { endBots } from "./end-bots.ts";
import { installationOf, statusFile, takeLock } from "./installation.ts";
import { Fleet } from "./fleet.ts";
import { Journal } from "./journal.ts";
import { endedCleanly, interruptedOrder, STOPPED_TEXT, type InterruptedOrder } from "./journal-reader.ts";
import { knownSecrets } from "./known-secrets.ts";
import { watchMachine, type MachineWatch } from "./machine-watch.ts";
import { MaintenanceWatch } from "./maintenance.ts";
import type { Mirror } from "./mirror.ts";
import { Pulse } from "./pulse.ts";
import { makeRoom } from "./quarantine.ts";
import { StartOrder } from "./start-order.ts";
import { supervisorStatus, writeStatus } from "./status.ts";
import { cannotWait, surveyBots } from "./survey.ts";
import { tellEvents } from "./tell-events.ts";
import { EmergencyFile } from "./triggers.ts";
import { Reloader, ReloadRefusal } from "./reload/reloader.ts";
import type { ReloadPlan } from "./reload/plan.ts";
import { endCommands, type Handover } from "./handover.ts";
import { Ticker, type Duty } from "./ticker.ts";
import { Upgrader } from "./upgrade.ts";
import { openWeb, type Web } from "./web.ts";

/** Every so many ticks each bot's process tree is looked at. */
const REMEMBER_TICKS = 10;
/** After so many ticks the program pages that only the start needed are given back, and then each minute. */
const RELEASE_TICK = 3;
const RELEASE_EVERY_TICKS = 60;
/** Longest part of a stack trace that goes into one journal line, characters. */
const MAX_STACK_CHARS = 4_000;
/** Time that systemd is to wait for the next sign of life of a daemon that is stopping, ms: many ticks. */
const STOPPING_SIGN_MS = 15_000;

interface Stoppable {
  readonly stop: (closeActive?: boolean) => unknown;
}

export interface DaemonDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** `BOT_EMERGENCY_SHUTDOWN` was set: every bot stays down and its positions are closed. */
  readonly emergencyAtStart: boolean;
  readonly toStderr: (line: string) => void;
  /** What an earlier version in this process left. */
  readonly handover?: Handover | undefined;
}

/** Why which bots must not be started, by name. */
interface Held {
  readonly held?: ReadonlyMap<string, string>;
}

export class Daemon {
  readonly upgrader: Upgrader;
  readonly #deps: DaemonDeps;
  readonly #lock: Lock;
  readonly #journal: Journal;
  readonly #mirror: Mirror;
  readonly #cgroup: CgroupSupport;
  #controllers: Controllers | undefined;
  readonly #fleet: Fleet;
  readonly #pulse: Pulse;
  readonly #reloader: Reloader;
  #loaded: LoadedConfig;
  readonly #machine: MachineWatch;
  readonly #maintenance: MaintenanceWatch;
  #emergencyFile: EmergencyFile;
  readonly #interrupted: InterruptedOrder | undefined;
  readonly #hurried = Promise.withResolvers<void>();
  readonly #startedAt: Date;
  readonly #startedAtMs: number;
  readonly #backups: Backups;
  #control: Stoppable | undefined;
  #order: StartOrder | undefined;
  #web: Web | undefined;
  readonly #ticker: Ticker;
  #changed = true;
  #started = false;
  #stopping = false;

  /** Takes the state folder and opens everything but the bots. Throws when another supervisor holds the folder. */
  constructor(deps: DaemonDeps) {
    const { loaded, clock } = deps;
    const { stateDir, runtimeDir, logDir } = loaded.dirs;
    this.#deps = deps;
    this.#startedAt = clock.wallTime();
    this.#startedAtMs = clock.monotonicMs();
    ensureDir(stateDir, 0o711);
    this.#lock = takeLock(join(stateDir, "supervisor.lock"), deps.handover?.lockFd);
    ensureDir(runtimeDir, 0o711);
    ensureDir(logDir, 0o755);
    this.#interrupted = interruptedOrder(join(stateDir, "journal"));
    const clean = endedCleanly(join(stateDir, "journal"));
    this.#journal = new Journal(join(stateDir, "journal"), clock);
    this.#mirror = tellEvents(this.#journal, { toStderr: deps.toStderr, file: loaded.config.logFile, clock });
    const move = makeRoom(statusFile(stateDir), "file");
    if (move !== undefined) this.#say("alert", move);
    this.#cgroup = detectCgroup();
    this.#openControllers(loaded);
    this.#backups = new Backups({
      ...deps,
      say: (level, text) => this.#say(level, text),
      start: (bot) => this.#fleet.bots.get(bot)?.loop.post({ kind: "start" }),
    });
    this.#pulse = new Pulse(clock);
    this.#ticker = new Ticker({
      clock,
      duties: (tick) => this.#duties(tick),
      onError: (error) => this.reportInternalError(error),
    });
    this.#machine = watchMachine(clock, this.#pulse, this.#cgroup.base, (level, text) => this.#say(level, text));
    this.#maintenance = new MaintenanceWatch({
      stateDir,
      clock,
      say: (level, text) => this.#say(level, text),
      onChange: () => this.#renewPolicies(),
    });
    this.#fleet = new Fleet({
      ...deps,
      dirs: loaded.dirs,
      journal: this.#journal,
      cgroupBase: this.#cgroup.base,
      controllers: () => this.#controllers,
      pulse: this.#pulse,
      machine: this.#machine,
      suspended: () => this.#maintenance.active,
      bootLeftMs: firstMinute(clock, readMachineClocks()?.boottimeMs, () => this.#renewPolicies()),
      // Of the bots of the start: one that a reload takes in later begins anew.
      carried: (name) => (this.#started ? undefined : deps.handover?.bots[name]),
      // One that a reload takes in later was let go of by this supervisor.
      endedCleanly: () => this.#started || clean,
      onChange: () => {
        this.#changed = true;
        this.#order?.poke();
      },
      secrets: () => knownSecrets(this.#loaded.config, deps.env),
      onBug: (error) => this.reportInternalError(error),
    });
    this.upgrader = this.#createUpgrader();
    this.#emergencyFile = new EmergencyFile(loaded.config.emergencyFile, process.getuid?.() ?? 0);
    this.#loaded = loaded;
    this.#reloader = new Reloader({
      fleet: this.#fleet,
      current: () => this.#loaded,
      adopt: (next, plan) => this.#adoptConfig(next, plan),
      stopping: () => this.#stopping,
      obstacle: () => this.#restoring(),
      say: (level, text) => this.#say(level, text),
      onBusy: (busy) => this.#tellSystemd(busy ? "RELOADING=1" : "READY=1"),
    });
  }

  /** Only where a limit asks for it: handing controllers down moves the supervisor itself into another cgroup. */
  #openControllers({ config }: LoadedConfig): void {
    const limited = Object.values(config.bots).some(({ limits }) => limits !== undefined);
    if (limited) this.#controllers ??= openControllers(this.#cgroup);
  }

  /** Reads the config again and makes the bots what it says (SIGHUP, `supervisor reload`). Throws `ReloadRefusal`. */
  async reload({ dryRun }: { readonly dryRun: boolean }): Promise<ReloadAnswer> {
    // The file has just been read, and the bots are not there yet.
    if (!this.#started) throw new ReloadRefusal("inProgress", "cannot reload: the supervisor is starting");
    return dryRun ? this.#reloader.preview() : this.#reloader.reload();
  }

  /** Why there can be no reload now: a restart would let a bot open data that is being replaced under it. */
  #restoring(): string | undefined {
    for (const name of this.#fleet.bots.keys()) {
      const reason = this.#backups.restores.holding(name);
      if (reason !== undefined) return `bot ${name}: ${reason}`;
    }
    return undefined;
  }

  /** SIGHUP. */
  reloadBySignal(): void {
    if (this.#started) void this.#reloader.obeySignal();
  }

  async #adoptConfig(loaded: LoadedConfig, { changes }: ReloadPlan): Promise<void> {
    this.#loaded = loaded;
    this.#changed = true;
    this.#openControllers(loaded);
    for (const warning of loaded.warnings) this.#say("warn", warning);
    const changed = (key: string): boolean => changes.some((each) => each.key.split(".")[0] === key);
    if (changed("emergencyFile"))
      this.#emergencyFile = new EmergencyFile(loaded.config.emergencyFile, process.getuid?.() ?? 0);
    if (changed("backups")) this.#backups.adopt(loaded);
    if (!changed("http") && !changed("metrics")) return;
    await this.#web?.stop(true);
    this.#web = undefined;
    if (!this.#stopping) await this.#openServers(() => true);
  }

  /** Opens the TCP servers of the config. Throws when it cannot, unless something is alive that must not wait for them. */
  async openWeb({ held }: Held = {}): Promise<void> {
    const { config, dirs } = this.#loaded;
    const ordered = (): boolean => this.#deps.emergencyAtStart || existsSync(config.emergencyFile);
    await this.#openServers(() => (held?.size ?? 0) > 0 || ordered() || surveyBots(dirs).some(cannotWait));
  }

  async #openServers(urgent: () => boolean): Promise<void> {
    this.#web = await openWeb({
      config: this.#loaded.config,
      bots: () => this.#loaded.config.bots,
      status: () => this.status(),
      pulseAgeMs: () => this.#pulse.ageMs,
      stopping: () => this.#stopping,
      urgent,
      say: (level, text) => this.#say(level, text),
    });
  }

  /** Opens the bots and their sockets, then starts what is to be started; `held` says why which bots are not. */
  start({ held = new Map() }: Held = {}): void {
    const { loaded, version, handover } = this.#deps;
    this.#say("info", `supervisor ${version} started with ${loaded.file}, pid ${process.pid}`);
    if (handover !== undefined) {
      this.#say("info", `upgraded from ${handover.from} to ${version}`);
      endCommands(handover, this.#deps.clock);
    }
    for (const warning of loaded.warnings) this.#say("warn", warning);
    if (!becomeSubreaper())
      this.#say("warn", "cannot become the parent of orphans: processes that escape may outlive their bot");
    if (this.#cgroup.base === undefined)
      this.#say("info", `no cgroups: ${this.#cgroup.reason}; process trees are swept by parentage and environment`);
    if (this.#controllers !== undefined) removeStaleCgroups(this.#controllers, installationOf(loaded.dirs.stateDir));
    const remains = surveyBots(loaded.dirs);
    for (const each of remains) if (each.name in loaded.config.bots) refuseNewer(each);
    const admitted = this.#backups.restores.admit(loaded.config.bots);
    const census = new Census();
    const configured = new Set(Object.keys(loaded.config.bots));
    for (const config of Object.values(admitted)) this.#fleet.add(config, { remains, configured, census });
    for (const each of remains) this.#fleet.endStranded(each);
    this.#openControl();
    this.#pulse.start();
    const emergency = this.#orderAtStart();
    for (const bot of this.#fleet.all) {
      const order = this.#interrupted?.bot === bot.plan.name ? this.#interrupted : undefined;
      const { name, config } = bot.plan;
      bot.begin({ emergency: emergency ?? order, held: held.get(name), waitsFor: config.after, census });
    }
    this.#order = new StartOrder(this.#fleet.bots, this.#deps.clock);
    if (emergency?.trigger === "file") this.#consumeFile();
    this.#tellSystemd(`READY=1\nSTATUS=${this.#fleet.all.length} bots`);
    this.#started = true;
    this.#ticker.start();
  }

  /** An order to close everything that was there before us: then no bot is started first. */
  #orderAtStart(): Order | undefined {
    if (this.#deps.emergencyAtStart)
      return { trigger: "environment", reason: "BOT_EMERGENCY_SHUTDOWN was set when the supervisor started" };
    const found = this.#emergencyFile.look();
    if (found.alert !== undefined) this.#say("alert", found.alert);
    if (found.fired && this.#maintenance.active) {
      this.#say("alert", `the emergency file ${this.#emergencyFile.path} was there; nothing is closed in maintenance`);
      this.#consumeFile();
      return undefined;
    }
    return found.fired
      ? { trigger: "file", reason: `the emergency file ${this.#emergencyFile.path} was there` }
      : undefined;
  }

  /** Removes the file only when its order is in the lockouts on disk: from there on it outlives us. */
  #consumeFile(): void {
    const trouble = this.#emergencyFile.consume();
    if (trouble !== undefined) this.#say("alert", trouble);
  }

  #openControl(): void {
    const { loaded, clock, env } = this.#deps;
    this.#control = openControl({
      path: controlSocketPath(loaded.dirs.runtimeDir),
      group: loaded.config.control.group,
      bots: this.#fleet.bots,
      journal: this.#journal,
      clock,
      env,
      status: () => this.status(),
      stopping: () => this.#stopping,
      reload: (options) => this.reload(options),
      version: this.#deps.version,
      upgrader: this.upgrader,
      maintenance: this.#maintenance,
      restoring: (bot) => this.#backups.restores.holding(bot),
    });
  }

  #createUpgrader(): Upgrader {
    const { loaded } = this.#deps;
    return new Upgrader({
      ...this.#deps,
      bots: this.#fleet.bots,
      config: loaded.file,
      lockFd: this.#lock.fd,
      stopping: () => this.#stopping,
      reloading: () => this.#reloader.busy,
      drain: () => {
        for (const drain of this.#fleet.drains()) drain();
      },
      snapshot: () => this.#snapshot(),
      say: (level, text) => this.#say(level, text),
      tellSystemd: (text) => this.#tellSystemd(text),
    });
  }

  status(): Promise<Status> {
    return supervisorStatus({
      ...this.#deps,
      config: this.#deps.loaded.file,
      bots: this.#fleet.all,
      backups: this.#backups.status(),
      drill: this.#backups.drills.status(),
      cgroup: this.#cgroup.mode,
      journalDropped: this.#journal.dropped,
      startedAt: this.#startedAt,
      startedAtMs: this.#startedAtMs,
      machine: this.#machine.status,
      maintenance: this.#maintenance.status,
    });
  }

  /** Closes the positions of every bot that has an emergency section (SIGUSR2, emergency file). */
  emergency(order: Order): void {
    this.#reloader.noteOrder(order);
    for (const bot of this.#fleet.all) bot.order(order);
  }

  /** A second request to stop: closes that are under way are left to their workers. */
  hurry(): void {
    this.#hurried.resolve();
  }

  /**
   * Stops every bot politely and lets go of the folder. A close that is under way is waited for; when that is too long
   * (`hurry`, or the end of its time), it goes on in its own process.
   */
  async shutDown(reason: string): Promise<void> {
    this.#stopping = true;
    this.#say("info", `supervisor is stopping: ${reason}`);
    this.#tellSystemd("STOPPING=1");
    const bots = this.#fleet.all;
    this.#order?.close();
    const archived = this.#backups.end();
    await endBots(bots, {
      clock: this.#deps.clock,
      hurried: this.#hurried.promise,
      say: (level, text) => this.#say(level, text),
    });
    await Promise.all(bots.map((bot) => bot.guard.watch.rest()));
    await archived;
    this.#ticker.stop();
    this.#pulse.stop();
    if (bots.length > 0) await this.#snapshot();
    await this.#fleet.shutDown();
    for (const server of [this.#web, this.#control]) await server?.stop(true);
    await this.#fleet.closeSockets();
    this.#say("info", STOPPED_TEXT);
    this.#mirror.flush();
    this.#journal.close();
    this.#lock.release();
  }

  /** Maintenance has begun or ended, or the machine's first minute is over. */
  #renewPolicies(): void {
    this.#changed = true;
    for (const bot of this.#fleet.all) bot.renewPolicy();
  }

  /** Puts what no code expected into the journal; never throws. */
  reportInternalError(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#say("alert", `internal error: ${text.slice(0, MAX_STACK_CHARS)}`);
  }

  /** What is done each second, in this order. */
  #duties(tick: number): readonly Duty[] {
    let machine: MachineReading | undefined;
    const bots = this.#fleet.all;
    return [
      () => this.#lookForEmergencyFile(),
      () => this.#machine.look(),
      () => this.#maintenance.tick(),
      ...this.#fleet.drains(),
      () => void reapOrphans(this.#deps.clock),
      () => this.#pingSystemd(),
      ...bots.map((bot) => () => bot.look()),
      ...bots.map((bot) => () => bot.sample((machine ??= readMachine()))),
      () => this.#order?.look(),
      () => this.#rareDuties(tick),
      () => void (this.#stopping || this.#backups.tick()),
      ...bots.map((bot) => () => bot.guard.tick(this.#stopping)),
      ...bots.map((bot) => () => bot.output.look()),
      ...bots.map((bot) => () => bot.settle()),
      () => void (this.#changed && this.#snapshot()),
    ];
  }

  /** While it stops, the watchdog is off and TimeoutStopSec= holds: it is moved for as long as this loop turns. */
  #pingSystemd(): void {
    if (this.#stopping) this.#tellSystemd(`EXTEND_TIMEOUT_USEC=${STOPPING_SIGN_MS * 1_000}`);
    else if (this.#reloader.busy) this.#tellSystemd(`EXTEND_TIMEOUT_USEC=${STOPPING_SIGN_MS * 1_000}`);
    if (!this.#stopping && this.#deps.env["WATCHDOG_USEC"] !== undefined) this.#tellSystemd("WATCHDOG=1");
  }

  #rareDuties(tick: number): void {
    if (tick % RELEASE_EVERY_TICKS === RELEASE_TICK) {
      Bun.gc(true);
      Bun.shrink();
      releaseProgramPages();
    }
    if (tick % REMEMBER_TICKS !== 0) return;
    for (const bot of this.#fleet.all) bot.tick();
    if (!this.#stopping) this.#web?.retry();
    if (!this.#stopping) this.#renewRuntimeFolder();
  }

  /** Somebody cleaned the runtime folder: without their sockets the daemon would not be reached, and the bots not be heard. */
  #renewRuntimeFolder(): void {
    const { runtimeDir } = this.#deps.loaded.dirs;
    if (!existsSync(runtimeDir)) {
      this.#say("warn", `the runtime folder ${runtimeDir} was removed; making it again`);
      ensureDir(runtimeDir, 0o711);
    }
    this.#fleet.reopenSockets();
    const control = statSync(controlSocketPath(runtimeDir), { throwIfNoEntry: false });
    if (control?.isSocket() === true) return;
    this.#say("warn", "the control socket was removed or replaced; opening it again");
    void this.#control?.stop(true);
    this.#openControl();
  }

  #lookForEmergencyFile(): void {
    const { fired, alert } = this.#emergencyFile.look();
    if (alert !== undefined) this.#say("alert", alert);
    if (!fired) return;
    this.emergency({ trigger: "file", reason: `the emergency file ${this.#emergencyFile.path} appeared` });
    this.#consumeFile();
  }

  /** The last known state, for `status` when no daemon answers. */
  async #snapshot(): Promise<void> {
    this.#changed = false;
    try {
      writeStatus(this.#loaded, await this.status());
    } catch (error) {
      this.#say("warn", `cannot write the status: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #say(level: "info" | "warn" | "alert", text: string): void {
    this.#journal.write({ kind: "daemon", level, text });
  }

  #tellSystemd(text: string): void {
    const path = this.#deps.env["NOTIFY_SOCKET"];
    if (path !== undefined) sendNotify(path, text);
  }
}
