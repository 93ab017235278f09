/** The daemon: one state folder, its bots, and the sockets they and people speak to. The one place that news things up. */
import { chownSync, existsSync } from "node:fs";
import { join } from "node:path";
import type { Status } from "../../core/status.ts";
import { detectCgroup, type CgroupSupport } from "../../platform/cgroup.ts";
import { openControllers, removeStaleCgroups, type Controllers } from "../../platform/controllers.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import { ensureDir, writeFileAtomic } from "../../platform/files.ts";
import type { Lock } from "../../platform/lock.ts";
import { sendNotify } from "../../platform/notify-send.ts";
import { openNotifySocket, type NotifySocket } from "../../platform/notify-socket.ts";
import { releaseProgramPages } from "../../platform/memory.ts";
import { lookupGroup } from "../../platform/user.ts";
import { becomeSubreaper, reapOrphans } from "../../platform/subreaper.ts";
import { eventLine } from "../../report/event-text.ts";
import { Backups } from "./backups.ts";
import { Bot, type Order } from "./bot.ts";
import { openBotSocket } from "./bot-socket.ts";
import { controlSocketPath } from "./config/paths.ts";
import type { LoadedConfig } from "./config/load.ts";
import { openControl } from "./control.ts";
import { installationOf, statusFile, takeLock } from "./installation.ts";
import { killAll, livingIn, type Fence } from "./fence.ts";
import { Journal } from "./journal.ts";
import { Pulse } from "./pulse.ts";
import { supervisorStatus } from "./status.ts";
import { accountOf, cannotWait, marksOfRemains, surveyBots, type Remains } from "./survey.ts";
import { EmergencyFile } from "./triggers.ts";
import { openWeb, type Web } from "./web.ts";

/** The daemon's heartbeat, ms: emergency file, orphans, watchdog of systemd, snapshot of the status. */
const TICK_MS = 1_000;
/** Every so many ticks each bot's process tree is looked at. */
const REMEMBER_TICKS = 10;
/** After so many ticks the program pages that only the start needed are given back, and then each minute. */
const RELEASE_TICK = 3;
const RELEASE_EVERY_TICKS = 60;
/** Longest share of one turn that reading a notify socket may take, ms. */
const DRAIN_MS = 5;
/** Longest part of a stack trace that goes into one journal line, characters. */
const MAX_STACK_CHARS = 4_000;
/** Time beyond the bots' own timeouts that the daemon waits for them at its end, ms. */
const SHUTDOWN_MARGIN_MS = 15_000;

/** Time that systemd is to wait for the next sign of life of a daemon that is stopping, ms: many ticks. */
const STOPPING_SIGN_MS = 15_000;

/** Time between two looks whether a close has its worker, ms. */
const LOOK_MS = 50;

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
}

/** Why which bots must not be started, by name. */
interface Held {
  readonly held?: ReadonlyMap<string, string>;
}

export class Daemon {
  readonly #deps: DaemonDeps;
  readonly #lock: Lock;
  readonly #journal: Journal;
  readonly #cgroup: CgroupSupport;
  readonly #controllers: Controllers | undefined;
  readonly #bots = new Map<string, Bot>();
  readonly #notifySockets: NotifySocket[] = [];
  readonly #servers: Stoppable[] = [];
  readonly #pulse: Pulse;
  readonly #emergencyFile: EmergencyFile;
  readonly #hurried = Promise.withResolvers<void>();
  readonly #startedAt: Date;
  readonly #startedAtMs: number;
  readonly #backups: Backups;
  #control: Stoppable | undefined;
  #web: Web | undefined;
  #cancelTick = (): void => {};
  #ticks = 0;
  #changed = true;
  #stopping = false;

