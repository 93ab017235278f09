/** A reload of the config in a running daemon: who restarts, who does not, and never two bots on one account. */
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BotStatus } from "../../src/core/status.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { openNotifySocket } from "../../src/platform/notify-socket.ts";
import { isLive } from "../../src/platform/proc.ts";
import { script, STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";

/** A probe that succeeds at once. */
const PROBE = { kind: "exec", name: "check", command: ["true"], period: "2s", timeout: "1s" };

function named(rig: Rig, name: string, state: BotStatus["state"]): Promise<BotStatus> {
  return until(`${name} is ${state}`, async () => {
    const bot = await rig.bot(name);
    return bot.state === state ? bot : undefined;
  });
}

test.concurrent("probes, policy and hooks change in place: the bot keeps its process, unchanged probes their record", async () => {
  const kept = { ...PROBE, name: "kept" };
  await using rig = new Rig({ bots: { bot: { command: STAY, probes: [kept, { ...PROBE, name: "gone" }] } } });
  await rig.run();
  const { pid } = await rig.botUntil("healthy", ({ health }) => health === "healthy");
  const fresh = { ...PROBE, name: "fresh", command: ["sh", "-c", "exit 3"], onFailure: "alert", failureThreshold: 1 };
  rig.configure({ bot: { command: STAY, stopTimeout: "3s", restart: { intensity: 7 }, probes: [fresh, kept] } });
  const reload = await rig.cli("reload");
  expect(reload).toMatchObject({ code: 0, err: "" });
  expect(reload.out).toContain("stopTimeout: 2s → 3s  [in place]");
  const changed = await rig.bot();
  expect(changed).toMatchObject({ pid, generation: 1, restarts: { total: 0, intensity: 7 } });
  expect(changed.probes.map(({ name }) => name)).toEqual(["process", "fresh", "kept"]);
  expect(changed.probes[2]).toMatchObject({ verdict: "healthy" });
  await rig.botUntil("the new probe is judged", ({ probes }) => probes[1]?.verdict === "unhealthy");
  expect((await rig.cli("reload")).out).toContain("nothing has changed");
});

test.concurrent("a changed environment restarts that bot alone, also when only its file has changed, and shows no secret", async () => {
  await using rig = new Rig();
  rig.write("bot.env", "TOKEN=first-secret\n");
  const other = { command: STAY };
  rig.configure({ bot: { command: STAY, envFile: "bot.env" }, other });
  await rig.run();
  await rig.botIn("running");
  const before = await named(rig, "other", "running");
  rig.write("bot.env", "TOKEN=second-secret\n");
  const dry = await rig.cli("config", "diff");
  expect(dry.out).toContain("envFile: content");
  expect((await rig.bot()).generation).toBe(1);
  expect((await rig.cli("reload")).code).toBe(0);
  expect(await rig.bot()).toMatchObject({ state: "running", generation: 2, restarts: { total: 0 } });
  rig.configure({ bot: { command: STAY, envFile: "bot.env", env: { KEY: "third-secret" } }, other });
  const reload = await rig.cli("reload", "--json");
  expect(reload.code).toBe(0);
  expect(JSON.parse(reload.out)).toMatchObject({ applied: true, bots: [{ name: "bot", meaning: "restart" }] });
  expect(await rig.bot()).toMatchObject({ generation: 3, lastExit: { detail: "restarted for its new definition" } });
  expect(await rig.bot("other")).toMatchObject({ pid: before.pid, generation: 1 });
  expect(`${dry.out}${reload.out}${JSON.stringify(rig.journal)}`).not.toContain("-secret");
});

test.concurrent("a bad file changes nothing and says why; what only a new supervisor can change is refused wholly", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const yaml = rig.read("supervisor.yaml");
  rig.write("supervisor.yaml", yaml.replace('"stopTimeout": "2s"', '"stopTimeout": "2 parsecs", "colour": 1'));
  const bad = await rig.cli("reload");
  expect(bad.code).toBe(2);
  expect(bad.err).toMatch(/supervisor\.yaml:\d+: bots\.bot\.stopTimeout: .*\n.*colour/);
  process.kill(rig.daemon.pid, "SIGHUP");
  await until("SIGHUP says so too", () => rig.journal.filter(({ text }) => text.includes("not reloaded")).length === 2);
  rig.configure({ bot: { command: ["sleep", "601"] } }, { logDir: "elsewhere" });
  const refused = await rig.cli("reload");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.err).toContain("logDir needs a restart of the supervisor");
  expect(await rig.bot()).toMatchObject({ pid, generation: 1, state: "running" });
});

