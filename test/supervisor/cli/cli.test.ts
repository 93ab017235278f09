/** What a command does whose reader goes away; as processes, since only a pipe breaks like a pipe. */
import { appendFileSync, closeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Command } from "commander";
import { readProc } from "../../../src/platform/proc.ts";
import { verbs } from "../../../src/supervisor/cli/verbs.ts";
import { statusOf } from "../../harness/status-sample.ts";
import { until } from "../../platform/until.ts";
import { VerbRig } from "./verb-rig.ts";

const MAIN = join(import.meta.dirname, "../../../src/supervisor/main.ts");
/** More than any pipe holds, so that the writer meets the broken end. */
const LINES = 20_000;

/** Exit code and standard error of the command whose reader takes `bytes` bytes and goes away. */
async function readLittle(
  rig: VerbRig,
  args: readonly string[],
  bytes: number,
): Promise<{ code: number; err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    cwd: rig.dir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const reader = child.stdout.getReader();
  for (let read = 0; read < bytes; read += (await reader.read()).value?.length ?? bytes);
  await reader.cancel();
  // For who follows: something new to show, again and again until it has met the broken end.
  const grow = setInterval(() => appendFileSync(join(rig.dir, ".supervisor/log/mine.log"), "more\n"), 50);
  const [code, err] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  clearInterval(grow);
  return { code, err };
}

test.concurrent.each([
  [["events", "-n", String(LINES)]],
  [["logs", "mine", "-n", String(LINES)]],
  [["logs", "mine", "-n", "1", "-f"]],
  [["status", "--watch"]],
])("supervisor %j ends silently with 0 when its reader goes away", async (args) => {
  await using rig = new VerbRig();
  const event = { v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "fact", bot: "mine", level: "info", text: "x" };
  rig.write(".supervisor/journal/000001.ndjson", `${JSON.stringify(event)}\n`.repeat(LINES));
  rig.write(".supervisor/log/mine.log", "some output of the bot\n".repeat(LINES));
  rig.write(".supervisor/status.json", JSON.stringify(statusOf()));
  expect(await readLittle(rig, args, 1)).toEqual({ code: 0, err: "" });
});

test("supervisor events ends silently with 0 when its reader leaves a socket unread while it waits for room", async () => {
  await using rig = new VerbRig();
  const event = { v: 1, seq: 1, at: "2026-01-01T00:00:00.000Z", kind: "fact", bot: "mine", level: "info", text: "x" };
  rig.write(".supervisor/journal/000001.ndjson", `${JSON.stringify(event)}\n`.repeat(LINES));
  const command = [process.execPath, MAIN, "events", "-n", String(LINES)];
  const child = Bun.spawn(["sh", "-c", 'exec "$@" >&3 3>&-', "sh", ...command], {
    cwd: rig.dir,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: rig.dir },
    stdio: ["ignore", "ignore", "pipe", "socket-fd"],
  });
  const fd: unknown = child.stdio[3];
  if (typeof fd !== "number") throw new Error("no descriptor of the socket");
  await until("it waits for room", () => readProc(`/proc/${child.pid}/wchan`) === "sock_alloc_send_pskb");
  closeSync(fd);
  // Where unread bytes are lost the kernel says ECONNRESET instead of EPIPE (unix(7)).
  expect({ code: await child.exited, err: await child.stderr.text() }).toEqual({ code: 0, err: "" });
});

async function said(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [code, out, err] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code, out, err };
}

test.concurrent.each([[["status"]], [["backup", "verify"]]])(
  "supervisor help %j shows the help of the command",
  async (words) => {
    const help = await said("help", ...words);
    expect(help).toMatchObject({
      code: 0,
      out: expect.stringContaining(`Usage: supervisor ${words.join(" ")} [options]`),
    });
    expect(help).toEqual(await said(...words, "--help"));
  },
);

test("supervisor with an option before the command says where options stand", async () => {
  const { code, err } = await said("--config", "supervisor.yaml", "status");
  expect(code).toBe(2);
  expect(err).toMatch(/^cannot run "--config": options stand after the command\nhint: the commands are run, /);
});

test("every command and sub-command says in whole sentences what it does, and shows no default as code", async () => {
  const all = await Promise.all(verbs.filter(({ hidden }) => hidden !== true).map(({ load }) => load()));
  const io = {
    out: () => {},
    err: () => {},
    env: {},
    cwd: "/",
    isTerminal: false,
    colour: false,
    setExitCode: () => {},
  };
  const commands = all.flatMap(({ command: verb }) => {
    const parent = new Command(verb.name).description(verb.summary);
    verb.configure(parent, io);
    return [parent, ...parent.commands];
  });
  expect(commands.length).toBeGreaterThan(40);
  const fragments = commands.filter((command) => !/^[A-Z].*\.$/.test(command.description()));
  const coded = commands.filter((command) => command.helpInformation().includes("default: []"));
  expect([...fragments, ...coded].map((command) => `${command.parent?.name() ?? ""} ${command.name()}`)).toEqual([]);
});
