/** The supervisor is killed and the bot runs on: the next one goes on with it, untouched, and knows it beyond doubt. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { script, STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";

/** Kills the supervisor, starts the next and waits until it has adopted the bot. */
async function replaceDaemon(rig: Rig): Promise<void> {
  await rig.endDaemon("SIGKILL");
  await rig.run();
  await rig.botUntil("the bot is adopted", ({ adopted, state }) => adopted && state === "running");
}

test.concurrent("a bot runs on through five deaths of its supervisor, the same process, never a second one", async () => {
  await using rig = new Rig();
  const starts = rig.path("starts");
  rig.configure({ bot: { command: script("one-at-a-time.sh", starts) } });
  await rig.run();
  const first = await rig.botIn("running");
  await until("the bot has started", () => rig.read("starts") !== "");
  for (let death = 0; death < 5; death += 1) {
    await replaceDaemon(rig);
    expect(await rig.bot()).toMatchObject({ pid: first.pid, generation: 1, adopted: true, restarts: { total: 0 } });
  }
  expect(rig.read("starts")).toBe(`start ${first.pid}\n`);
});

test.concurrent("an adopted bot is restarted when it dies, stopped when it is told to, and its count goes on", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const first = await rig.botIn("running");
  process.kill(first.pid ?? Number.NaN, "SIGKILL");
  await rig.botUntil("the bot runs again", ({ state, generation }) => state === "running" && generation === 2);
  await replaceDaemon(rig);
  const adopted = await rig.bot();
  expect(adopted).toMatchObject({ generation: 2, restarts: { total: 1 } });
  process.kill(adopted.pid ?? Number.NaN, "SIGKILL");
  const next = await rig.botUntil(
    "the next one runs",
    ({ state, generation }) => state === "running" && generation === 3,
  );
  expect(next).toMatchObject({
    adopted: false,
    restarts: { total: 2, byReason: { exited: 1, signal: 1 } },
    lastExit: { cause: "exited" },
  });
  await replaceDaemon(rig);
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  expect(isLive(next.pid ?? 0)).toBe(false);
});

test.concurrent("a bot whose READY=1 came while no supervisor lived is not killed for it: it counts as ready, with a warning", async () => {
  await using rig = new Rig();
  const ready = "while ! [ -e go ]; do sleep 0.05; done; timeout 2 systemd-notify --ready; touch said; exec sleep 600";
  rig.configure({ bot: { command: ["sh", "-c", ready], ready: "notify", startTimeout: "5s" } });
  await rig.run();
  const { pid } = await rig.botUntil("the bot has started", (bot) => bot.state === "starting" && bot.pid !== null);
  await rig.endDaemon("SIGKILL");
  rig.write("go", "");
  await until("the bot has said that it is ready", () => existsSync(rig.path("said")));
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ pid, adopted: true, ready: true, restarts: { total: 0 } });
  expect(rig.journal.filter(({ text }) => text.includes("counts as ready: it was adopted"))).toHaveLength(1);
});

test.concurrent("a bot that has asked for another heartbeat timeout is held to that one also by the next supervisor", async () => {
  await using rig = new Rig();
  const ask = "timeout 2 systemd-notify WATCHDOG_USEC=0; exec sleep 600";
  rig.configure({ bot: { command: ["sh", "-c", ask], probes: [{ kind: "heartbeat", timeout: "2s" }] } });
  await rig.run();
  const identity = rig.state("bots/bot/identity.json");
  const { pid } = await rig.botUntil("the watch is off", ({ health }) => health === "healthy");
  await until("the supervisor has noted it", () => readFileSync(identity, "utf8").includes("watchdogMs"));
  await replaceDaemon(rig);
  // By the timeout of the config nothing is known of a bot without a heartbeat, and after two seconds the worst.
  const adopted = await rig.botUntil("the watch is off again", ({ health }) => health === "healthy");
  expect(adopted).toMatchObject({ pid, generation: 1, restarts: { total: 0 } });
});