  /** Takes the state folder and opens everything but the bots. Throws when another supervisor holds the folder. */
  constructor(deps: DaemonDeps) {
    const { loaded, clock } = deps;
    const { stateDir, runtimeDir, logDir } = loaded.dirs;
    this.#deps = deps;
    this.#startedAt = clock.wallTime();
    this.#startedAtMs = clock.monotonicMs();
    ensureDir(stateDir, 0o711);
    this.#lock = takeLock(join(stateDir, "supervisor.lock"));
    ensureDir(runtimeDir, 0o711);
    ensureDir(logDir, 0o755);
    this.#journal = new Journal(join(stateDir, "journal"), clock);
    this.#journal.follow((entry) => {
      if (entry.level !== "debug") deps.toStderr(eventLine(entry));
    });
    this.#cgroup = detectCgroup();
    // Only where a limit asks for it: handing controllers down moves the supervisor itself into another cgroup.
    const limited = Object.values(loaded.config.bots).some(({ limits }) => limits !== undefined);
    this.#controllers = limited ? openControllers(this.#cgroup) : undefined;
    this.#backups = new Backups({
      ...deps,
      say: (level, text) => this.#say(level, text),
      start: (bot) => this.#bots.get(bot)?.loop.post({ kind: "start" }),
    });
    this.#pulse = new Pulse(clock);
    this.#pulse.onStall((gapMs) => {
      const seconds = Math.round(gapMs / 1_000);
      this.#say("warn", `the supervisor itself stood still for ${seconds} s; every deadline is moved by that time`);
    });
    this.#emergencyFile = new EmergencyFile(loaded.config.emergencyFile, process.getuid?.() ?? 0);
  }

  /** Opens the TCP servers of the config. Throws when it cannot, unless something is alive that must not wait for them. */
  async openWeb({ held }: Held = {}): Promise<void> {
    const { loaded, emergencyAtStart } = this.#deps;
    const { config, dirs } = loaded;
    const ordered = (): boolean => emergencyAtStart || existsSync(config.emergencyFile);
    this.#web = await openWeb({
      config,
      status: () => this.status(),
      pulseAgeMs: () => this.#pulse.ageMs,
      stopping: () => this.#stopping,
      urgent: () => (held?.size ?? 0) > 0 || ordered() || surveyBots(dirs).some(cannotWait),
      say: (level, text) => this.#say(level, text),
    });
  }

  /** Opens the bots and their sockets, then starts what is to be started; `held` says why which bots are not. */
  start({ held = new Map() }: Held = {}): void {
    const { loaded, version } = this.#deps;
    this.#say("info", `supervisor ${version} started with ${loaded.file}, pid ${process.pid}`);
    for (const warning of loaded.warnings) this.#say("warn", warning);
    if (!becomeSubreaper())
      this.#say("warn", "cannot become the parent of orphans: processes that escape may outlive their bot");
    if (this.#cgroup.base === undefined)
      this.#say("info", `no cgroups: ${this.#cgroup.reason}; process trees are swept by parentage and environment`);
    if (this.#controllers !== undefined) removeStaleCgroups(this.#controllers, installationOf(loaded.dirs.stateDir));
    const remains = surveyBots(loaded.dirs);
    const admitted = this.#backups.restores.admit(loaded.config.bots);
    for (const [name, config] of Object.entries(admitted)) this.#addBot(name, config, remains);
    for (const each of remains) this.#endStranded(each);
    this.#openControl();
    this.#pulse.start();
    const emergency = this.#orderAtStart();
    for (const bot of this.#bots.values()) bot.begin({ emergency, held: held.get(bot.plan.name) });
    if (emergency?.trigger === "file") this.#consumeFile();
    this.#tellSystemd(`READY=1\nSTATUS=${this.#bots.size} bots`);
    this.#tick();
  }

  /** An order to close everything that was there before us: then no bot is started first. */
  #orderAtStart(): Order | undefined {
    if (this.#deps.emergencyAtStart)
      return { trigger: "environment", reason: "BOT_EMERGENCY_SHUTDOWN was set when the supervisor started" };
    const found = this.#emergencyFile.look();
    if (found.alert !== undefined) this.#say("alert", found.alert);
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
      bots: this.#bots,
      journal: this.#journal,
      clock,
      env,
      status: () => this.status(),
      stopping: () => this.#stopping,
      version: this.#deps.version,
      restoring: (bot) => this.#backups.restores.holding(bot),
    });
  }

  /** A bot that the config no longer names has nobody to watch it: what lives of it is ended. */
  #endStranded(remains: Remains): void {
    const { name, files, identity, lockout } = remains;
    const accounts = [...this.#bots.values()].map((bot) => bot.plan.account);
    const account = accountOf(remains);
    if (this.#bots.has(name) || (account !== undefined && accounts.includes(account))) return;
    if (lockout !== undefined && lockout.outcome !== "flat")
      this.#say(
        "alert",
        `bot ${name} is not in the config any more, and its emergency did not end flat: look at account ${lockout.account}`,
      );
    const fence = [marksOfRemains(files, identity)];
    const living = livingIn(fence);
    if (living.length === 0) return;
    this.#say("alert", `ending pid ${living.join(", ")} of bot ${name}, which is not in the config any more`);
    void this.#endAll(name, fence);
  }

  async #endAll(name: string, fence: Fence): Promise<void> {
    const survivors = await killAll(fence, this.#deps.clock);
    if (survivors.length > 0) this.#say("alert", `cannot end pid ${survivors.join(", ")} of bot ${name}`);
  }

  status(): Promise<Status> {
    return supervisorStatus({
      ...this.#deps,
      config: this.#deps.loaded.file,
      bots: [...this.#bots.values()],
      backups: this.#backups.status(),
      cgroup: this.#cgroup.mode,
      journalDropped: this.#journal.dropped,
      startedAt: this.#startedAt,
      startedAtMs: this.#startedAtMs,
    });
  }

  /** Closes the positions of every bot that has an emergency section (SIGUSR2, emergency file). */
  emergency(order: Order): void {
    for (const bot of this.#bots.values()) bot.order(order);
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
    const bots = [...this.#bots.values()];
    for (const bot of bots) bot.loop.post({ kind: "stop" });
    await Promise.all(bots.map((bot) => this.#untilDown(bot)));
    await Promise.all(bots.map((bot) => this.#untilClosed(bot)));
    this.#cancelTick();
    this.#pulse.stop();
    if (bots.length > 0) await this.#snapshot();
    for (const bot of bots) bot.shutDown();
    await Promise.all(bots.map((bot) => bot.output.shutDown()));
    for (const server of [this.#web, this.#control, ...this.#servers]) await server?.stop(true);
    for (const socket of this.#notifySockets) socket.close();
    this.#say("info", "supervisor has stopped");
    this.#journal.close();
    this.#lock.release();
  }

  async #untilDown({ loop, plan }: Bot): Promise<void> {
    const down = (): boolean => !["starting", "running", "stopping"].includes(loop.state.kind);
    await loop.settles(down, 3 * plan.policy.stopTimeout + SHUTDOWN_MARGIN_MS);
  }

  /** Until the close has ended, or at least has a worker that goes on without us. */
  async #untilClosed({ loop, plan, emergency }: Bot): Promise<void> {
    if (loop.state.kind !== "recovering") return;
    this.#say("warn", `waiting for the close of ${plan.name}; a second signal leaves it to its worker`);
    const ended = loop.settles((state) => state.kind !== "recovering", plan.config.emergency?.timeout ?? 0);
    await Promise.race([ended, this.#hurried.promise]);
    const { clock } = this.#deps;
    const endMs = clock.monotonicMs() + SHUTDOWN_MARGIN_MS;
    while (loop.state.kind === "recovering" && !emergency.working && clock.monotonicMs() < endMs)
      // oxlint-disable-next-line no-await-in-loop
      await sleep(clock, LOOK_MS);
  }

  /** Puts what no code expected into the journal; never throws. */
  reportInternalError(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#say("alert", `internal error: ${text.slice(0, MAX_STACK_CHARS)}`);
  }

  #addBot(name: string, config: LoadedConfig["config"]["bots"][string], remains: readonly Remains[]): void {
    const { loaded, clock, random, env } = this.#deps;
    let socket: NotifySocket | undefined;
    const bot = new Bot(name, config, loaded.dirs, {
      clock,
      random,
      env,
      journal: this.#journal,
      cgroupBase: this.#cgroup.base,
      controllers: this.#controllers,
      alone: Object.keys(loaded.config.bots).length === 1,
      installation: installationOf(loaded.dirs.stateDir),
      drain: () => void socket?.drain(DRAIN_MS),
      onChange: () => {
        this.#changed = true;
      },
      pulse: this.#pulse,
      remains,
      configured: new Set(Object.keys(loaded.config.bots)),
      onBug: (error) => this.reportInternalError(error),
    });
    const { user } = bot;
    const opened = openNotifySocket({
      path: bot.plan.files.notifySocket,
      mode: 0o600,
      ...(user === undefined ? {} : { owner: user }),
      clock,
      onDatagram: (datagram) => bot.generation?.hear(datagram),
    });
    if ("error" in opened) bot.fact("alert", opened.error);
    else this.#notifySockets.push((socket = opened));
    this.#servers.push(openBotSocket(bot, clock));
    this.#bots.set(name, bot);
  }

  /** Each duty by itself: one that fails must not cost the next, nor the next tick. */
  #tick(): void {
    this.#ticks += 1;
    const duties: readonly (() => void)[] = [
      () => this.#lookForEmergencyFile(),
      ...this.#notifySockets.map((socket) => () => void socket.drain(DRAIN_MS)),
      () => void reapOrphans(this.#deps.clock),
      () => this.#pingSystemd(),
      ...[...this.#bots.values()].map((bot) => () => bot.look()),
      () => this.#rareDuties(),
      () => void (this.#stopping || this.#backups.tick()),
      ...[...this.#bots.values()].map((bot) => () => bot.output.look()),
      () => void (this.#changed && this.#snapshot()),
    ];
    for (const duty of duties) {
      try {
        duty();
      } catch (error) {
        this.reportInternalError(error);
      }
    }
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  /** While it stops, the watchdog is off and TimeoutStopSec= holds: it is moved for as long as this loop turns. */
  #pingSystemd(): void {
    if (this.#stopping) this.#tellSystemd(`EXTEND_TIMEOUT_USEC=${STOPPING_SIGN_MS * 1_000}`);
    else if (this.#deps.env["WATCHDOG_USEC"] !== undefined) this.#tellSystemd("WATCHDOG=1");
  }

  #rareDuties(): void {
    if (this.#ticks % RELEASE_EVERY_TICKS === RELEASE_TICK) {
      Bun.gc(true);
      Bun.shrink();
      releaseProgramPages();
    }
    if (this.#ticks % REMEMBER_TICKS !== 0) return;
    for (const bot of this.#bots.values()) bot.tick();
    if (!this.#stopping) this.#web?.retry();
    // Somebody cleaned the runtime folder: without its socket the daemon would be there and not be reached.
    if (this.#stopping || existsSync(controlSocketPath(this.#deps.loaded.dirs.runtimeDir))) return;
    this.#say("warn", "the control socket was removed; opening it again");
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
    const path = statusFile(this.#deps.loaded.dirs.stateDir);
    try {
      const text = JSON.stringify(await this.status());
      writeFileAtomic(path, `${text}\n`, 0o640);
      this.#giveToControlGroup(path);
    } catch (error) {
      this.#say("warn", `cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Who may ask the daemon may also read its last words. */
  #giveToControlGroup(path: string): void {
    const { group } = this.#deps.loaded.config.control;
    const gid = group === undefined ? undefined : lookupGroup(group);
    if (gid !== undefined) chownSync(path, -1, gid);
  }

  #say(level: "info" | "warn" | "alert", text: string): void {
    this.#journal.write({ kind: "daemon", level, text });
  }

  #tellSystemd(text: string): void {
    const path = this.#deps.env["NOTIFY_SOCKET"];
    if (path !== undefined) sendNotify(path, text);
  }
}
