/**
 * A virtual machine with systemd and cgroup v2 alone, in an emulator without help of the processor: what no container on a machine
 * with v1 controllers can show, and a real suspend. Driven over a serial line (commands) and QMP (sleep and waking).
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import type { BotStatus, Status } from "../../src/core/status.ts";
import { EMULATOR, findKernel } from "./bootable.ts";
import { CONFIG, UNIT } from "./box.ts";
import { makeImage } from "./vm-image.ts";

/** An emulated processor knows what our binary asks for, AVX2, and a PC of this kind can be put to sleep. */
const MACHINE = "-accel tcg,thread=multi -cpu max -M q35 -smp 2 -nodefaults -nographic -no-reboot".split(" ");
const MEMORY_MIB = 1_024;
/** Boot of the machine, or one command of it, on a host that is ten times slower than ours, ms; here 6 s and below 1 s. */
const PATIENCE_MS = 180_000;
/** Time between two looks at what announces itself to nobody, ms: each look costs the emulated machine a start of our binary. */
const POLL_MS = 1_500;

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The machine does not answer, whatever it is asked. */
export class NoAnswerError extends Error {}

export class Vm implements AsyncDisposable {
  readonly #scratch = mkdtempSync(join(tmpdir(), "sv-vm-"));
  #process: Bun.Subprocess | undefined;
  #agent: Lines | undefined;
  #qmp: Lines | undefined;