test.concurrent("a degraded bot is not told that it may do everything by the next supervisor, or by a reload, before its probe has said so", async () => {
  await using rig = new Rig();
  const command = ["test", "-e", rig.path("well")];
  const probe = { kind: "exec", command, period: "2s", timeout: "1s", onFailure: "degrade" };
  const configure = (failureThreshold: number): void =>
    rig.configure({ bot: { command: STAY, probes: [{ ...probe, failureThreshold }] } });
  configure(2);
  await rig.run();
  const level = (): string => readFileSync(rig.state("run/bots/bot.level"), "utf8").trim();
  await until("it is told to degrade", () => level() === "degraded");
  await replaceDaemon(rig);
  await rig.botUntil("the probe has failed once", ({ probes }) => probes.some(({ failures }) => failures === 1));
  expect(level()).toBe("degraded");
  await rig.botUntil("the probe has failed twice", ({ probes }) => probes.some(({ failures }) => failures === 2));
  expect(level()).toBe("degraded");
  // A probe that a reload changes begins anew.
  configure(100);
  expect((await rig.cli("reload")).code).toBe(0);
  await rig.botUntil("nothing is known", ({ probes }) => probes.some(({ verdict }) => verdict === "pending"));
  expect(level()).toBe("degraded");
  rig.write("well", "");
  await until("it is told that it may do everything", () => level() === "normal");
});

test.concurrent("an adopted bot speaks on the same socket, and is replaced when it falls silent", async () => {
  await using rig = new Rig();
  const probes = [{ kind: "heartbeat", timeout: "2s" }];
  rig.configure({ bot: { command: script("beat.sh"), probes } });
  await rig.run();
  const first = await rig.botUntil("the bot is healthy", ({ health }) => health === "healthy");
  await replaceDaemon(rig);
  const healthy = await rig.botUntil("its heartbeat is heard", ({ health }) => health === "healthy");
  expect(healthy).toMatchObject({ pid: first.pid, adopted: true });
  process.kill(first.pid ?? Number.NaN, "SIGSTOP");
  const next = await rig.botUntil(
    "it is replaced",
    ({ generation, health }) => generation === 2 && health === "healthy",
  );
  expect(next).toMatchObject({ adopted: false, lastExit: { cause: "heartbeat" } });
});

test.concurrent("an adopted bot is fenced and its account closed like any other", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await replaceDaemon(rig);
  process.kill(rig.daemon.pid, "SIGUSR2");
  expect(await rig.botIn("locked")).toMatchObject({ emergency: { state: "flat" }, generation: 1 });
  expect(isLive(pid ?? 0)).toBe(false);
  expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
});

test.concurrent("a bot whose definition has changed meanwhile goes on, says so, and a reload starts it anew", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: ["sleep", "601"] } });
  await rig.run();
  const adopted = await rig.botIn("running");
  expect(adopted).toMatchObject({ pid, adopted: true, definition: "outdated" });
  expect((await rig.cli("status")).out).toContain("supervisor restart bot");
  const reload = await rig.cli("reload");
  expect(reload).toMatchObject({ code: 0 });
  expect(reload.out).toContain("definition");
  expect(await rig.bot()).toMatchObject({ state: "running", generation: 2, adopted: false, definition: "current" });
  expect(isLive(pid ?? 0)).toBe(false);
});

test.concurrent("a bot whose account has changed meanwhile is ended and started anew", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: STAY, account: "other" } });
  await rig.run();
  await rig.botUntil("the new one runs", ({ state, generation }) => state === "running" && generation === 2);
  expect(isLive(pid ?? 0)).toBe(false);
});