test.concurrent("a living bot is not ended for a program that is not there: nothing changes, also with another account", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY }, other: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const other = await named(rig, "other", "running");
  rig.write("no-shell.sh", "#!/nowhere/sh\n", 0o755);
  const typo = { command: ["./loudd.sh"] };
  for (const bot of [
    typo,
    { ...typo, account: "x" },
    { command: ["./no-shell.sh"] },
    { command: STAY, env: { PATH: "/no" } },
  ]) {
    rig.configure({ bot, other: { command: ["sleep", "601"] } });
    const refused = await rig.cli("reload");
    expect(refused.code).toBe(2);
    expect(refused.err).toContain(
      "cannot reload: bot bot runs, and its new definition cannot be started: cannot start ",
    );
    expect(refused.err).toContain("correct bots.bot.command");
    expect((await rig.cli("config", "diff")).code).toBe(2);
  }
  expect(await rig.bot()).toMatchObject({ pid, generation: 1, state: "running" });
  expect(await rig.bot("other")).toMatchObject({ pid: other.pid, generation: 1 });
  rig.configure({ bot: { command: STAY }, added: typo });
  const failed = await rig.cli("reload");
  expect(failed).toMatchObject({ code: 1 });
  expect(failed.out).toContain("failed: it does not come up: cannot start ./loudd.sh: no such file");
});

test.concurrent("a bot that is halted after its restart makes the reload fail", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  rig.configure({
    bot: { command: ["sh", "-c", "exit 78"], ready: "notify", probes: [{ kind: "heartbeat", timeout: "60s" }] },
  });
  const reload = await rig.cli("reload");
  expect(reload.code).toBe(1);
  expect(await rig.bot()).toMatchObject({ state: "halted" });
});

test.concurrent("a file that the daemon does not read is refused, and one that leads to its file is not", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  rig.write("other.yaml", rig.read("supervisor.yaml").replace("600", "601"));
  for (const verb of [["reload"], ["config", "diff"], ["reload", "--dry-run"]]) {
    const refused = await rig.cli(...verb, "-c", "other.yaml");
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toContain(rig.path("other.yaml"));
    expect(refused.err).toContain(`reads ${rig.path("supervisor.yaml")}`);
  }
  symlinkSync("supervisor.yaml", rig.path("link.yaml"));
  for (const file of ["supervisor.yaml", rig.path("supervisor.yaml"), "link.yaml"])
    expect(await rig.cli("reload", "-c", file)).toMatchObject({ code: 0, err: "" });
  expect(await rig.bot()).toMatchObject({ pid, generation: 1 });
});

test.concurrent("two bots swap their accounts: both are stopped before either starts, and each start is its own", async () => {
  await using rig = new Rig();
  const bot = (account: string): object => ({ command: script("one-at-a-time.sh", rig.path(account)), account });
  rig.configure({ a: { ...bot("one") }, b: { ...bot("two") } });
  await rig.run();
  const [a, b] = [await named(rig, "a", "running"), await named(rig, "b", "running")];
  await until("both have started", () => rig.read("one") !== "" && rig.read("two") !== "");
  rig.configure({ a: { ...bot("two") }, b: { ...bot("one") } });
  const reload = await rig.cli("reload");
  expect(reload).toMatchObject({ code: 0, err: "" });
  expect([isLive(a.pid ?? 0), isLive(b.pid ?? 0)]).toEqual([false, false]);
  const now = [await named(rig, "a", "running"), await named(rig, "b", "running")];
  expect(now).toMatchObject([
    { account: "two", generation: 2, restarts: { total: 0 } },
    { account: "one", generation: 2, restarts: { total: 0 } },
  ]);
  await until("both have started again", () =>
    [rig.read("one"), rig.read("two")].every((text) => text.split("\n").length === 3),
  );
  expect(rig.read("one")).toBe(`start ${a.pid}\nstart ${now[1]?.pid}\n`);
  expect(rig.read("two")).toBe(`start ${b.pid}\nstart ${now[0]?.pid}\n`);
  // What an earlier account's start is known by must not hit the start of another one.
  expect((await rig.cli("restart", "a")).code).toBe(0);
  expect(await rig.bot("b")).toMatchObject({ pid: now[1]?.pid, state: "running" });
});

