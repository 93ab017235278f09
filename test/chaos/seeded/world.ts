/** What the seeded faults happen to: one daemon, five bots, a paper account and a web server; and what must be true of them when it is quiet. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BotStatus } from "../../../src/core/status.ts";
import { isLive, readEnvironText } from "../../../src/platform/proc.ts";
import { script } from "../fixture.ts";
import { CREDENTIALS, emergencyAt, Rig, until, type BotSettings } from "../harness.ts";
import { checkJournal } from "../invariants.ts";
import { startPaper, type Paper } from "../paper.ts";
import { processesIn, processesOfBot } from "../processes.ts";
import { readJournal } from "../../../src/supervisor/runtime/journal-reader.ts";
import { limitLieOf, limitsSection, type SeededLimits } from "./limit-faults.ts";
import { startMoodyServer, type MoodyServer } from "./moody-server.ts";
import { watchForDoubles, type DoubleWatch } from "./doubles.ts";

/** Longest time until everything is as it should be again after a fault, ms. */
const QUIET_MS = 60_000;
/** Bounds of the daemon: far above what it needs, far below what a leak would reach in a run. */
const MAX_OPEN_FILES = 200;
const MAX_RSS_BYTES = 250 * 1024 ** 2;
/** More entries than a run has. */
const MAX_ENTRIES = 1_000_000;
/** Text of a file that is searched for secrets, bytes. */
const MAX_SEARCHED_BYTES = 64 * 1024 ** 2;
const TOO_MANY = " -1003 ";
/** Size of the disk that the journal is on, KiB: some ten minutes of it. */
const JOURNAL_DISK_KIB = 16_384;

const BOTS = ["trader", "beater", "parent", "web", "clumsy"] as const;
type BotName = (typeof BOTS)[number];

export class World implements AsyncDisposable {
  readonly rig: Rig;
  readonly paper: Paper;
  readonly server: MoodyServer;
  /** The journal is on a small disk of its own. */
  readonly hasSmallDisk: boolean;
  /** Bots that only a person may start again. */
  readonly locked = new Set<BotName>();
  readonly #doubles: DoubleWatch;
  readonly #bots: Readonly<Record<BotName, BotSettings>>;
  readonly #limits = new Map<BotName, SeededLimits>([["clumsy", { memoryMib: 1_024, pids: 4_000 }]]);
  readonly #generations = new Map<string, number>();
  #journalSince = "";
  #journalGaps = false;
  #recounts = false;
  #saidBefore = 0;

  private constructor(rig: Rig, paper: Paper, server: MoodyServer) {
    this.rig = rig;
    this.paper = paper;
    this.server = server;
    this.#bots = botsOf(rig, paper, server);
    this.hasSmallDisk = mountSmallDisk(rig.state("journal"));
    this.#doubles = watchForDoubles(rig.folder, BOTS);
  }

