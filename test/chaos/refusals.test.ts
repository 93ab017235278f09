/** What the binary refuses, and what it still tells when there is no daemon. */
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";

test.concurrent("supervisor run refuses a wrong config with all its mistakes, each with file and line", async () => {
  await using rig = new Rig();
  rig.write(
    "supervisor.yaml",
    `version: 1
bots:
  momentum:
    command: [bun, run, bot.ts]
    stopTimeout: "30"
    probes:
      - { kind: heartbeat, periodd: 5s }
    emergency: { exchange: binancee, apiKeyFile: k, apiSecretFile: s }
`,
  );
  const run = await rig.cli("run");
  expect(run).toMatchObject({ code: 2, out: "" });
  expect(run.err.split("\n")).toEqual([
    "cannot use config supervisor.yaml: 3 errors",
    'supervisor.yaml:5: bots.momentum.stopTimeout: "30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)',
    'supervisor.yaml:7: bots.momentum.probes.0.periodd: unknown key; did you mean "period"?',
    'supervisor.yaml:8: bots.momentum.emergency.exchange: "binancee" is not an exchange that ccxt knows; did you mean binance?',
    "",
  ]);
  expect(await rig.cli("config", "check")).toMatchObject({ code: 2, err: run.err });
});

test.concurrent("supervisor run refuses a config that does not exist, and a key file that does not", async () => {
  await using rig = new Rig();
  const none = await rig.cli("run");
  expect(none.code).toBe(2);
  expect(none.err).toContain("supervisor.yaml");
  rig.configure({ bot: { command: STAY, emergency: emergencyAt("http://127.0.0.1:9", { apiKeyFile: "lost.key" }) } });
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toMatch(/supervisor\.yaml:\d+: bots\.bot\.emergency\.apiKeyFile: .*lost\.key/);
});

test.concurrent("supervisor run refuses a state folder that cannot be written", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { stateDir: "paper.key/state" } });
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toMatch(/supervisor\.yaml:3: stateDir: cannot write to .*paper\.key\/state/);
});

test.concurrent("supervisor run refuses a runtime folder whose socket's name is too long for the kernel", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { runtimeDir: "r".repeat(100) } });
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toMatch(
    /runtimeDir: the socket path .* has \d+ bytes and may have 107; set runtimeDir to a shorter folder/,
  );
});

test.concurrent("a second supervisor run on the same folder is refused with the pid of the first, which goes on", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  const second = await rig.cli("run");
  expect(second.code).toBe(2);
  expect(second.err).toContain(
    `cannot run on ${join(rig.folder, ".supervisor")}: the supervisor with pid ${pid} has it`,
  );
  expect(second.err).toContain("hint: stop that one first");
  expect(await rig.bot()).toMatchObject({ state: "running", pid: before.pid, generation: 1 });
});

test.concurrent("commands without a daemon exit 3; status shows what was known last and says so", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const never = await rig.cli("status");
  expect(never).toMatchObject({ code: 3, out: "" });
  expect(never.err).toContain("it is not running");
  expect(never.err).toContain("hint: start it with: supervisor run");
  await rig.run();
  const { pid } = await rig.botUntil("the bot is healthy", ({ health }) => health === "healthy");
  await until("the snapshot is on disk", () => rig.read(".supervisor/status.json").includes(`"pid":${pid}`));
  await rig.endDaemon("SIGKILL");
  const stale = await rig.cli("status");
  expect(stale.code).toBe(3);
  expect(stale.out).toMatch(/^the supervisor is not running; last known state, as of \d{4}-/);
  expect(stale.out).toContain("running");
  // Safe: the command's own JSON.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const json = JSON.parse((await rig.cli("status", "--json")).out) as { supervisor: object; bots: object[] };
  expect(json.supervisor).toMatchObject({ pid: null, health: "down" });
  expect(json.bots).toMatchObject([{ name: "bot", pid }]);
  for (const command of [
    ["start", "bot"],
    ["stop", "bot"],
    ["restart", "bot"],
    ["arm", "bot", "--reason", "x"],
    ["events", "-f"],
  ])
    expect((await rig.cli(...command)).code).toBe(3);
  expect((await rig.cli("events")).code).toBe(0);
  expect((await rig.cli("logs", "bot")).code).toBe(0);
  // The bot that the killed daemon left is adopted by the next one.
  await rig.run();
  await rig.botUntil("the bot is adopted", ({ state, adopted }) => state === "running" && adopted);
});