test.concurrent("SIGHUP takes out a removed bot politely, hands its account on, and starts an added one", async () => {
  await using rig = new Rig();
  const polite = { command: script("note-stop.sh", rig.path("stopped")), account: "main" };
  rig.configure({ bot: { command: STAY }, old: polite });
  await rig.run();
  const before = await rig.botIn("running");
  const old = await named(rig, "old", "running");
  rig.configure({
    bot: { command: STAY },
    young: { command: STAY, account: "main" },
    shy: { command: STAY, autostart: false },
  });
  process.kill(rig.daemon.pid, "SIGHUP");
  await until("the new bot is known", async () => (await rig.status()).bots.some(({ name }) => name === "young"));
  expect(await named(rig, "young", "running")).toMatchObject({ account: "main", generation: 1 });
  expect(await rig.bot("shy")).toMatchObject({ state: "stopped", wanted: false });
  expect((await rig.status()).bots.map(({ name }) => name).toSorted()).toEqual(["bot", "shy", "young"]);
  expect(isLive(old.pid ?? 0)).toBe(false);
  expect(await rig.bot()).toMatchObject({ pid: before.pid, generation: 1 });
  expect((await rig.cli("stop", "old")).code).toBe(2);
});

test.concurrent("a bot whose account is not flat keeps it until a reload has repaired its emergency section and it is closed", async () => {
  await using paper = await startPaper();
  await using rig = new Rig();
  const other = { command: STAY };
  const bot = (key: string): object => ({ command: STAY, emergency: emergencyAt(paper.url, { apiKeyFile: key }) });
  rig.write("wrong.key", "wrong");
  rig.configure({ bot: { ...bot("wrong.key") }, other });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(13);
  await rig.botIn("locked");
  for (const bots of [
    { other },
    { bot: { command: STAY }, other },
    { bot: { ...bot("paper.key"), account: "x" }, other },
  ]) {
    rig.configure(bots);
    const refused = await rig.cli("reload");
    expect(refused.code).toBe(2);
    expect(refused.err).toContain("bot bot is locked and must keep its account");
  }
  rig.configure({ bot: { ...bot("paper.key") }, other });
  const repaired = await rig.cli("reload");
  expect(repaired).toMatchObject({ code: 0 });
  expect(await rig.bot()).toMatchObject({ state: "locked", generation: 1 });
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  rig.configure({ other });
  expect((await rig.cli("reload")).code).toBe(0);
  expect((await rig.status()).bots.map(({ name }) => name)).toEqual(["other"]);
  expect(paper.state()).toMatchObject({ flat: true });
});

test.concurrent("a reload while positions are being closed lets the close end as it began", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botIn("running");
  const close = rig.cli("emergency", "close", "bot", "--yes");
  // Not before: a close whose fence lasts still begins with the settings that there are by then.
  await until("its worker is at the venue", () => Object.keys(paper.state().requests).length > 0);
  rig.configure({ bot: { command: ["sleep", "601"], emergency: emergencyAt("http://127.0.0.1:1") } });
  expect((await rig.cli("reload")).code).toBe(0);
  expect((await close).code).toBe(0);
  expect(await rig.botIn("locked")).toMatchObject({ emergency: { state: "flat" } });
  expect(paper.state()).toMatchObject({ flat: true, violations: [] });
});