  static async open(binary: string): Promise<World> {
    const paper = await startPaper();
    const server = startMoodyServer();
    const rig = new Rig({ binary });
    const world = new World(rig, paper, server);
    world.#configure();
    try {
      await rig.run();
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A bot by chance; a locked one has no process to hurt. */
  pick(roll: number): BotName {
    const names = BOTS.filter((name) => !this.locked.has(name));
    return names[Math.floor(roll * names.length)] ?? "beater";
  }

  async pidOf(name: BotName): Promise<number> {
    const { pid } = await this.rig.bot(name);
    if (pid === null) throw new Error(`${name} has no process to hurt`);
    return pid;
  }

  #configure(): void {
    const withLimits = Object.entries(this.#bots).map(([name, bot]) => {
      const known = BOTS.find((each) => each === name);
      const limits = limitsSection((known && this.#limits.get(known)) ?? {});
      return [name, limits === undefined ? bot : { ...bot, limits }];
    });
    this.rig.configure(Object.fromEntries(withLimits));
  }

  /** Writes the config with these limits of a bot. */
  limit(name: BotName, limits: SeededLimits): void {
    this.#limits.set(name, limits);
    this.#configure();
  }

  /** Kills the daemon, lets `meanwhile` happen, and starts the next one. */
  async replaceDaemon(meanwhile: () => unknown = () => {}, env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.rig.endDaemon("SIGKILL");
    await meanwhile();
    await this.rig.run(env);
  }

  /** The journal was spoiled, or its disk was full: what came before this moment is not judged. */
  forgiveJournal(): void {
    this.#journalSince = new Date().toISOString();
    this.#journalGaps = true;
  }

  /** The identity was spoiled: generations count from 1 again. */
  forgiveGenerations(): void {
    this.#generations.clear();
    this.#recounts = true;
  }

  /** A daemon without descriptors says so as an internal error. */
  forgiveWords(): void {
    this.#saidBefore = this.rig.read("daemon.err").length;
  }

  /** Waits until every bot is as it should be. */
  async untilQuiet(): Promise<void> {
    let last = "no answer";
    await until(
      "quiet",
      async () => {
        const status = await this.rig.status().catch(() => undefined);
        if (status === undefined) return false;
        last = status.bots.map(({ name, state, reason }) => `${name} ${state} ${reason ?? ""}`).join(", ");
        return status.bots.every((bot) => this.#isAsItShould(bot));
      },
      QUIET_MS,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; last: ${last}`, { cause: error });
    });
  }

  #isAsItShould({ name, state, pid }: BotStatus): boolean {
    if (BOTS.some((known) => known === name && this.locked.has(known))) return state === "locked";
    // A daemon that has not yet heard of the end of its bot is not through with it.
    return state === "running" && pid !== null && isLive(pid);
  }

  /** Throws for the first invariant that does not hold. */
  async check(): Promise<void> {
    this.#doubles.check();
    for (const name of BOTS) await this.#checkTruth(name);
    this.#checkAccount();
    this.#checkJournal();
    this.#checkWords();
    await this.#checkBounds();
  }

  /** Status says what /proc says. The bot may move on between the two: then both are asked again. */
  async #checkTruth(name: BotName): Promise<void> {
    let why = "";
    await until(`status tells the truth of ${name}`, async () => {
      const bot = await this.rig.bot(name);
      why = lieOf(bot, processesOfBot(name, this.rig.folder), this.locked.has(name));
      const before = this.#generations.get(name) ?? 0;
      if (why === "" && bot.state === "running") why = limitLieOf(bot, this.#limits.get(name) ?? {});
      if (why === "" && bot.generation < before - 1) why = `generation ${bot.generation} follows ${before}`;
      if (why === "") this.#generations.set(name, bot.generation);
      return why === "";
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${why}`, { cause: error });
    });
  }

  #checkAccount(): void {
    const { flips, flat, ...state } = this.paper.state();
    // Several emergencies in one minute use up the venue's allowance; each close waits for it and goes on.
    const violations = state.violations.filter((text) => !text.includes(TOO_MANY));
    if (flips.length > 0 || violations.length > 0)
      throw new Error(`the account was turned around or misused: ${JSON.stringify({ flips, violations })}`);
    if (this.locked.has("trader") && !flat) throw new Error("the trader is locked and its account is not flat");
    if (this.rig.read("starts").includes("overlap")) throw new Error("two traders ran at a time");
  }

