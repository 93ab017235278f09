/** The daemon: one state folder, its bots, and the sockets they and people speak to. The one place that news things up. */
import { join } from "node:path";
import type { Status } from "../../core/status.ts";
import { detectCgroup, type CgroupSupport } from "../../platform/cgroup.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir, writeFileAtomic } from "../../platform/files.ts";
import type { Lock } from "../../platform/lock.ts";
import { sendNotify } from "../../platform/notify-send.ts";
import { openNotifySocket, type NotifySocket } from "../../platform/notify-socket.ts";
import { releaseProgramPages } from "../../platform/memory.ts";
import { becomeSubreaper, reapOrphans } from "../../platform/subreaper.ts";
import { eventLine } from "../../report/event-text.ts";
import { Bot } from "./bot.ts";
import { openBotSocket } from "./bot-socket.ts";
import { controlSocketPath } from "./config/paths.ts";
import type { LoadedConfig } from "./config/load.ts";
import { openControl } from "./control.ts";
import { installationOf, statusFile, takeLock } from "./installation.ts";
import { Journal } from "./journal.ts";
import { supervisorStatus } from "./status.ts";
import { consumeEmergencyFile, lookAtEmergencyFile } from "./triggers.ts";

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

export interface DaemonDeps {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly toStderr: (line: string) => void;
}

export class Daemon {
  readonly #deps: DaemonDeps;
  readonly #lock: Lock;
  readonly #journal: Journal;
  readonly #cgroup: CgroupSupport;
  readonly #bots = new Map<string, Bot>();
  readonly #notifySockets: NotifySocket[] = [];
  readonly #servers: { stop: (closeActive?: boolean) => unknown }[] = [];
  readonly #startedAt: Date;
  readonly #startedAtMs: number;
  #cancelTick = (): void => {};
  #ticks = 0;
  #changed = true;
  #refusedFile: string | undefined;
  #fileFired = false;

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
  }

  /** Opens the bots and their sockets, then starts what is to be started. */
  start(): void {
    const { loaded, env, version } = this.#deps;
    this.#say("info", `supervisor ${version} started with ${loaded.file}, pid ${process.pid}`);
    for (const warning of loaded.warnings) this.#say("warn", warning);
    if (!becomeSubreaper())
      this.#say("warn", "cannot become the parent of orphans: processes that escape may outlive their bot");
    if (this.#cgroup.base === undefined)
      this.#say("info", `no cgroups: ${this.#cgroup.reason}; process trees are swept by parentage and environment`);
    for (const [name, config] of Object.entries(loaded.config.bots)) this.#addBot(name, config);
    this.#servers.push(
      openControl({
        path: controlSocketPath(loaded.dirs.runtimeDir),
        group: loaded.config.control.group,
        bots: this.#bots,
        journal: this.#journal,
        clock: this.#deps.clock,
        env,
        status: () => this.status(),
      }),
    );
    const emergency = env["BOT_EMERGENCY_SHUTDOWN"] === "true";
    for (const bot of this.#bots.values()) bot.begin({ emergency });
    this.#tellSystemd(`READY=1\nSTATUS=${this.#bots.size} bots`);
    this.#tick();
  }

  status(): Promise<Status> {
    return supervisorStatus({
      ...this.#deps,
      config: this.#deps.loaded.file,
      bots: [...this.#bots.values()],
      cgroup: this.#cgroup.mode,
      journalDropped: this.#journal.dropped,
      startedAt: this.#startedAt,
      startedAtMs: this.#startedAtMs,
    });
  }

  /** Closes the positions of every bot that has an emergency section (SIGUSR2, emergency file). */
  emergency(trigger: "signal" | "file", reason: string): void {
    for (const bot of this.#bots.values()) {
      if (bot.plan.policy.emergency === undefined) bot.fact("alert", `${reason}; this bot has no emergency section`);
      else bot.loop.post({ kind: "emergency", trigger, reason });
    }
  }

  /** Stops every bot politely and lets go of the folder. A close that is under way goes on in its own process. */
  async shutDown(reason: string): Promise<void> {
    this.#say("info", `supervisor is stopping: ${reason}`);
    this.#tellSystemd("STOPPING=1");
    const bots = [...this.#bots.values()];
    for (const bot of bots) bot.loop.post({ kind: "stop" });
    await Promise.all(
      bots.map((bot) => {
        const { stopTimeout } = bot.plan.policy;
        const down = (): boolean => !["starting", "running", "stopping"].includes(bot.loop.state.kind);
        return bot.loop.settles(down, 3 * stopTimeout + SHUTDOWN_MARGIN_MS);
      }),
    );
    this.#cancelTick();
    await this.#snapshot();
    for (const bot of bots) bot.shutDown();
    for (const server of this.#servers) await server.stop(true);
    for (const socket of this.#notifySockets) socket.close();
    this.#say("info", "supervisor has stopped");
    this.#journal.close();
    this.#lock.release();
  }

  /** Puts what no code expected into the journal; never throws. */
  reportInternalError(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#say("alert", `internal error: ${text.slice(0, MAX_STACK_CHARS)}`);
  }

  #addBot(name: string, config: LoadedConfig["config"]["bots"][string]): void {
    const { loaded, clock, random, env } = this.#deps;
    let socket: NotifySocket | undefined;
    const bot = new Bot(name, config, loaded.dirs, {
      clock,
      random,
      env,
      journal: this.#journal,
      cgroupBase: this.#cgroup.base,
      alone: Object.keys(loaded.config.bots).length === 1,
      installation: installationOf(loaded.dirs.stateDir),
      drain: () => void socket?.drain(DRAIN_MS),
      onChange: () => {
        this.#changed = true;
      },
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

  #tick(): void {
    this.#ticks += 1;
    for (const socket of this.#notifySockets) socket.drain(DRAIN_MS);
    reapOrphans(this.#deps.clock);
    this.#lookForEmergencyFile();
    if (this.#ticks % REMEMBER_TICKS === 0) for (const bot of this.#bots.values()) bot.tick();
    if (this.#ticks % RELEASE_EVERY_TICKS === RELEASE_TICK) {
      Bun.gc(true);
      releaseProgramPages();
    }
    if (this.#deps.env["WATCHDOG_USEC"] !== undefined) this.#tellSystemd("WATCHDOG=1");
    if (this.#changed) void this.#snapshot();
    this.#cancelTick = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  #lookForEmergencyFile(): void {
    const path = this.#deps.loaded.config.emergencyFile;
    const found = lookAtEmergencyFile(path, process.getuid?.() ?? 0);
    if (found.kind === "present" && !this.#fileFired) {
      this.emergency("file", `the emergency file ${path} appeared`);
      // Removed only now: the order is in the lockouts on disk, so it outlives us from here on.
      const trouble = consumeEmergencyFile(path);
      if (trouble !== undefined) this.#say("alert", trouble);
    }
    // A file that could not be removed fires once, not each second.
    this.#fileFired = found.kind === "present";
    const refused = found.kind === "refused" ? found.reason : undefined;
    if (refused !== undefined && refused !== this.#refusedFile) this.#say("alert", refused);
    this.#refusedFile = refused;
  }

  /** The last known state, for `status` when no daemon answers. */
  async #snapshot(): Promise<void> {
    this.#changed = false;
    const path = statusFile(this.#deps.loaded.dirs.stateDir);
    try {
      const text = JSON.stringify(await this.status());
      writeFileAtomic(path, `${text}\n`, 0o644);
    } catch (error) {
      this.#say("warn", `cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`);
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