test.concurrent("the positions of a bot can be closed while a reload that replaces it waits for another one to stop", async () => {
  await using paper = await startPaper();
  await using rig = new Rig();
  const deaf = { command: script("ignore-term.sh", rig.path("pid")), stopTimeout: "4s" };
  const bot = { command: STAY, emergency: emergencyAt(paper.url) };
  rig.configure({ bot, deaf });
  await rig.run();
  await rig.botIn("running");
  await until("the other one ignores SIGTERM by now", () => rig.read("pid") !== "");
  rig.configure({ bot: { ...bot, account: "elsewhere" }, deaf: { ...deaf, account: "anywhere" } });
  const reload = rig.cli("reload");
  await until("the bot is down", () =>
    rig.journal.some((line) => line.bot === "bot" && line.text.includes("→ stopped")),
  );
  expect(await rig.cli("emergency", "close", "bot", "--yes")).toMatchObject({ code: 0, err: "" });
  expect(paper.state()).toMatchObject({ flat: true });
  expect((await reload).out).toContain("bot: restart, now locked");
  expect(await rig.bot()).toMatchObject({ state: "locked", generation: 1, emergency: { state: "flat" } });
  expect(await named(rig, "deaf", "running")).toMatchObject({ account: "anywhere", generation: 2 });
});

test.concurrent("pages come, move and know the bots of the new config, and two reloads at once are done one by one", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  await rig.botIn("running");
  rig.configure({ bot: { command: STAY } }, { http: { listen: "127.0.0.1:0" } });
  expect((await rig.cli("reload")).code).toBe(0);
  const address = await until("the page is there", () => /http:\/\/127\.0\.0\.1:\d+/.exec(rig.read("daemon.err"))?.[0]);
  expect((await fetch(`${address}/readyz`)).status).toBe(200);
  const slow = { command: STAY, ready: "notify", startTimeout: "3s" };
  rig.configure({ bot: { command: STAY }, slow }, { http: { listen: "127.0.0.1:0" } });
  const first = rig.request("/v1/reload", { method: "POST" });
  await until("the new bot is known", async () => (await rig.status()).bots.length === 2);
  expect((await fetch(`${address}/readyz`)).status).toBe(503);
  const second = await rig.request("/v1/reload", { method: "POST" });
  expect(second.status).toBe(409);
  expect(await second.json()).toMatchObject({ error: { code: "inProgress" } });
  await rig.endDaemon("SIGTERM");
  await first.catch(() => undefined);
});

test.concurrent("a bot that waits for its restart gets the new definition with it, a halted one when it is started", async () => {
  await using rig = new Rig();
  const dying = { command: ["false"], restart: { base: "2s", cap: "2s" } };
  const halting = { command: ["sh", "-c", "exit 78"] };
  rig.configure({ bot: dying, halted: halting });
  await rig.run();
  await rig.botIn("backoff");
  await named(rig, "halted", "halted");
  rig.configure({ bot: { ...dying, command: STAY }, halted: { command: STAY } });
  const reload = await rig.cli("reload");
  expect(reload.code).toBe(0);
  expect(reload.out).toContain("supervisor start halted");
  expect(await rig.bot("halted")).toMatchObject({ state: "halted" });
  expect((await rig.cli("start", "halted")).code).toBe(0);
  expect(await rig.botIn("running")).toMatchObject({ restarts: { attempt: 1 } });
});

test.concurrent("a halted bot that gets another account is started by nobody's order, and stays halted", async () => {
  await using rig = new Rig({ bots: { bot: { command: ["sh", "-c", "exit 78"], account: "one" } } });
  await rig.run();
  const before = await rig.botIn("halted");
  rig.configure({ bot: { command: STAY, account: "two" } });
  const reload = await rig.cli("reload");
  expect(reload).toMatchObject({ code: 0, err: "" });
  expect(reload.out).toContain("supervisor start");
  expect(await rig.bot()).toMatchObject({ state: "halted", account: "two", generation: 1, reason: before.reason });
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect(await rig.botIn("running")).toMatchObject({ account: "two", generation: 2 });
});