test.concurrent("a supervisor that cannot open its control socket ends the start with what is wrong and leaves nothing running", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } }, config: { control: { group: "no-such-group" } } });
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toContain("no-such-group");
});

test.concurrent("the binary reads no .env and no bunfig.toml of the folder that it is started in", async () => {
  await using rig = new Rig({ bots: { bot: { command: ["env"], restart: { policy: "on-failure" } } } });
  rig.write("preload.ts", 'require("node:fs").writeFileSync("preloaded", "");');
  rig.write("bunfig.toml", 'preload = ["./preload.ts"]\n');
  rig.write(".env", "BOT_EMERGENCY_SHUTDOWN=true\nPATH=/nowhere\n");
  await rig.run();
  await rig.botUntil("the bot has run", ({ state, generation }) => state === "stopped" && generation === 1);
  expect(rig.read("preloaded")).toBe("");
  expect(await Bun.file(rig.path("preloaded")).exists()).toBe(false);
  expect(rig.log).not.toContain("/nowhere");
});

test.concurrent("supervisor stop and start hold across a restart of the daemon only as autostart says", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY, autostart: false } } });
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "stopped", generation: 0 });
  expect((await rig.cli("status")).code).toBe(0);
  const start = await rig.cli("start", "bot", "--json");
  expect(JSON.parse(start.out)).toEqual({ bot: "bot", state: "running" });
  const { pid } = await rig.bot();
  const again = await rig.cli("restart", "bot");
  expect(again).toMatchObject({ code: 0, out: "bot restarted; it is running\n" });
  expect(await rig.bot()).toMatchObject({ generation: 2, restarts: { total: 0 } });
  expect((await rig.bot()).pid).not.toBe(pid);
  await rig.endDaemon("SIGTERM");
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "stopped", generation: 2 });
});

test.runIf(process.getuid?.() === 0)(
  "a supervisor that may not read its state folder says which, why and what to do",
  async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    await rig.run();
    await rig.botIn("running");
    await rig.endDaemon("SIGTERM");
    chmodSync(rig.folder, 0o755);
    chmodSync(rig.path("supervisor.yaml"), 0o644);
    chmodSync(rig.state("bots"), 0o700);
    for (const mode of [0o755, 0o777]) {
      chmodSync(rig.state(""), mode);
      chmodSync(rig.state("run"), mode);
      chmodSync(rig.state("log"), mode);
      const child = Bun.spawnSync(["setpriv", "--reuid=65534", "--clear-groups", rig.binary, "run"], {
        cwd: rig.folder,
        stderr: "pipe",
      });
      const text = child.stderr.toString();
      expect(child.exitCode).not.toBe(0);
      expect(text).toMatch(/cannot (read|write|open|lock) .*: permission denied/);
      expect(text).not.toMatch(/scandir/);
    }
  },
);

test
  .runIf(process.getuid?.() === 0)
  .concurrent("a user who may not look into a bot's state is told so, and not that there is none", async () => {
    await using rig = new Rig({ bots: { bot: { command: STAY } } });
    await rig.run();
    await rig.botIn("running");
    await rig.endDaemon("SIGTERM");
    chmodSync(rig.folder, 0o755);
    chmodSync(rig.path("supervisor.yaml"), 0o644);
    for (const verb of ["show", "doctor"]) {
      const argv = ["setpriv", "--reuid=65534", "--clear-groups", rig.binary, "state", verb, "bot"];
      const { exitCode, stderr, stdout } = Bun.spawnSync(argv, { cwd: rig.folder, stderr: "pipe", stdout: "pipe" });
      expect([exitCode, stdout.toString()]).toEqual([1, ""]);
      expect(stderr.toString()).toMatch(
        /^cannot read the state: permission denied: .*bots\/bot\/state\nhint: run the command/,
      );
    }
  });

