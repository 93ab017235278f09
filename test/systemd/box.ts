/** A machine with systemd for one test: the shipped unit, the compiled binary and a config in a throw-away container, driven by systemctl. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import type { BotStatus, Status } from "../../src/core/status.ts";
import { TOOL } from "./bootable.ts";

const root = join(import.meta.dirname, "..", "..");
export const UNIT = "tradingbot.service";
const UNIT_FILE = join(root, "config", "systemd", UNIT);
/** Where the unit looks for its config. */
export const CONFIG = "/etc/tradingbot/supervisor.yaml";
const DROP_INS = `/etc/systemd/system/${UNIT}.d`;
export const BINARY = "/usr/local/bin/supervisor";

/** Longest wait for anything that is not said to take longer, ms. */
const PATIENCE_MS = 20_000;
/** Time between two looks at a fact that announces itself to nobody, ms. */
const POLL_MS = 30;
/** Longest run of one command, ms. */
const COMMAND_PATIENCE_MS = 60_000;

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The user of the drop-in. */
const USER = "tradingbot";

let boxes = 0;

export class Box implements AsyncDisposable {
  readonly #name = `sv-${process.pid}-${(boxes += 1)}`;
  readonly #scratch = mkdtempSync(join(tmpdir(), "sv-box-"));

