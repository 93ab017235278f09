/** Where output goes: of a bot elsewhere than into its file, and of the daemon into a log file that others rotate. */
import { existsSync, renameSync } from "node:fs";
import { expect, test } from "vitest";
import { NO_PROCESS, readIdentity } from "../../src/core/identity.ts";
import { isLive } from "../../src/platform/proc.ts";
import { JOURNAL_SOCKET } from "../../src/platform/journal-stream.ts";
import { STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

const TALK = ["sh", "-c", "echo to out; echo to err >&2; exec sleep 600"];

test.concurrent("output.to: inherit goes to the supervisor's own output, and logs says where to look", async () => {
  await using rig = new Rig({ bots: { bot: { command: TALK, output: { to: "inherit" } } } });
  await rig.run();
  await until("it speaks", () => /^to out\nto err$/m.test(rig.read("daemon.err")));
  expect(rig.log).toBe("");
  const { code, out, err } = await rig.cli("logs", "bot");
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toContain("it goes where the supervisor's own output goes (output.to: inherit)");
});

test.concurrent("a pipe that the bots inherit stays blocking: none of them meets EAGAIN", async () => {
  await using rig = new Rig({
    bots: {
      bot: {
        command: [
          "sh",
          "-c",
          "sleep 0.2; cat /proc/$$/fdinfo/1 /proc/$$/fdinfo/2 > flags.new; mv flags.new flags; exec sleep 600",
        ],
        output: { to: "inherit" },
      },
    },
  });
  const child = Bun.spawn([rig.binary, "run"], {
    cwd: rig.folder,
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const read = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  try {
    await until("the bot has looked", () => existsSync(rig.path("flags")));
    const flags = [...rig.read("flags").matchAll(/^flags:\s*([0-7]+)$/gm)].map(([, octal]) =>
      Number.parseInt(octal ?? "", 8),
    );
    expect(flags.map((each) => each & 0o4000)).toEqual([0, 0]);
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
  await read;
});

test.concurrent("a terminal with tostop does not stop a daemon in its background", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  let shown = "";
  // The shell stays, and with it the session: its end would wake up what the terminal has stopped.
  await using shell = Bun.spawn(["sh", "-c", 'set -m; stty tostop; "$0" run & read _', rig.binary], {
    cwd: rig.folder,
    env: { PATH: process.env["PATH"] ?? "" },
    terminal: { data: (_, bytes) => void (shown += new TextDecoder().decode(bytes)) },
  });
  // From the disk: a daemon that is stopped answers nobody.
  const start = (generation: number) =>
    until(`start ${generation} is noted`, () => {
      const read = readIdentity(rig.read(".supervisor/bots/bot/identity.json"));
      if (read.kind !== "known" || read.identity.generation !== generation) return undefined;
      // It is named before it has a process, and pid 0 would be everybody here.
      return read.identity.pid === NO_PROCESS.pid ? undefined : read.identity.pid;
    });
  process.kill(await start(1), "SIGKILL");
  await start(2);
  await until("the terminal shows it", () => shown.includes("killed by SIGKILL"));
  const pid = Number.parseInt(rig.read(".supervisor/supervisor.lock"), 10);
  process.kill(pid, "SIGTERM");
  await until("it has ended", () => !isLive(pid));
  shell.terminal?.write("\n");
  expect(await shell.exited).toBe(0);
});

test.concurrent("a bot that inherits outlives its daemon, and is adopted", async () => {
  await using rig = new Rig({ bots: { bot: { command: TALK, output: { to: "inherit" } } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ pid, adopted: true, generation: 1 });
});

test
  .skipIf(existsSync(JOURNAL_SOCKET))
  .concurrent(
    "output.to: journal without a journald: an alert, and the file takes its place; config check warns, logs has the command",
    async () => {
      await using rig = new Rig({ bots: { bot: { command: TALK, output: { to: "journal" } } } });
      const check = await rig.cli("config", "check");
      expect(check.code).toBe(0);
      expect(check.err).toContain("bots.bot.output.to: there is no journald here");
      await rig.run();
      await until("it speaks into the file", () => rig.log === "to out\nto err\n");
      const alerts = rig.journal.filter(({ level }) => level === "alert").map(({ text }) => text);
      expect(alerts.some((text) => text.includes("the output of this start goes to"))).toBe(true);
      const logs = await rig.cli("logs", "bot", "-f", "-n", "5");
      expect({ code: logs.code, out: logs.out }).toEqual({ code: 1, out: "" });
      expect(logs.err).toContain("journalctl -t tradingbot-bot -f -n 5; ");
      expect((await rig.cli("logs", "bot", "--run", "1")).err).toMatch(
        /journalctl -t tradingbot-bot --since=@\d+\.\d{3}; /,
      );
    },
  );

test.concurrent("LOG_FILE takes the events, goes on in a new file when it was renamed, and a daemon without it goes on too", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run({ LOG_FILE: "own.log" });
  await rig.botIn("running");
  await until("the start is told", () => rig.read("own.log").includes("starting → running"));
  expect(rig.read("own.log")).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z   supervisor  supervisor .* started with/);
  renameSync(rig.path("own.log"), rig.path("own.log.1"));
  expect((await rig.cli("restart", "bot")).code).toBe(0);
  await until("the new file is written", () => rig.read("own.log").includes("starting → running"));
  expect(rig.read("own.log.1")).not.toContain("stopping");
});

test.concurrent("API_PORT opens the page where the config names no address", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run({ API_PORT: "0" });
  const line = rig.journal.find(({ text }) => text.startsWith("http listens on "));
  const url = line?.text.slice("http listens on ".length) ?? "";
  expect((await fetch(`${url}livez`)).status).toBe(200);
});