  #checkJournal(): void {
    const { entries, damaged } = readJournal(
      this.rig.state("journal"),
      MAX_ENTRIES,
      ({ at }) => at >= this.#journalSince,
    );
    if (damaged > 0 && !this.#journalGaps) throw new Error(`${damaged} lines of the journal are damaged`);
    checkJournal(entries, { gaps: this.#journalGaps, recounts: this.#recounts });
  }

  /** No secret where it must not be, and no word of a bug. */
  #checkWords(): void {
    const said = this.rig.read("daemon.err");
    if (said.slice(this.#saidBefore).includes("internal error"))
      throw new Error("the daemon speaks of an internal error");
    const journal = this.rig.state("journal");
    const files = ["daemon.err", ".supervisor/status.json", ...BOTS.map((name) => `.supervisor/log/${name}.log`)];
    const paths = [...files.map((file) => this.rig.path(file)), ...filesIn(journal)];
    for (const path of paths)
      if (textOf(path).includes(CREDENTIALS.apiSecret)) throw new Error(`a secret stands in ${path}`);
    for (const { pid } of processesIn(this.rig.folder))
      if (textOf(`/proc/${pid}/cmdline`).includes(CREDENTIALS.apiSecret))
        throw new Error(`a secret stands in the arguments of pid ${pid}`);
  }

  /** Who measures the processes of a fork bomb may hold a file of each for a second. */
  async #checkBounds(): Promise<void> {
    const { pid } = this.rig.daemon;
    await until(
      `the daemon has at most ${MAX_OPEN_FILES} open files`,
      () => readdirSync(`/proc/${pid}/fd`).length <= MAX_OPEN_FILES,
    );
    const rssBytes = Number(/^VmRSS:\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? 0) * 1_024;
    if (rssBytes > MAX_RSS_BYTES) throw new Error(`the daemon has ${rssBytes} bytes in memory`);
  }

  /** Copies everything that tells what happened; the folder it is in. */
  keepEvidence(place: string): string {
    mkdirSync(place, { recursive: true });
    cpSync(this.rig.folder, join(place, "installation"), { recursive: true, filter: isPlain });
    const lines = processesIn(this.rig.folder).map(
      ({ pid }) => `${textOf(`/proc/${pid}/stat`).trim()} ${textOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`,
    );
    writeFileSync(join(place, "processes.txt"), `${lines.join("\n")}\n`);
    writeFileSync(join(place, "account.json"), JSON.stringify(this.paper.state(), undefined, 2));
    return place;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#doubles.stop();
    try {
      if (this.hasSmallDisk) await this.rig.endDaemon("SIGTERM").catch(() => undefined);
      if (this.hasSmallDisk) Bun.spawnSync(["umount", "-l", this.rig.state("journal")]);
      await this.rig[Symbol.asyncDispose]();
    } finally {
      this.server.stop();
      await this.paper[Symbol.asyncDispose]();
    }
  }
}

/** What the bots are, but for their limits. */
function botsOf(rig: Rig, paper: Paper, server: MoodyServer): Readonly<Record<BotName, BotSettings>> {
  const restart = { intensity: 1_000 };
  return {
    trader: {
      command: script("one-at-a-time.sh", rig.path("starts")),
      restart,
      emergency: emergencyAt(paper.url, { closeAfter: "10m" }),
    },
    beater: { command: script("beat.sh"), ready: "notify", restart, probes: [{ kind: "heartbeat", timeout: "4s" }] },
    parent: { command: script("setsid-child.sh", "grandchild"), restart },
    web: {
      command: ["sleep", "600"],
      restart,
      probes: [{ kind: "http", url: server.url, period: "500ms", timeout: "400ms", onFailure: "alert" }],
    },
    clumsy: { command: script("on-demand.sh"), restart, output: { maxSize: "8MiB", keep: 3 } },
  };
}

/** What is wrong with what status says of a bot; "" when nothing is. */
function lieOf({ name, state, pid }: BotStatus, living: readonly number[], isLocked: boolean): string {
  if (isLocked && state !== "locked") return `it is ${state} and only a person may end its lockout`;
  if (state !== "running") return living.length === 0 ? "" : `it is ${state}, and pid ${living.join(", ")} lives`;
  if (pid === null || !isLive(pid)) return `pid ${pid} does not live`;
  const marked = `\0${readEnvironText(pid) ?? ""}`.includes(`\0SUPERVISOR_BOT=${name}\0`);
  return marked ? "" : `pid ${pid} is not the bot`;
}

/** Neither sockets nor keys go into the evidence. */
function isPlain(path: string): boolean {
  return !path.includes("/run/") && !path.endsWith(".key");
}

/** Only root may mount, and not in every container. */
function mountSmallDisk(folder: string): boolean {
  if (process.getuid?.() !== 0) return false;
  mkdirSync(folder, { recursive: true });
  const cmd = ["mount", "-t", "tmpfs", "-o", `size=${JOURNAL_DISK_KIB}k,mode=0755`, "tmpfs", folder];
  return Bun.spawnSync(cmd, { stderr: "ignore" }).exitCode === 0;
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** "" for what is gone, or is no file. */
function textOf(path: string): string {
  try {
    const file = Bun.file(path);
    if (path.startsWith("/proc/")) return readFileSync(path, "utf8");
    return existsSync(path) && file.size < MAX_SEARCHED_BYTES ? readFileSync(path, "utf8") : "";
  } catch {
    return "";
  }
}
