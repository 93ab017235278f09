/**
 * One installation of the compiled binary in a scratch folder, driven as a user drives it: a config file, `supervisor run`,
 * commands, signals. Everything it started is ended by pid when the rig is disposed of, and nothing may be left behind.
 */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, uptime } from "node:os";
import { join, resolve } from "node:path";
import { inject } from "vitest";
import type { JournalEntry } from "../../src/core/journal-entry.ts";
import type { BotStatus, Status } from "../../src/core/status.ts";
import { ownFolder, removeCgroup } from "../../src/platform/cgroup.ts";
import { readProc, type ProcessId } from "../../src/platform/proc.ts";
import { installationOf } from "../../src/supervisor/runtime/installation.ts";
import { readJournal } from "../../src/supervisor/runtime/journal-reader.ts";
import { endProcessesIn, processesIn } from "./processes.ts";

/** Longest wait for anything that is not said to take longer, ms. */
const PATIENCE_MS = 20_000;
/** Time between two looks at a fact that announces itself to nobody, ms. */
const POLL_MS = 20;
/** Time that a daemon gets to stop its bots at the end of a test, ms. */
const STOP_PATIENCE_MS = 20_000;
/** Longest run of one command, ms. */
const COMMAND_PATIENCE_MS = 60_000;
const MAX_ENTRIES = 100_000;
const API_KEY = "chaos-key";
const API_SECRET = "chaos-secret";
/** Key and secret of the rig's paper account, also in its two key files. */
export const CREDENTIALS = { apiKey: API_KEY, apiSecret: API_SECRET };

/** A bot as the config has it; what a test does not say is quick: short delays, a short stop. */
export type BotSettings = Readonly<Record<string, unknown>> & { readonly restart?: object };

/** Keys of the config beside `bots`; the rig must know where the sockets are. */
export type TopLevel = Readonly<Record<string, unknown>> & { readonly stateDir?: string; readonly runtimeDir?: string };

export interface RigOptions {
  readonly bots?: Readonly<Record<string, BotSettings>>;
  /** Further keys of the config's top level. */
  readonly config?: TopLevel;
  /** Added to the daemon's and the commands' environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Hides the machine's cgroups from the daemon, in a mount namespace of its own; needs `canHideCgroups`. */
  readonly hideCgroups?: boolean;
  /** How long the machine has been up when the daemon starts, s, in a time namespace of its own; needs `canSetUptime`. */
  readonly uptimeSeconds?: number;
  /** The compiled binary; without it, the one of the suite that runs. */
  readonly binary?: string;
}

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

interface Daemon {
  readonly pid: number;
  readonly exited: Promise<number>;
}

/** Runs "$0 run" where no cgroup2 hierarchy is mounted; every step is an exec, so the pid stays. */
export const HIDE_CGROUPS: readonly string[] = [
  "unshare",
  "--mount",
  "sh",
  "-ec",
  'for place in $(awk \'$3 == "cgroup2" { print $2 }\' /proc/mounts); do umount -l "$place"; done; exec "$0" run',
];

/** Whether this user may make mount namespaces. */
export const canHideCgroups: boolean =
  Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).exitCode === 0;

/** Runs "$0 run" on a machine that booted so long ago; a namespace that cannot be had is refused before anything is started. */
function shiftedUptime(seconds: number): readonly string[] {
  return ["unshare", "--time", "--boottime", String(seconds - Math.floor(uptime())), "sh", "-c", 'exec "$0" run'];
}

/** Whether this user may make time namespaces, and this kernel lets a program enter one by exec. */
export const canSetUptime: boolean = ((): boolean => {
  const [unshare = "", ...words] = shiftedUptime(5).slice(0, -3);
  const { exitCode, stdout } = Bun.spawnSync([unshare, ...words, "cat", "/proc/uptime"], { stderr: "ignore" });
  return exitCode === 0 && Number.parseFloat(stdout.toString()) < 60;
})();

/** Restarts at once and often: for tests that are not about the restart rule. */
const QUICK_RESTART = { base: "100ms", cap: "400ms", jitter: 0, intensity: 100 };

/** The emergency section for a venue at `endpoint`, with the rig's key files. */
export function emergencyAt(endpoint: string, more: object = {}): object {
  return {
    closeAfter: "60s",
    exchange: "binanceusdm",
    apiKeyFile: "paper.key",
    apiSecretFile: "paper.secret",
    endpoint,
    timeout: "30s",
    ...more,
  };
}

