/** A machine for install and uninstall whose root is a scratch folder, and whose systemd is a few lines of the test. */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { install } from "../../../src/supervisor/cli/install.ts";
import type { Answer, Machine } from "../../../src/supervisor/cli/install/machine.ts";
import { uninstall } from "../../../src/supervisor/cli/uninstall.ts";
import type { CliIo } from "../../../src/supervisor/cli/verb.ts";

export interface Outcome {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

const ME = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

export class InstallRig implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), "sv-root-"));
  /** Commands that were run, joined by spaces. */
  readonly ran: string[] = [];
  /** What a command that begins so answers. */
  readonly answers = new Map<string, Answer>([
    ["systemctl --version", { code: 0, output: "systemd 252 (252.38-1~deb12u1)\n" }],
    ["systemctl show", { code: 0, output: "inactive\n" }],
    ["dpkg-query", { code: 1, output: "dpkg-query: no path found matching pattern\n" }],
  ]);
  readonly users = new Set(["root"]);
  /** Of users whose number is another than that of this process. */
  readonly uids = new Map<string, number>();
  isRoot = true;
  /** Number of the command, from 1, that fails. */
  failing = 0;
  program: string | undefined;
  #enabled = false;

  constructor() {
    mkdirSync(this.at("/run/systemd/system"), { recursive: true });
    this.program = this.write("/build/supervisor", "\u007FELF this version", 0o755);
  }

  at(path: string): string {
    return join(this.dir, path);
  }

  write(path: string, text: string, mode = 0o644): string {
    const file = this.at(path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  }

  read(path: string): string {
    return readFileSync(this.at(path), "utf8");
  }

  modeOf(path: string): string {
    return (lstatSync(this.at(path)).mode & 0o7777).toString(8);
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Every file and folder below the root, files with size and time, to see that nothing was changed; without locks. */
  all(): readonly string[] {
    return readdirSync(this.dir, { recursive: true, encoding: "utf8" })
      .toSorted()
      .filter((name) => !name.endsWith(".lock"))
      .map((name) => {
        const stats = lstatSync(join(this.dir, name));
        const { mode, ino, size, mtimeMs } = stats;
        return `${name} ${mode}${stats.isDirectory() ? "" : ` ${ino} ${size} ${mtimeMs}`}`;
      });
  }

  install(options: Parameters<typeof install>[0] = {}): Promise<Outcome> {
    return this.#outcome((io) => install(options, this.#machine(), io));
  }

  uninstall(options: Parameters<typeof uninstall>[0] = { yes: true }): Promise<Outcome> {
    return this.#outcome((io) => uninstall(options, this.#machine(), io));
  }

  #machine(): Machine {
    return {
      at: (path) => this.at(path),
      isRoot: this.isRoot,
      program: this.program,
      run: (command, as) => Promise.resolve(this.#run(command, as)),
      user: (name) => (this.users.has(name) ? { ...ME, uid: this.uids.get(name) ?? ME.uid, name } : undefined),
      group: (name) => (this.users.has(name) || name === "0" ? ME.gid : undefined),
    };
  }

  #run(command: readonly string[], as: string | undefined): Answer {
    const text = command.join(" ");
    this.ran.push(as === undefined ? text : `${as}: ${text}`);
    if (this.ran.length === this.failing) return { code: 1, output: "no\n" };
    for (const [start, answer] of this.answers)
      if (text.startsWith(start) || text.includes(` ${start} `)) return answer;
    if (command[0] === "useradd") this.users.add(command.at(-1) ?? "");
    if (text === "systemctl enable tradingbot.service") this.#enabled = true;
    if (text === "systemctl is-enabled tradingbot.service")
      return { code: 0, output: this.#enabled ? "enabled\n" : "disabled\n" };
    return { code: 0, output: "" };
  }

  async #outcome(run: (io: CliIo) => Promise<void>): Promise<Outcome> {
    let [out, err, code] = ["", "", 0];
    await run({
      out: (text) => (out += `${text}\n`),
      err: (text) => (err += `${text}\n`),
      env: {},
      cwd: this.dir,
      isTerminal: false,
      colour: false,
      setExitCode: (value) => (code = value),
    });
    return { out, err, code };
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