test.concurrent("logs says when its output could not be written, and exits 1", async () => {
  await using rig = new Rig({ bots: { bot: { command: ["sh", "-c", "echo here; exec sleep 600"] } } });
  await rig.run();
  await rig.botUntil("it has said something", () => rig.read(".supervisor/log/bot.log") !== "");
  const argv = ["sh", "-c", `"${rig.binary}" logs bot > /dev/full`];
  const { exitCode, stderr } = Bun.spawnSync(argv, { cwd: rig.folder, stderr: "pipe" });
  expect([exitCode, stderr.toString()]).toEqual([
    1,
    expect.stringContaining("cannot write to standard output: ENOSPC"),
  ]);
});

function commandHead(verb: string, header: string): string {
  return `POST /v1/bots/bot/${verb} HTTP/1.1\r\nHost: supervisor\r\n${header}\r\n\r\n`;
}

/** What a socket of the state folder answers to a request as it stands, "" when it ends the connection without a word. */
async function rawAnswer(rig: Rig, text: string, file = "run/control.sock"): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let heard = "";
  const socket = await Bun.connect({
    unix: rig.state(file),
    socket: {
      data: (_, bytes) => void (heard += bytes.toString()),
      close: () => resolve(heard),
    },
  });
  socket.write(text);
  return promise;
}

test.concurrent("a request whose host is none is refused as a bad one, and the daemon writes nothing about it", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  for (const file of ["run/control.sock", "run/bots/bot.sock"])
    // Safe: one after the other.
    // oxlint-disable-next-line no-await-in-loop
    expect(await rawAnswer(rig, "GET /v1/level HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n", file)).toMatch(
      /^HTTP\/1\.1 400 /,
    );
  expect(rig.read("daemon.err")).not.toContain("ERR_INVALID_URL");
});

test.concurrent("a command whose body is malformed or cut off is refused and does nothing", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  for (const verb of ["stop", "restart"]) {
    const malformed = await rawAnswer(rig, `${commandHead(verb, "Transfer-Encoding: chunked")}ZZ\r\nhello\r\n`);
    expect(malformed).toMatch(/^HTTP\/1\.1 400 /);
    const cut = await Bun.connect({ unix: rig.state("run/control.sock"), socket: { data: () => {} } });
    cut.write(`${commandHead(verb, "Content-Length: 100")}{`);
    cut.end();
  }
  // Answered after whatever the cut ones did.
  expect((await rig.request("/v1/bots/bot/start", { method: "POST", body: "{}" })).status).toBe(200);
  expect(await rig.bot()).toMatchObject({ state: "running", pid, generation: 1 });
});

test.concurrent.each([
  ["environment file", "bot.env", "cannot read envFile"],
  ["program", "program", "program"],
])("supervisor restart does not end a bot whose %s is gone", async (_, file, why) => {
  await using rig = new Rig();
  rig.write("bot.env", "MODE=paper\n");
  const text = "#!/bin/sh\nexec sleep 600\n";
  rig.write("program", text, 0o755);
  rig.configure({ bot: { command: ["./program"], envFile: "bot.env" } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  rmSync(rig.path(file));
  const refused = await rig.cli("restart", "bot");
  expect(refused).toMatchObject({ code: 1, out: "" });
  expect(refused.err).toContain("cannot restart bot: it is up, and could not be started again: ");
  expect(refused.err).toContain(why);
  expect(await rig.bot()).toMatchObject({ state: "running", pid });
  rig.write(file, file === "program" ? text : "MODE=paper\n", 0o755);
  expect((await rig.cli("restart", "bot")).code).toBe(0);
  expect((await rig.botIn("running")).pid).not.toBe(pid);
});
