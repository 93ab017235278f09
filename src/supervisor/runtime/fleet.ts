/** The bots of one daemon with the sockets that each of them has: who is in it, who comes, who goes, and what earlier configs left. */
import type { Server } from "bun";
import type { CarriedBot } from "../../core/upgrade.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Controllers } from "../../platform/controllers.ts";
import { openNotifySocket } from "../../platform/notify-socket.ts";
import { Census } from "../../platform/census.ts";
import { Bot } from "./bot.ts";
import { openBotSocket, openBotSockets } from "./bot-socket.ts";
import { BotSockets } from "./bot-sockets.ts";
import type { BotConfig, Dirs } from "./config/load.ts";
import { doubtfulIn, doubtText, killAll, livingIn, livingText, type Fence } from "./fence.ts";
import { installationOf } from "./installation.ts";
import type { Journal } from "./journal.ts";
import type { KnownSecrets } from "./known-secrets.ts";
import type { MachineWatch } from "./machine-watch.ts";
import type { Pulse } from "./pulse.ts";
import { SharedFolders } from "./shared-folders.ts";
import { accountOf, marksOfRemains, supervisedElsewhere, type Remains } from "./survey.ts";
import type { Held } from "./restores.ts";

/** Bots whose processes are compared with all of the machine in one turn, some 0.2 ms each. */
const FORGOTTEN_AT_ONCE = 10;

export interface FleetDeps {
  readonly dirs: Dirs;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly journal: Journal;
  /** Folder below which bots get their cgroup; `undefined` where there is none. */
  readonly cgroupBase: string | undefined;
  /** Where the cgroups for limits are made; `undefined` while no bot has limits. */
  readonly controllers: () => Controllers | undefined;
  readonly pulse: Pulse;
  readonly machine: MachineWatch;
  readonly suspended: () => boolean;
  readonly bootEndsAtMs: number | undefined;
  /** What an earlier version in this process handed over of the bot. */
  readonly carried: (name: string) => CarriedBot | undefined;
  /** As in `BotDeps`. */
  readonly foreign: () => boolean;
  readonly endedCleanly: () => boolean;
  /** As in `BotDeps`. */
  readonly holdsDoubtful: () => boolean;
  /** As in `BotDeps`. */
  readonly restoring: (bot: string) => Held | undefined;
  /** Something that status shows has changed. */
  readonly onChange: () => void;
  /** As in `BotDeps`. */
  readonly version: string;
  readonly secrets: () => KnownSecrets;
  /** Something threw that should not. */
  readonly onBug: (error: unknown) => void;
}

/** What is known of the machine when a bot comes. */
interface Newcomer {
  readonly remains: readonly Remains[];
  readonly configured: ReadonlySet<string>;
  /** Who lives now; left out, it is looked up. */
  readonly census?: Census;
  readonly shared?: SharedFolders;
  /** Of a bot that was let go of, and is to be as it was. */
  readonly carried?: CarriedBot | undefined;
}

interface Member {
  readonly bot: Bot;
  readonly sockets: BotSockets;
}

export class Fleet {
  readonly #deps: FleetDeps;
  readonly #installation: string;
  readonly #members = new Map<string, Member>();
  readonly #bots = new Map<string, Bot>();

  constructor(deps: FleetDeps) {
    this.#deps = deps;
    this.#installation = installationOf(deps.dirs);
  }

  /** The bots by name; the same map for the life of the fleet. */
  get bots(): ReadonlyMap<string, Bot> {
    return this.#bots;
  }