  /** Boots, installs the unit as an administrator does it by hand, and writes a config with the one bot `bot`. */
  static async boot(bot: Readonly<Record<string, unknown>> = {}): Promise<Box> {
    const box = new Box();
    try {
      await box.#tool("up", "--bind-ro", `${inject("supervisorBinary")}:${BINARY}`);
      await box.write(`/etc/systemd/system/${UNIT}`, readFileSync(UNIT_FILE, "utf8"));
      await box.write("/opt/bot.sh", readFileSync(join(import.meta.dirname, "bot.sh"), "utf8"), 0o755);
      await box.do("mkdir", "-m", "0777", "/opt/bot");
      await box.configure(bot);
      await box.do("systemctl", "daemon-reload");
      return box;
    } catch (error) {
      await box[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Boots with systemd alone, the bot's program and its config at `/root/my.yaml`; the binary is where somebody has downloaded it to. */
  static async bare(
    binary: string,
    bot: Readonly<Record<string, unknown>>,
    more: Readonly<Record<string, unknown>>,
  ): Promise<Box> {
    const box = new Box();
    try {
      await box.#tool("up", "--bind-ro", `${inject("supervisorBinary")}:${binary}`);
      await box.write("/opt/bot.sh", readFileSync(join(import.meta.dirname, "bot.sh"), "utf8"), 0o755);
      await box.do("mkdir", "-m", "0777", "/opt/bot");
      await box.configure(bot, more, "/root/my.yaml");
      return box;
    } catch (error) {
      await box[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** JSON is YAML too. The folders are named, so that commands without systemd's environment find them. */
  configure(
    bot: Readonly<Record<string, unknown>>,
    more: Readonly<Record<string, unknown>> = {},
    file = CONFIG,
  ): Promise<void> {
    const config = {
      version: 1,
      ...more,
      stateDir: "/var/lib/tradingbot",
      runtimeDir: "/run/tradingbot",
      logDir: "/var/log/tradingbot",
      bots: {
        bot: {
          command: ["/opt/bot.sh"],
          cwd: "/opt/bot",
          user: "nobody",
          ready: "notify",
          stopTimeout: "2s",
          restart: { base: "100ms", cap: "400ms", jitter: 0, intensity: 100 },
          ...bot,
        },
      },
    };
    return this.write(file, JSON.stringify(config, undefined, 2));
  }

  /** Settings of the `[Service]` section on top of the shipped unit, which itself stays as it is; they take the place of earlier ones. */
  async dropIn(...lines: readonly string[]): Promise<void> {
    await this.write(`${DROP_INS}/test.conf`, ["[Service]", ...lines, ""].join("\n"));
    await this.do("systemctl", "daemon-reload");
  }

  /** Installs the shipped drop-in that runs everything as the user `tradingbot`, as docs/systemd.md tells. */
  async becomeUnprivileged(): Promise<void> {
    await this.do("useradd", "--system", "--home-dir", "/var/lib/tradingbot", "--shell", "/usr/sbin/nologin", USER);
    const text = readFileSync(join(root, "config", "systemd", "unprivileged.conf"), "utf8");
    await this.write(`${DROP_INS}/unprivileged.conf`, text);
    await this.do("systemctl", "daemon-reload");
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    const file = join(this.#scratch, "file");
    rmSync(file, { force: true });
    writeFileSync(file, text, { mode });
    await this.#tool("cp", file, path);
  }

  /** Runs a command inside; whatever it answers is the answer. */
  exec(...command: readonly string[]): Promise<Result> {
    return run([TOOL, "--name", this.#name, "exec", "--", ...command]);
  }

  /** Runs a command inside that must succeed; returns what it printed. */
  async do(...command: readonly string[]): Promise<string> {
    const result = await this.exec(...command);
    if (result.code !== 0)
      throw new Error(`${command.join(" ")}: exit code ${result.code}\n${result.out}${result.err}`);
    return result.out.trim();
  }

  /** One property of the unit as `systemctl show` prints it. */
  show(property: string): Promise<string> {
    return this.do("systemctl", "show", "--property", property, "--value", UNIT);
  }

  async mainPid(): Promise<number> {
    return Number(await this.show("MainPID"));
  }

  /** The supervisor's own words and systemd's about the unit, since the boot. */
  log(): Promise<string> {
    return this.do("journalctl", "--no-pager", "-b", "-u", UNIT, "-o", "cat");
  }

  async status(): Promise<Status> {
    // Safe: our own binary made the answer.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return JSON.parse((await this.exec(BINARY, "status", "--json", "--config", CONFIG)).out) as Status;
  }

  supervisor(verb: string, ...args: readonly string[]): Promise<Result> {
    return this.exec(BINARY, verb, "--config", CONFIG, ...args);
  }

  /** Waits until the bot of a living daemon is as `wanted` says, and returns it. */
  botUntil(what: string, wanted: (bot: BotStatus) => boolean): Promise<BotStatus> {
    return this.until(what, async () => {
      const { code, out } = await this.exec(BINARY, "status", "--json", "--config", CONFIG);
      if (code === 3 || out === "") return undefined;
      // Safe: our own binary made the answer.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const [bot] = (JSON.parse(out) as Status).bots;
      return bot !== undefined && wanted(bot) ? bot : undefined;
    });
  }

  /** Pids of the bot's main processes; more than one is what must never be. */
  async botPids(): Promise<number[]> {
    // The bot's own short-lived children have the bot for a parent.
    const { out } = await this.exec("pgrep", "-x", "-f", "/bin/sh /opt/bot.sh");
    const pids = out.split("\n").filter(Boolean);
    const parents = await Promise.all(pids.map((pid) => this.exec("ps", "-o", "ppid=", "-p", pid)));
    return pids.filter((_, index) => !pids.includes(parents[index]?.out.trim() ?? "")).map(Number);
  }

  /** What the bot wrote when it was started beside a living copy of itself; "" when that never happened. */
  async overlaps(): Promise<string> {
    return (await this.exec("cat", "/opt/bot/overlaps")).out;
  }

  /** Asks until the answer is neither `undefined` nor `false`; says what it waited for, and the unit's log, when the time is over. */
  async until<T>(what: string, ask: () => Promise<T | undefined | false>, patienceMs = PATIENCE_MS): Promise<T> {
    const endMs = performance.now() + patienceMs;
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      if (performance.now() > endMs) throw new Error(`${what}: not within ${patienceMs} ms\n${await this.log()}`);
      await Bun.sleep(POLL_MS);
    }
  }

  /** Stops systemd inside and boots it again; what is on disk stays. */
  reboot(): Promise<void> {
    return this.#tool("reboot");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tool("down", "--kill");
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async #tool(...args: readonly string[]): Promise<void> {
    const { code, out, err } = await run([TOOL, "--name", this.#name, ...args]);
    if (code !== 0) throw new Error(`unit-box ${args.join(" ")}: exit code ${code}\n${out}${err}`);
  }
}

async function run(cmd: string[]): Promise<Result> {
  const child = Bun.spawn(cmd, { stdio: ["ignore", "pipe", "pipe"], timeout: COMMAND_PATIENCE_MS });
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, out, err };
}