test.concurrent("the service manager is told how many bots there are after a reload", async () => {
  await using folder = new Rig();
  const told: string[] = [];
  const socket = openNotifySocket({
    path: folder.path("notify"),
    mode: 0o600,
    clock: systemClock,
    onDatagram: ({ text }) => void told.push(text),
  });
  if ("error" in socket) throw new Error(socket.error);
  await using rig = new Rig({ bots: { bot: { command: STAY } }, env: { NOTIFY_SOCKET: socket.path } });
  const isTold = (text: string) => (): boolean => {
    socket.drain();
    return told.includes(text);
  };
  await rig.run();
  await until("it is told of one", isTold("READY=1\nSTATUS=1 bots"));
  rig.configure({ bot: { command: STAY }, other: { command: STAY } });
  expect((await rig.cli("reload")).code).toBe(0);
  await until("it is told of two", isTold("READY=1\nSTATUS=2 bots"), 5_000);
  await rig.endDaemon("SIGTERM");
  socket.close();
});

test.concurrent("a daemon that is stopped, or killed, in the middle of a reload starts nothing more, and the next one reads the new file", async () => {
  await using rig = new Rig();
  const deaf = { command: script("ignore-term.sh", rig.path("pid")), account: "main", stopTimeout: "3s" };
  const heir = { command: STAY, account: "main" };
  rig.configure({ deaf });
  await rig.run();
  await until("the bot ignores SIGTERM by now", () => rig.read("pid") !== "");
  const { pid } = await named(rig, "deaf", "running");
  rig.configure({ heir });
  process.kill(rig.daemon.pid, "SIGHUP");
  await named(rig, "deaf", "stopping");
  expect((await rig.cli("start", "deaf")).err).toContain("a reload is about to replace or remove it");
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(await named(rig, "heir", "running")).toMatchObject({ account: "main" });
  expect(isLive(pid ?? 0)).toBe(false);
  rig.configure({ deaf });
  rig.write("pid", "");
  expect((await rig.cli("reload")).code).toBe(0);
  await until("the bot ignores SIGTERM by now", () => rig.read("pid") !== "");
  rig.configure({ heir });
  process.kill(rig.daemon.pid, "SIGHUP");
  await named(rig, "deaf", "stopping");
  expect(await rig.endDaemon("SIGTERM")).toBe(0);
  const starts = rig.journal.filter(({ bot, text }) => bot === "heir" && text.includes("→ starting"));
  expect(starts.length).toBe(1);
});

test.concurrent("a bot that a reload cannot take in is told of, and taken in as soon as it can be had", async () => {
  await using rig = new Rig();
  rig.configure({ bot: { command: STAY } });
  await rig.run();
  await rig.botIn("running");
  // Something else has the name of its folder.
  writeFileSync(rig.state("bots/newcomer"), "in the way");
  rig.configure({ bot: { command: STAY }, newcomer: { command: STAY } });
  expect(await rig.cli("reload")).toMatchObject({ code: 1, out: expect.stringContaining("nobody supervises it") });
  const status = await rig.cli("status");
  expect(status).toMatchObject({ code: 1, out: expect.stringContaining("not supervised") });
  expect(await rig.cli("status", "newcomer")).toMatchObject({
    code: 1,
    err: expect.stringContaining("not supervised"),
  });
  const start = await rig.cli("start", "newcomer");
  expect(start).toMatchObject({ code: 1, err: expect.stringContaining("it is tried again every 10 s") });
  // The next version would know nothing of an order that it is to obey.
  expect(await rig.cli("upgrade")).toMatchObject({ code: 1, err: expect.stringContaining("not supervised") });
  rmSync(rig.state("bots/newcomer"));
  await until("newcomer runs", async () => {
    const bot = (await rig.status()).bots.find(({ name }) => name === "newcomer");
    return bot?.state === "running" ? bot : undefined;
  });
  expect((await rig.cli("status")).out).not.toContain("not supervised");
  expect(JSON.stringify(rig.journal)).toContain("bot newcomer is taken in now");
});