  get all(): readonly Bot[] {
    return [...this.#bots.values()];
  }

  /** Takes a bot in and opens its sockets; it is not begun. `configured`: the names of all bots of the config. Throws as `Bot` does. */
  add(config: BotConfig, newcomer: Newcomer): Bot {
    const bot = this.#create(config, newcomer);
    let sockets: BotSockets | undefined;
    try {
      sockets = this.#socketsOf(bot);
      this.#take(bot, sockets);
      return bot;
    } catch (cause) {
      // One that cannot be spoken to is not there: nothing of it is to hear, look or hold the account on.
      this.#members.delete(bot.plan.name);
      this.#bots.delete(bot.plan.name);
      void sockets?.close();
      bot.loop.retire();
      bot.guard.release();
      bot.shutDown();
      throw cause;
    }
  }

  /** As `add`, for several, with what can be done once for all of them. */
  addAll(configs: readonly BotConfig[], newcomer: Newcomer): void {
    const shared = new SharedFolders();
    const bots = configs.map((config) => this.#create(config, { ...newcomer, shared }));
    const members = bots.map((bot) => ({ bot, sockets: this.#socketsOf(bot) }));
    const servers = openBotSockets(bots, this.#deps.clock);
    for (const [index, { bot, sockets }] of members.entries()) this.#take(bot, sockets, servers[index]);
  }

  /** Starts a bot that a restore which was broken off had stopped, unless a person has stopped it meanwhile. */
  startAfterRestore(name: string): void {
    const bot = this.#bots.get(name);
    if (bot === undefined || bot.leaving || bot.turn.staysDown || bot.doubt.text !== undefined) return;
    bot.loop.post({ kind: "start" });
  }

  /** A restore has ended: those whose first start it put off come to their turn. */
  startWaiting(): void {
    for (const { turn } of this.all) if (turn.waitsForRestore !== undefined) turn.come();
  }

  #create(config: BotConfig, { remains, configured, census, shared, carried }: Newcomer): Bot {
    const { dirs, controllers } = this.#deps;
    const { name } = config;
    const members = this.#members;
    return new Bot(name, config, dirs, {
      ...this.#deps,
      configured,
      carried: carried ?? this.#deps.carried(name),
      endedCleanly: this.#deps.endedCleanly(),
      holdsDoubtful: this.#deps.holdsDoubtful(),
      ...(census === undefined ? {} : { census }),
      ...(shared === undefined ? {} : { shared }),
      get alone() {
        return configured.size === 1 && members.size === 1;
      },
      get controllers() {
        return controllers();
      },
      installation: this.#installation,
      drain: () => members.get(name)?.sockets.drain(),
      remains,
    });
  }

  #take(bot: Bot, sockets: BotSockets, server?: Server<undefined>): void {
    const { name } = bot.plan;
    sockets.serve(server);
    this.#members.set(name, { bot, sockets });
    this.#bots.set(name, bot);
  }

  #socketsOf(bot: Bot): BotSockets {
    const { user } = bot;
    const { clock } = this.#deps;
    const { notifySocket, socket } = bot.plan.files;
    return new BotSockets({
      paths: { notify: notifySocket, server: socket },
      openNotify: () =>
        openNotifySocket({
          path: notifySocket,
          mode: 0o600,
          ...(user === undefined ? {} : { owner: user }),
          clock,
          onDatagram: (datagram) => bot.generation?.hear(datagram),
        }),
      openServer: () => openBotSocket(bot, clock),
      renewSigns: () => bot.renewSigns(),
      say: (level, text) => bot.fact(level, text),
    });
  }

  /** Opens anew the sockets of bots that somebody has removed or moved away. Never throws. */
  reopenSockets(): void {
    for (const { sockets } of this.#members.values()) sockets.look();
  }

  /** Each second, a few bots that have been begun: what earlier days have not left alive is not looked for at their ends. */
  forgetEarlier(): void {
    const due = this.all.filter((bot) => bot.process.doubtsEarlier).slice(0, FORGOTTEN_AT_ONCE);
    if (due.length === 0) return;
    const census = new Census();
    for (const bot of due) bot.process.forgetEarlier(census);
  }

  /**
   * Lets go of a bot of which nothing lives; resolves when its sockets are closed. With `forgetsStop`, whoever takes it in again says anew
   * whether it runs. Also when it throws, which says what of the bot could not be ended, the fleet does not have it any more.
   */
  async remove(bot: Bot, { forgetsStop }: { readonly forgetsStop: boolean }): Promise<void> {
    const { name } = bot.plan;
    const member = this.#members.get(name);
    if (member?.bot !== bot) return;
    bot.loop.retire();
    bot.guard.release();
    // Before whatever may fail: one that hears nothing any more must not stand in the place of the next.
    this.#members.delete(name);
    this.#bots.delete(name);
    this.#deps.onChange();
    const ends = [
      () => bot.shutDown(),
      () => (forgetsStop ? bot.turn.stop.forget() : undefined),
      () => member.sockets.close(),
      () => bot.output.shutDown(),
      () => bot.dumps.shutDown(),
    ];
    const ended = await Promise.allSettled(ends.map(async (end) => end()));
    const failed = ended.flatMap((each) => (each.status === "rejected" ? [messageOf(each.reason)] : []));
    if (failed.length > 0) throw new Error(failed.join("; "));
  }

  /** Reads what waits in the bots' notify sockets: one deed for each, so that one that fails costs no other. */
  drains(): readonly (() => void)[] {
    return [...this.#members.values()].map(
      ({ sockets }) =>
        () =>
          sockets.drain(),
    );
  }

  /** Decides nothing any more and closes the sockets; what runs is left as it is. */
  async shutDown(): Promise<void> {
    for (const bot of this.all) bot.shutDown();
    await Promise.all(this.all.flatMap((bot) => [bot.output.shutDown(), bot.dumps.shutDown()]));
  }

  async closeSockets(): Promise<void> {
    for (const { sockets } of this.#members.values()) {
      // Safe: one server after the other, in the order of the bots.
      // oxlint-disable-next-line no-await-in-loop
      await sockets.close();
    }
  }

  /** A bot that the config no longer names has nobody to watch it: what lives of it is ended. */
  endStranded(remains: Remains): void {
    const { name, files, identity, lockout } = remains;
    const account = accountOf(remains);
    const taken = account !== undefined && this.all.some(({ plan }) => plan.account === account);
    if (this.#bots.has(name) || taken) return;
    if (lockout !== undefined && lockout.outcome !== "flat")
      this.#alert(
        `bot ${name} is not in the config any more, and its emergency did not end flat: look at account ${lockout.account}`,
      );
    const elsewhere = supervisedElsewhere(files, identity);
    if (elsewhere !== undefined)
      this.#alert(
        `pid ${elsewhere.pid} is bot ${name}, which ${elsewhere.doubt === undefined ? "another supervisor runs: it is left alone" : `another supervisor may run: it is left alone, end it if none does; ${elsewhere.doubt}`}`,
      );
    const fence = [marksOfRemains(files, elsewhere === undefined ? identity : undefined)];
    const census = new Census();
    const living = livingIn(fence, census);
    if (living.length === 0) return this.#tellDoubt(name, doubtfulIn(fence, census), fence);
    this.#alert(`ending ${livingText(living, fence)} of bot ${name}, which is not in the config any more`);
    void this.#endAll(name, fence);
  }

  async #endAll(name: string, fence: Fence): Promise<void> {
    const survivors = await killAll(fence, this.#deps.clock);
    if (survivors.length === 0) return;
    this.#alert(`cannot end ${livingText(survivors, fence)} of bot ${name}`);
    this.#tellDoubt(name, survivors, fence);
  }

  #tellDoubt(name: string, pids: readonly number[], fence: Fence): void {
    const text = doubtText(pids, fence);
    if (text !== undefined) this.#alert(`bot ${name} is not in the config any more: ${text}`);
  }

  #alert(text: string): void {
    this.#deps.journal.write({ kind: "daemon", level: "alert", text });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