  /** Boots a machine with the shipped unit and this config, which is JSON, and YAML too. */
  static async boot(config: object): Promise<Vm> {
    const vm = new Vm();
    try {
      await vm.#start(config);
      return vm;
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(config: object): Promise<void> {
    const at = (name: string): string => join(this.#scratch, name);
    makeImage(at("disk"), inject("supervisorBinary"), { [CONFIG]: JSON.stringify(config) });
    const words =
      "root=/dev/nvme0n1 rootfstype=ext4 rw init=/usr/lib/systemd/systemd systemd.unit=vm.target systemd.show_status=0 " +
      "systemd.unified_cgroup_hierarchy=1 console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr";
    const devices: readonly (readonly [string, string])[] = [
      ["-m", String(MEMORY_MIB)],
      ["-kernel", findKernel() ?? ""],
      ["-append", words],
      ["-drive", `file=${at("disk")},format=raw,if=none,id=disk`],
      ["-device", "nvme,drive=disk,serial=disk"],
      ["-serial", `file:${at("console")}`],
      ["-serial", `unix:${at("agent")},server,nowait`],
      ["-qmp", `unix:${at("qmp")},server,nowait`],
    ];
    this.#process = Bun.spawn([EMULATOR, ...MACHINE, ...devices.flat()], { stdio: ["ignore", "ignore", "inherit"] });
    this.#qmp = await this.#connect(at("qmp"));
    this.#agent = await this.#connect(at("agent"));
    await this.#line(this.#agent, "the machine boots", (line) => line === "ready");
    await this.#qmpDo("qmp_capabilities");
  }

  /** Runs a script of bash inside; whatever it answers is the answer. */
  async exec(script: string): Promise<Result> {
    if (this.#agent === undefined) throw new Error("internal error: the machine has not booted");
    this.#agent.write(Buffer.from(script).toString("base64"));
    const line = await this.#line(this.#agent, script, () => true);
    const [code = "", texts = ""] = line.split(" ");
    const [out = "", err = ""] = texts.split("|").map((text) => Buffer.from(text, "base64").toString());
    return { code: Number(code), out, err };
  }

  /** Runs a script inside that must succeed; returns what it printed. */
  async do(script: string): Promise<string> {
    const { code, out, err } = await this.exec(script);
    if (code !== 0) throw new Error(`${script}: exit code ${code}\n${out}${err}`);
    return out.trim();
  }

  supervisor(words: string): Promise<Result> {
    return this.exec(`supervisor ${words} --config ${CONFIG}`);
  }

  async status(): Promise<Status | undefined> {
    const { code, out } = await this.supervisor("status --json");
    // Safe: our own binary made the answer.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return code === 3 || out === "" ? undefined : (JSON.parse(out) as Status);
  }

  /** Waits until the bot of a living daemon is as `wanted` says, and returns it. */
  botUntil(what: string, name: string, wanted: (bot: BotStatus) => boolean): Promise<BotStatus> {
    return this.until(what, async () => {
      const bot = (await this.status())?.bots.find((each) => each.name === name);
      return bot !== undefined && wanted(bot) ? bot : undefined;
    });
  }

  /** Asks until the answer is neither `undefined` nor `false`; says what it waited for, and the unit's log, when the time is over. */
  async until<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      if (performance.now() > endMs) throw new Error(`${what}: not within ${PATIENCE_MS} ms\n${await this.log()}`);
      await Bun.sleep(POLL_MS);
    }
  }

  /** The supervisor's own words and systemd's about the unit. */
  log(): Promise<string> {
    return this.do(`journalctl --no-pager -u ${UNIT} -o cat`);
  }

  /** Suspends the machine to memory for `sleptMs` of its own real-time clock, and wakes it. */
  async suspend(sleptMs: number): Promise<void> {
    const back = this.do("echo mem > /sys/power/state");
    await this.until("the machine sleeps", async () =>
      JSON.stringify(await this.#qmpDo("query-status")).includes('"suspended"'),
    );
    await Bun.sleep(sleptMs);
    await this.#qmpDo("system_wakeup");
    await back;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent?.close();
    this.#qmp?.close();
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async #qmpDo(execute: string): Promise<unknown> {
    if (this.#qmp === undefined) throw new Error("internal error: the machine has not booted");
    this.#qmp.write(JSON.stringify({ execute }));
    // Events come in between.
    const line = await this.#line(this.#qmp, execute, (each) => /^\{"(return|error)"/.test(each));
    return JSON.parse(line);
  }

  async #connect(path: string): Promise<Lines> {
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const lines = await Lines.open(path).catch(() => undefined);
      if (lines !== undefined) return lines;
      if (this.#process?.exitCode !== null || performance.now() > endMs)
        throw new Error(`${EMULATOR} did not start\n${this.#console()}`);
      await Bun.sleep(POLL_MS);
    }
  }

  async #line(lines: Lines, what: string, wanted: (line: string) => boolean): Promise<string> {
    const found = await lines.next(wanted, PATIENCE_MS);
    if (found === undefined) throw new NoAnswerError(`${what}: no answer within ${PATIENCE_MS} ms\n${this.#console()}`);
    return found;
  }

  #console(): string {
    const path = join(this.#scratch, "console");
    return existsSync(path) ? readFileSync(path, "utf8").slice(-4_000) : "";
  }
}

/** Lines over a socket. One reader at a time. */
class Lines {
  readonly #socket: Socket;
  #text = "";
  #wake: () => void = () => {};

  static open(path: string): Promise<Lines> {
    const { promise, resolve, reject } = Promise.withResolvers<Lines>();
    const socket = createConnection(path, () => resolve(new Lines(socket)));
    socket.on("error", reject);
    return promise;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      this.#text += text;
      this.#wake();
    });
  }

  write(line: string): void {
    this.#socket.write(`${line}\n`);
  }

  /** The next line that `wanted` accepts; those before it are dropped. `undefined` when none comes in time. */
  async next(wanted: (line: string) => boolean, patienceMs: number): Promise<string | undefined> {
    const endMs = performance.now() + patienceMs;
    while (performance.now() < endMs) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end).trim();
        this.#text = this.#text.slice(end + 1);
        if (wanted(line)) return line;
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await Promise.race([promise, Bun.sleep(endMs - performance.now())]);
    }
    return undefined;
  }

  close(): void {
    this.#socket.destroy();
  }
}