/** Asks until the answer is neither `undefined` nor `false`; says what it waited for when the time is over. */
export async function until<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${patienceMs} ms`);
    await Bun.sleep(POLL_MS);
  }
}

export class Rig implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "sv-"));
  readonly binary: string;
  readonly #env: Record<string, string>;
  readonly #prefix: readonly string[];
  #runtimeDir = this.state("run");
  /** Short names of all that it was configured to be. */
  readonly #installations = new Set<string>();
  readonly #daemonPids: number[] = [];
  #daemon: Daemon | undefined;

  constructor({ bots, config, env, hideCgroups = false, uptimeSeconds, binary }: RigOptions = {}) {
    this.binary = binary ?? inject("supervisorBinary");
    this.#prefix = hideCgroups ? HIDE_CGROUPS : uptimeSeconds === undefined ? [] : shiftedUptime(uptimeSeconds);
    this.#env = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: this.folder, LANG: "C.UTF-8", ...env };
    this.write("paper.key", API_KEY);
    this.write("paper.secret", API_SECRET);
    if (bots !== undefined) this.configure(bots, config);
  }

  /** Writes the config; JSON is YAML too. */
  configure(bots: Readonly<Record<string, BotSettings>>, config: TopLevel = {}): void {
    if (config.runtimeDir !== undefined) this.#runtimeDir = this.path(config.runtimeDir);
    const stateDir = resolve(this.folder, config.stateDir ?? ".supervisor");
    const runtimeDir = resolve(this.folder, config.runtimeDir ?? join(stateDir, "run"));
    this.#installations.add(installationOf({ stateDir, runtimeDir }));
    const quick = Object.entries(bots).map(([name, bot]) => [
      name,
      { stopTimeout: "2s", ...bot, restart: { ...QUICK_RESTART, ...bot.restart } },
    ]);
    this.write(
      "supervisor.yaml",
      JSON.stringify({ version: 1, ...config, bots: Object.fromEntries(quick) }, undefined, 2),
    );
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** The place of a file below the state folder. */
  state(name: string): string {
    return join(this.folder, ".supervisor", name);
  }

  write(name: string, text: string, mode = 0o600): string {
    writeFileSync(this.path(name), text, { mode });
    return this.path(name);
  }

  /** Text of a file of the scratch folder, "" while there is none. */
  read(name: string): string {
    try {
      return readFileSync(this.path(name), "utf8");
    } catch (error) {
      // Also one that goes away between two looks.
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
      throw error;
    }
  }

  /** Starts `supervisor run` and waits until it answers. */
  async run(env: Readonly<Record<string, string>> = {}, binary = this.binary): Promise<Daemon> {
    const daemon = this.spawnDaemon(env, binary);
    await until("the daemon answers", async () => {
      if (await isOver(daemon)) throw new Error(`the daemon ended at once:\n${this.read("daemon.err")}`);
      return this.status().catch(() => undefined);
    });
    return daemon;
  }

  /** Starts `supervisor run` and does not wait. */
  spawnDaemon(env: Readonly<Record<string, string>> = {}, binary = this.binary): Daemon {
    const fd = openSync(this.path("daemon.err"), "a");
    const child = Bun.spawn([...this.#prefix, binary, ...(this.#prefix.length === 0 ? ["run"] : [])], {
      cwd: this.folder,
      env: { ...this.#env, ...env },
      stdio: ["ignore", fd, fd],
    });
    closeSync(fd);
    this.#daemon = { pid: child.pid, exited: child.exited };
    this.#daemonPids.push(child.pid);
    return this.#daemon;
  }

  get daemon(): Daemon {
    if (this.#daemon === undefined) throw new Error("no daemon was started");
    return this.#daemon;
  }

  /** Signals the daemon and waits for its end. */
  async endDaemon(signal: "SIGTERM" | "SIGKILL"): Promise<number> {
    const { pid, exited } = this.daemon;
    process.kill(pid, signal);
    const code = await within(exited, STOP_PATIENCE_MS, `the daemon ends after ${signal}`);
    this.#daemon = undefined;
    return code;
  }

  /** One command of the binary, as a person types it. */
  async cli(...args: string[]): Promise<CommandResult> {
    const startMs = performance.now();
    const child = Bun.spawn([this.binary, ...args], {
      cwd: this.folder,
      env: this.#env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const end = Promise.all([child.exited, new Response(child.stdout).text(), new Response(child.stderr).text()]);
    const [code, out, err] = await within(end, COMMAND_PATIENCE_MS, `supervisor ${args.join(" ")} ends`);
    return { code, out, err, ms: performance.now() - startMs };
  }

  /** A request on the control socket that is there now: a connection of before would answer also when its socket is gone. */
  request(path: string, init: RequestInit = {}): Promise<Response> {
    const unix = join(this.#runtimeDir, "control.sock");
    return fetch(`http://supervisor${path}`, { ...init, unix, keepalive: false });
  }

  async status(): Promise<Status> {
    // Safe: our own daemon made the answer.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return (await (await this.request("/v1/status")).json()) as Status;
  }

  async bot(name = "bot"): Promise<BotStatus> {
    const found = (await this.status()).bots.find((bot) => bot.name === name);
    if (found === undefined) throw new Error(`status knows no bot ${name}`);
    return found;
  }

  /** Waits until the bot is as `wanted` says, and returns it. */
  async botUntil(
    what: string,
    wanted: (bot: BotStatus) => boolean,
    patienceMs = PATIENCE_MS,
    name = "bot",
  ): Promise<BotStatus> {
    let last: BotStatus | undefined;
    try {
      return await until(
        what,
        async () => {
          last = await this.bot(name);
          return wanted(last) ? last : undefined;
        },
        patienceMs,
      );
    } catch (error) {
      throw new Error(`${String(error)}\nlast seen: ${JSON.stringify(last)}\n${this.read("daemon.err")}`, {
        cause: error,
      });
    }
  }

  botIn(state: BotStatus["state"], patienceMs = PATIENCE_MS): Promise<BotStatus> {
    return this.botUntil(`the bot is ${state}`, (bot) => bot.state === state, patienceMs);
  }

  /** The journal as it is on disk now. */
  get journal(): readonly JournalEntry[] {
    return readJournal(this.state("journal"), MAX_ENTRIES, () => true).entries;
  }

  /** The bot's output so far. */
  get log(): string {
    return this.read(".supervisor/log/bot.log");
  }

  /** Stops the daemon politely, proves that nothing of the test is alive, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    let unstopped: Error | undefined;
    if (this.#daemon !== undefined) await this.endDaemon("SIGTERM").catch((error: Error) => (unstopped = error));
    // Workers of backups go on when the daemon ends, and a killed one leaves those of a crash dump too: they end by themselves.
    await until("what outlives a daemon has ended", () => !processesIn(this.folder).some(outlivesDaemon)).catch(
      () => undefined,
    );
    const left = unstopped === undefined ? processesIn(this.folder).length : 0;
    const lines = await endProcessesIn(this.folder);
    this.#removeCgroups();
    this.#removeClocks();
    rmSync(this.folder, { recursive: true, force: true });
    if (unstopped !== undefined) throw unstopped;
    if (left > 0) throw new Error(`the test left processes behind:\n${lines.join("\n")}`);
  }

  /** A daemon that was killed, or ended with its bot locked out, leaves the bot's empty cgroup for the next one. */
  #removeCgroups(): void {
    const base = ownFolder(readFileSync("/proc/self/mountinfo", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));
    if (base === undefined) return;
    for (const name of readdirSync(base))
      if (/^(bot|close)-/.test(name) && this.#installations.has(name.split("-").at(-1) ?? ""))
        removeCgroup(join(base, name));
  }

  /** What libfaketime shares with the children of a daemon that it shows another time: a daemon ends without running its exit handlers. */
  #removeClocks(): void {
    for (const pid of this.#daemonPids)
      for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`])
        rmSync(join("/dev/shm", name), { force: true });
  }
}

function outlivesDaemon({ pid }: ProcessId): boolean {
  const action = /\0__action\0([a-z-]+)\0/.exec(readProc(`/proc/${pid}/cmdline`) ?? "")?.[1] ?? "";
  return /-dump$|backup|^check-share$/.test(action);
}

/** A promise with a deadline. */
async function within<T>(pending: Promise<T>, patienceMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${patienceMs} ms`)), patienceMs);
  });
  try {
    return await Promise.race([pending, late]);
  } finally {
    clearTimeout(timer);
  }
}

function isOver({ exited }: Daemon): Promise<boolean> {
  return Promise.race([exited.then(() => true), Bun.sleep(0).then(() => false)]);
}