test.concurrent("a bot that was being stopped when its supervisor died is ended, not adopted", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("ignore-term.sh", "pid"), stopTimeout: "60s" } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await until("the bot ignores SIGTERM by now", () => rig.read("pid") !== "");
  const restart = rig.cli("restart", "bot");
  await rig.botIn("stopping");
  await rig.endDaemon("SIGKILL");
  await restart;
  await rig.run();
  await rig.botUntil("the next one runs", ({ state, generation }) => state === "running" && generation === 2);
  expect(isLive(pid ?? 0)).toBe(false);
  // The next one ignores SIGTERM as well, and the end of the test has no minute for it.
  rig.configure({ bot: { command: STAY } });
  process.kill((await rig.bot()).pid ?? Number.NaN, "SIGKILL");
});

test.concurrent("an identity in doubt is refused: no second copy, the pid named, the process untouched", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  const path = rig.state("bots/bot/identity.json");
  const before = readFileSync(path, "utf8");
  writeFileSync(
    path,
    before.replace(/"invocationId":"[0-9a-f]+"/, '"invocationId":"0123456789abcdef0123456789abcdef"'),
  );
  const run = await rig.cli("run");
  expect(run.code).toBe(2);
  expect(run.err).toContain(`pid ${pid}`);
  expect(run.err).toContain("if it is the bot, end it");
  expect(isLive(pid ?? 0)).toBe(true);
  writeFileSync(path, before);
  await rig.run();
  await rig.botUntil("the bot is adopted", ({ adopted }) => adopted);
});

test.concurrent("that a bot is gone is said after a supervisor that died, not after one that stopped it", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const said = (): number => rig.journal.filter(({ text }) => text?.includes("is not adopted")).length;
  await rig.run();
  await rig.botIn("running");
  await rig.endDaemon("SIGTERM");
  await rig.run();
  const { pid } = await rig.botIn("running");
  expect(said()).toBe(0);
  await rig.endDaemon("SIGKILL");
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await until("the bot is gone", () => !isLive(pid ?? 0));
  await rig.run();
  await rig.botIn("running");
  expect(said()).toBe(1);
});

/** Within it the second look is taken: a second after the start, by a daemon that tells nobody of a look that found nothing, ms. */
const SECOND_LOOK_MS = 2_500;
/** Longest time that the end of what it found is waited for, ms. */
const ENDED_PATIENCE_MS = 4_000;

/** A process that carries the bot's lasting mark and no start of this supervisor, as if one look had missed it. */
function overlooked(socket: string) {
  return Bun.spawn({
    cmd: ["sleep", "600"],
    env: { PATH: process.env["PATH"], SUPERVISOR_SOCKET: socket, INVOCATION_ID: "0123456789abcdef0123456789abcdef" },
    stdio: ["ignore", "ignore", "ignore"],
  });
}

test.concurrent("what the look at the start has missed of an earlier bot is ended by the second, while the bot rests", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY, autostart: false } } });
  // The second look is a second after the start: on a slow machine the process may come too late for it, and is tried again.
  const ended = await until("one comes between the looks", async () => {
    await rig.run();
    const left = overlooked(rig.state("run/bots/bot.sock"));
    await Promise.race([left.exited, Bun.sleep(ENDED_PATIENCE_MS)]);
    const { signalCode } = left;
    left.kill("SIGTERM");
    await rig.endDaemon("SIGTERM");
    return signalCode ?? undefined;
  });
  expect(ended).toBe("SIGKILL");
  expect(rig.read("daemon.err")).toContain("ending what an earlier supervisor left behind");
});

test.concurrent("what both looks have missed of an earlier bot is ended with the first end of the next", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  const socket = /SUPERVISOR_SOCKET=([^\0]+)/.exec(readFileSync(`/proc/${pid}/environ`, "utf8"))?.[1] ?? "";
  const left = overlooked(socket);
  // Until after the second look, at which it lives and is not of this start.
  await Bun.sleep(SECOND_LOOK_MS);
  expect(left.signalCode).toBeNull();
  expect((await rig.cli("stop", "bot")).code).toBe(0);
  await left.exited;
  expect(left.signalCode).toBe("SIGKILL");
});
