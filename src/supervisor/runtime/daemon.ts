/** The daemon: one state folder, its bots, and the sockets they and people speak to. The one place that news things up. */
import { join } from "node:path";
import type { ReloadAnswer } from "../../core/reload.ts";
import type { Status } from "../../core/status.ts";
import { detectCgroup, type CgroupSupport } from "../../platform/cgroup.ts";
import { openControllers, removeStaleCgroups, viewCgroups, type Controllers } from "../../platform/controllers.ts";
import type { Clock } from "../../platform/clock.ts";
import { Census } from "../../platform/census.ts";
import { becomeSubreaper } from "../../platform/subreaper.ts";
import { readMachineClocks } from "../../platform/machine-clocks.ts";
import { Backups } from "./backups.ts";
import type { Order } from "../../core/first-act.ts";
import type { LoadedConfig } from "./config/load.ts";
import { dutiesOf, type DutiesDeps } from "./duties.ts";
import { endOfBoot } from "./boot.ts";
import { endBots } from "./end-bots.ts";
import { installationOf } from "./installation.ts";
import { Fleet } from "./fleet.ts";
import { FolderWatch } from "./folder-watch.ts";
import { Journal } from "./journal.ts";
import { endedCleanly, interruptedOrder, STOPPED_TEXT, type InterruptedOrder } from "./journal-reader.ts";
import { knownSecrets } from "./known-secrets.ts";
import { Listeners } from "./listeners.ts";
import { watchMachine, type MachineWatch } from "./machine-watch.ts";
import { MaintenanceWatch } from "./maintenance.ts";
import type { Mirror } from "./mirror.ts";
import { bugText } from "./narrate.ts";
import { OrderWatch } from "./order-watch.ts";
import { Pulse } from "./pulse.ts";
import { readyText, ServiceManager } from "./service-manager.ts";
import { StartOrder } from "./start-order.ts";
import { supervisorStatus, writeStatus } from "./status.ts";
import { isUnsafe, surveyBots } from "./survey.ts";
import { tellEvents } from "./tell-events.ts";
import { Reloader, ReloadRefusal } from "./reload/reloader.ts";
import type { ReloadPlan } from "./reload/plan.ts";
import { takeProcesses, type Handover } from "./handover.ts";
import { Ticker } from "./ticker.ts";
import { Upgrader } from "./upgrade.ts";

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
  readonly #folder: FolderWatch;
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
  readonly #orders: OrderWatch;
  readonly #interrupted: InterruptedOrder | undefined;
  readonly #hurried = Promise.withResolvers<void>();
  readonly #begun: { readonly startedAt: Date; readonly startedAtMs: number };
  readonly #backups: Backups;
  readonly #listeners: Listeners;
  readonly #serviceManager: ServiceManager;
  #order: StartOrder | undefined;
  readonly #ticker: Ticker;
  #changed = true;
  /** One bot, and nothing else is at stake, when the supervisor starts. */
  #alone = false;
  #started = false;
  #stopping = false;

  /** Takes the state folder and opens everything but the bots. Throws when another supervisor holds the folder. */
  constructor(deps: DaemonDeps) {
    const { loaded, clock } = deps;
    const { stateDir } = loaded.dirs;
    this.#deps = deps;
    this.#begun = { startedAt: clock.wallTime(), startedAtMs: clock.monotonicMs() };
    this.#folder = new FolderWatch({
      dirs: loaded.dirs,
      inherited: deps.handover?.lockFd,
      journal: () => this.#journal,
      bots: () => this.#fleet.all,
      say: (level, text) => this.#say(level, text),
    });
    this.#interrupted = interruptedOrder(join(stateDir, "journal"));
    const clean = this.#folder.died === undefined && endedCleanly(join(stateDir, "journal"));
    this.#journal = new Journal(join(stateDir, "journal"), clock);
    this.#mirror = tellEvents(this.#journal, { toStderr: deps.toStderr, file: loaded.config.logFile, clock });
    for (const text of this.#folder.said) this.#say("alert", text);
    if (this.#folder.died !== undefined) this.#say("warn", this.#folder.died);
    this.#cgroup = detectCgroup();
    this.#openControllers(loaded);
    this.#backups = new Backups({
      ...deps,
      say: (level, text) => this.#say(level, text),
      start: (name) => this.#fleet.startAfterRestore(name),
      startWaiting: () => this.#fleet.startWaiting(),
    });
    this.#pulse = new Pulse(clock);
    this.#ticker = new Ticker({
      clock,
      duties: (tick) => dutiesOf(this.#dutiesDeps(), tick),
      onError: (error) => this.reportInternalError(error),
      onOver: (message) => this.#say("info", `what failed works again: ${message}`),
    });
    this.#machine = watchMachine(clock, this.#pulse, this.#cgroup.base, (level, text) => this.#say(level, text));
    this.#maintenance = new MaintenanceWatch({
      stateDir,
      clock,
      say: (level, text) => this.#say(level, text),
      onChange: () => this.#renewPolicies(),
    });
    this.#fleet = this.#createFleet(clean);
    this.upgrader = this.#createUpgrader();
    this.#orders = this.#createOrders();
    this.#listeners = this.#createListeners();
    this.#serviceManager = new ServiceManager(deps.env);
    this.#loaded = loaded;
    this.#reloader = new Reloader({
      fleet: this.#fleet,
      clock,
      current: () => this.#loaded,
      adopt: (next, plan) => this.#adoptConfig(next, plan),
      stopping: () => this.#stopping,
      obstacle: () => this.#folder.obstacle ?? this.#backups.restores.obstacle(this.#fleet.bots.keys()),
      say: (level, text) => this.#say(level, text),
      onBusy: (busy) => this.#serviceManager.tell(busy ? "RELOADING=1" : readyText(this.#fleet.bots.size)),
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
    if (changed("emergencyFile")) this.#orders.follow(loaded.config.emergencyFile);
    if (changed("backups")) this.#backups.adopt(loaded);
    if (!changed("http") && !changed("metrics")) return;
    await this.#listeners.closeWeb();
    if (!this.#stopping) await this.#listeners.openWeb();
  }

  /** Opens the TCP servers of the config. */
  async openWeb(): Promise<void> {
    await this.#listeners.openWeb();
  }

  /** Opens the bots and their sockets, then starts what is to be started; `held` says why which bots are not. */
  start({ held = new Map() }: Held = {}): void {
    const { loaded, version, handover } = this.#deps;
    this.#say("info", `supervisor ${version} started with ${loaded.file}, pid ${process.pid}`);
    if (handover !== undefined) this.#say("info", `upgraded from ${handover.from} to ${version}`);
    for (const warning of loaded.warnings) this.#say("warn", warning);
    if (!becomeSubreaper())
      this.#say("warn", "cannot become the parent of orphans: processes that escape may outlive their bot");
    if (handover !== undefined) takeProcesses(handover, this.#deps.clock, this.#backups.kept);
    if (this.#cgroup.base === undefined)
      this.#say("info", `no cgroups: ${this.#cgroup.reason}; process trees are swept by parentage and environment`);
    removeStaleCgroups(installationOf(loaded.dirs));
    const remains = surveyBots(loaded.dirs);
    this.#backups.restores.begin();
    const census = new Census();
    const configured = new Set(Object.keys(loaded.config.bots));
    this.#alone = configured.size === 1 && this.#interrupted === undefined && !remains.some(isUnsafe);
    this.#fleet.addAll(Object.values(loaded.config.bots), { remains, configured, census });
    for (const each of remains) this.#fleet.endStranded(each);
    this.#listeners.openControl();
    this.#pulse.start();
    const emergency = this.#orders.atStart();
    for (const bot of this.#fleet.all) {
      const { name, config } = bot.plan;
      const taken = this.#interrupted?.bot === name ? this.#interrupted : undefined;
      // One that is for bots that can be closed says nothing to a bot whose section was removed since its order was taken.
      const order = config.emergency === undefined ? (taken ?? emergency) : (emergency ?? taken);
      bot.begin({ emergency: order, held: held.get(name), waitsFor: config.after, census });
    }
    this.#order = new StartOrder(this.#fleet.bots, this.#deps.clock);
    if (emergency !== undefined) this.#orders.consume(emergency);
    if (handover !== undefined) this.upgrader.noteOrder(emergency?.reason);
    this.#serviceManager.tell(readyText(this.#fleet.bots.size));
    this.#started = true;
    this.#alone = false;
    this.#ticker.start();
  }

  /** `clean`: an earlier supervisor has ended its bots. */
  #createFleet(clean: boolean): Fleet {
    const deps = this.#deps;
    return new Fleet({
      ...deps,
      dirs: deps.loaded.dirs,
      journal: this.#journal,
      cgroupBase: this.#cgroup.base,
      controllers: () => this.#controllers,
      pulse: this.#pulse,
      machine: this.#machine,
      suspended: () => this.#maintenance.active,
      foreign: () => this.#folder.foreign,
      bootEndsAtMs: endOfBoot(deps.clock, readMachineClocks()?.boottimeMs),
      // Of the bots of the start: one that a reload takes in later begins anew.
      carried: (name) => (this.#started ? undefined : deps.handover?.bots[name]),
      // One that a reload takes in later was let go of by this supervisor.
      endedCleanly: () => this.#started || clean,
      holdsDoubtful: () => !this.#alone,
      restoring: (bot) => this.#backups.restores.held(bot),
      onChange: () => {
        this.#changed = true;
        this.#order?.poke();
      },
      secrets: () => knownSecrets(this.#loaded.config, deps.env),
      onBug: (error) => this.reportInternalError(error),
    });
  }

  #createListeners(): Listeners {
    const { loaded } = this.#deps;
    return new Listeners({
      ...this.#deps,
      runtimeDir: loaded.dirs.runtimeDir,
      group: loaded.config.control.group,
      config: () => this.#loaded.config,
      bots: this.#fleet.bots,
      journal: this.#journal,
      status: () => this.status(),
      pulseAgeMs: () => this.#pulse.ageMs,
      configRead: () => this.#reloader.lastRead,
      stopping: () => this.#stopping,
      reload: (options) => this.reload(options),
      upgrader: this.upgrader,
      maintenance: this.#maintenance,
      foreign: () => this.#folder.foreign,
      restoring: (bot) => this.#backups.restores.holding(bot),
      absence: (bot) => this.#reloader.absenceOf(bot),
      cgroups: () => viewCgroups(this.#cgroup, this.#controllers),
      say: (level, text) => this.#say(level, text),
    });
  }

  #createOrders(): OrderWatch {
    const { loaded, emergencyAtStart } = this.#deps;
    return new OrderWatch({
      path: loaded.config.emergencyFile,
      switchedOn: emergencyAtStart,
      suspended: () => this.#maintenance.active,
      order: (order) => this.emergency(order),
      alert: (text) => this.#say("alert", text),
    });
  }

  #createUpgrader(): Upgrader {
    return new Upgrader({
      ...this.#deps,
      bots: this.#fleet.bots,
      folder: this.#folder,
      stopping: () => this.#stopping,
      unsettled: () => this.#reloader.unsettled,
      drain: () => this.#fleet.drains().forEach((drain) => drain()),
      snapshot: () => this.#snapshot(),
      say: (level, text) => this.#say(level, text),
      tellSystemd: (text) => this.#serviceManager.tell(text),
    });
  }

  #dutiesDeps(): DutiesDeps {
    return {
      clock: this.#deps.clock,
      orders: this.#orders,
      machine: this.#machine,
      maintenance: this.#maintenance,
      fleet: this.#fleet,
      serviceManager: this.#serviceManager,
      startOrder: () => this.#order,
      backups: this.#backups,
      listeners: this.#listeners,
      retryMissing: () => this.#reloader.retryMissing(),
      phase: () => ({ stopping: this.#stopping, reloading: this.#reloader.busy }),
      folder: this.#folder,
      journal: this.#journal,
      keepStatus: () => void (this.#changed && this.#snapshot()),
    };
  }

  async status(): Promise<Status> {
    await this.#backups.disks.look();
    return supervisorStatus({
      ...this.#deps,
      config: this.#deps.loaded.file,
      bots: this.#fleet.all,
      backups: this.#backups.status(),
      drill: this.#backups.drills.status(),
      cgroup: this.#cgroup.mode,
      journal: this.#journal,
      stateFolder: this.#folder.trouble,
      listen: this.#listeners.trouble,
      missing: this.#reloader.missing,
      ...this.#begun,
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
  async shutDown(reason: string, level: "info" | "alert" = "info"): Promise<void> {
    this.#stopping = true;
    this.#say(level, `supervisor is stopping: ${reason}`);
    this.#serviceManager.tell("STOPPING=1");
    const bots = this.#fleet.all;
    this.#order?.close();
    const archived = this.#backups.end();
    await endBots(bots, { ...this.#deps, hurried: this.#hurried.promise, say: this.#say.bind(this) });
    await Promise.all(bots.map((bot) => bot.guard.watch.rest()));
    await archived;
    this.#ticker.stop();
    this.#pulse.stop();
    if (this.#started) for (const { turn } of bots) turn.stop.forget();
    if (bots.length > 0) await this.#snapshot();
    await this.#fleet.shutDown();
    await this.#listeners.close();
    await this.#fleet.closeSockets();
    this.#say("info", this.#started ? STOPPED_TEXT : "supervisor has ended without having begun");
    this.#mirror.flush();
    this.#journal.close();
    this.#folder.release();
  }

  /** Maintenance has begun or ended. */
  #renewPolicies(): void {
    this.#changed = true;
    for (const bot of this.#fleet.all) bot.renewPolicy();
  }

  /** Puts what no code expected into the journal; never throws. */
  reportInternalError(error: unknown): void {
    this.#say("alert", bugText(error));
  }

  /** The last known state, for `status` when no daemon answers. */
  async #snapshot(): Promise<void> {
    this.#changed = false;
    if (this.#folder.foreign) return;
    try {
      writeStatus(this.#loaded, await this.status());
    } catch (error) {
      this.#say("warn", `cannot write the status: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #say(level: "info" | "warn" | "alert", text: string): void {
    this.#journal.write({ kind: "daemon", level, text });
  }
}
