/** `supervisor top` on a real terminal (pty(7)), before a daemon of the test's own making. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../../src/core/journal-entry.ts";
import { botStatusOf, statusOf } from "../../harness/status.ts";
import { until } from "../../platform/until.ts";
import { VerbRig } from "./verb-rig.ts";

const MAIN = join(import.meta.dirname, "../../../src/supervisor/main.ts");
const LEAVE = "\u001B[?7h\u001B[?25h\u001B[?1049l";
const ROWS = 20;

function eventOf(seq: number, text: string): JournalEntry {
  return { v: 1, seq, at: `2026-01-01T00:00:0${seq}.000Z`, kind: "fact", bot: "other", level: "warn", text };
}

/** Answers as a daemon does, and notes each request. */
function serve(rig: VerbRig, asked: string[] = [], event = eventOf(1, "it has slept")): void {
  const status = statusOf([botStatusOf({ name: "mine" }), botStatusOf({ name: "other" })]);
  rig.serve((path, { method }) => {
    asked.push(`${method} ${path}`);
    if (path === "/v1/status") return Response.json(status);
    if (path !== "/v1/events") return Response.json({});
    const stream = new ReadableStream<string>({
      start: (controller) => controller.enqueue(`: events\n\nid: 1\ndata: ${JSON.stringify(event)}\n\n`),
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream" } });
  });
}

/** The command on a terminal; what is on it is what the last drawing has put there. */
class Terminal implements AsyncDisposable {
  shown = "";
  readonly #child: Bun.Subprocess;

  constructor(rig: VerbRig, ...args: readonly string[]) {
    const decoder = new TextDecoder();
    this.#child = Bun.spawn([process.execPath, MAIN, "top", ...args], {
      cwd: rig.dir,
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir, TERM: "xterm", NO_COLOR: "1" },
      terminal: { cols: 100, rows: ROWS, data: (_, bytes) => (this.shown += decoder.decode(bytes, { stream: true })) },
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  get frame(): readonly string[] {
    const last = this.shown.slice(this.shown.lastIndexOf("\u001B[H") + "\u001B[H".length);
    // The terminal itself adds a return, too, where it still does that (ONLCR of termios(3)).
    return last.split(/\r+\n/).map((line) => line.replaceAll("\u001B[K", ""));
  }

  type(text: string): void {
    this.#child.terminal?.write(text);
  }

  resize(columns: number, rows: number): void {
    this.#child.terminal?.resize(columns, rows);
  }

  /** Waits for a line of that kind on a whole screen. */
  async see(line: RegExp, rows = ROWS): Promise<void> {
    await until(
      `${String(line)} is shown`,
      () => this.#isWhole(rows) && this.frame.some((each) => line.test(each)),
    ).catch((cause: unknown) => {
      throw new Error(`not shown: ${String(line)}\n${this.frame.join("\n")}`, { cause });
    });
  }

  #isWhole(rows: number): boolean {
    return this.frame.length === rows && this.frame.at(-1)?.startsWith("q quit") === true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    this.#child.terminal?.close();
  }
}

test("supervisor top shows bots and events, follows the keys, and asks nothing but questions", async () => {
  await using rig = new VerbRig();
  const asked: string[] = [];
  serve(rig, asked);
  await using terminal = new Terminal(rig);
  await terminal.see(/^> mine +running/);
  await terminal.see(/! other {2}it has slept/);
  terminal.type("j");
  await terminal.see(/^> other +running/);
  terminal.type("\r");
  await terminal.see(/^probes of other:/);
  terminal.type("\u001B[A");
  await terminal.see(/^probes of mine:/);
  terminal.type("\r");
  await terminal.see(/^> mine +running/);
  terminal.type("q");
  expect(await terminal.exited).toBe(0);
  expect(asked.filter((each) => !each.startsWith("GET "))).toEqual([]);
});

test("supervisor top draws over what is there, in the size that the terminal has now", async () => {
  await using rig = new VerbRig();
  serve(rig);
  await using terminal = new Terminal(rig);
  await terminal.see(/^> mine +running/);
  terminal.resize(40, 9);
  await terminal.see(/^> mine +running/, 9);
  expect(terminal.frame.filter((line) => line.length > 40)).toEqual([]);
  expect(terminal.shown).not.toContain("\u001B[2J");
});

test("supervisor top says that the daemon has gone, and goes on when it comes back", async () => {
  await using rig = new VerbRig();
  serve(rig);
  await using terminal = new Terminal(rig);
  await terminal.see(/^> mine +running/);
  await rig.endDaemon();
  await terminal.see(/^cannot reach the supervisor .*it is not running/);
  await terminal.see(/^> mine +running/);
  serve(rig, [], eventOf(2, "it is back"));
  await terminal.see(/^supervisor 1\.0\.0 /);
  await terminal.see(/! other {2}it is back/);
  terminal.type("q");
  expect(await terminal.exited).toBe(0);
});

test("supervisor top says that a daemon stands still, and ends at once all the same", async () => {
  await using rig = new VerbRig();
  rig.serve(() => Promise.withResolvers<Response>().promise);
  await using terminal = new Terminal(rig);
  await terminal.see(/^the supervisor has not answered for \d+ s/);
  terminal.type("q");
  expect(await terminal.exited).toBe(0);
});

test.each([
  ["q", 0],
  ["\u0003", 0],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("supervisor top that is ended by %j leaves the terminal as it was", async (how, code) => {
  await using rig = new VerbRig();
  serve(rig);
  await using terminal = new Terminal(rig);
  await terminal.see(/^> mine +running/);
  if (how === "SIGTERM" || how === "SIGHUP") process.kill(terminal.pid, how);
  else terminal.type(how);
  expect(await terminal.exited).toBe(code);
  await until("the end is written", () => terminal.shown.endsWith(LEAVE));
  expect(terminal.shown.startsWith("\u001B[?1049h")).toBe(true);
});

test("supervisor top tells an error of the command line without a screen of its own", async () => {
  await using rig = new VerbRig();
  serve(rig);
  await using terminal = new Terminal(rig, "--config", "none.yaml");
  expect(await terminal.exited).toBe(2);
  expect(terminal.shown).not.toContain("\u001B[?1049h");
});

test("supervisor top without a terminal names the command that needs none", async () => {
  await using rig = new VerbRig();
  const child = Bun.spawn([process.execPath, MAIN, "top"], { cwd: rig.dir, stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect({ out, code }).toEqual({ out: "", code: 2 });
  expect(err).toMatch(/^cannot show a live view: .*\nhint: .*supervisor status --watch/);
});
