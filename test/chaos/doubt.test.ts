/** A process of which it cannot be told whether it is the bot: it holds that bot, and no other one. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { ordersSent, startPaper } from "./paper.ts";

/** Kills the supervisor and makes it doubtful whether the living process of the bot is the bot; its pid. */
async function leaveInDoubt(rig: Rig): Promise<number> {
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  const path = rig.state("bots/bot/identity.json");
  const other = '"invocationId":"0123456789abcdef0123456789abcdef"';
  writeFileSync(path, readFileSync(path, "utf8").replace(/"invocationId":"[0-9a-f]+"/, other));
  if (pid === null) throw new Error("the bot has no pid");
  return pid;
}

async function endProcess(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await until("the process has ended", () => !isLive(pid));
}

test.concurrent("a bot in doubt is held, untouched, and the others go on; it is started once the doubt is gone", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY }, other: { command: STAY } } });
  await rig.run();
  const pid = await leaveInDoubt(rig);
  await rig.run();
  await rig.botUntil("the other is adopted", (bot) => bot.state === "running" && bot.adopted, undefined, "other");
  const reason = expect.stringMatching(new RegExp(`^cannot supervise bot: pid ${pid} .* if it is the bot, end it; `));
  expect(await rig.bot()).toMatchObject({ state: "halted", wanted: true, generation: 1, reason });
  expect((await rig.cli("status")).code).toBe(4);
  expect(rig.journal.filter(({ level, text }) => level === "alert" && text.includes(`pid ${pid}`))).toHaveLength(1);
  for (const verb of ["start", "restart"])
    expect(await rig.cli(verb, "bot")).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        new RegExp(`^cannot ${verb} bot: pid ${pid} .*\nhint: look at it \\(ps -fp ${pid}\\)`),
      ),
    });
  // Neither does a reload start it, nor the end of the supervisor end it.
  rig.configure({ bot: { command: [...STAY], env: { NEW: "1" } }, other: { command: STAY } });
  await rig.cli("reload");
  expect((await rig.bot()).state).toBe("halted");
  await rig.endDaemon("SIGTERM");
  expect(isLive(pid)).toBe(true);
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "halted", generation: 1 });
  expect(isLive(pid)).toBe(true);
  await endProcess(pid);
  expect(await rig.cli("start", "bot")).toMatchObject({ code: 0, err: "" });
  expect(await rig.bot()).toMatchObject({ state: "running", generation: 2, adopted: false });
});

test.concurrent("what a bot in doubt has left is ended before its next start: never two of it", async () => {
  // A child of its own session, which outlives the main process.
  const command = ["sh", "-c", "setsid sleep 600 & echo $! > child; exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command }, other: { command: STAY } } });
  await rig.run();
  await until("its child is there", () => rig.read("child").trim() !== "");
  const child = Number(rig.read("child"));
  const pid = await leaveInDoubt(rig);
  await rig.run();
  await endProcess(pid);
  expect(isLive(child)).toBe(true);
  rmSync(rig.path("child"));
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect(isLive(child)).toBe(false);
});

test.concurrent("what may be of a bot that ended unwatched, by its session alone, is left alone, and nothing is started beside it", async () => {
  const command = ["sh", "-c", "env -i sleep 600 & echo $! > child; exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command }, other: { command: STAY } }, hideCgroups: true });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await until("its child is there", () => rig.read("child").trim() !== "");
  const child = Number(rig.read("child"));
  await rig.endDaemon("SIGKILL");
  await endProcess(pid ?? 0);
  await rig.run();
  const reason = expect.stringContaining(`pid ${child}, which is in its session, may be of the bot`);
  expect(await rig.bot()).toMatchObject({ state: "halted", wanted: true, generation: 1, reason });
  expect((await rig.cli("start", "bot")).code).toBe(1);
  expect(isLive(child)).toBe(true);
  await endProcess(child);
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect(await rig.bot()).toMatchObject({ state: "running", generation: 2 });
});

test.concurrent("the bot of a dead supervisor is ended with its whole session before its next start, marked or not", async () => {
  // The child has lost its parent: only the session tells that it is of the bot, and that only while the main process lives.
  const command = ["sh", "-c", "(env -i sleep 600 & echo $! > child); exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command, orphans: "stop" } }, hideCgroups: true });
  await rig.run();
  await until("its child is there", () => rig.read("child").trim() !== "");
  const child = Number(rig.read("child"));
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(await rig.botIn("running")).toMatchObject({ generation: 2 });
  expect(isLive(child)).toBe(false);
});

test.concurrent("whoever clears up after a dead supervisor ends also what the bot leaves in its session without a mark", async () => {
  const command = ["sh", "-c", "env -i sleep 600 & echo $! > child; exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command } }, hideCgroups: true });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await until("its child is there", () => rig.read("child").trim() !== "");
  await rig.endDaemon("SIGKILL");
  expect((await rig.cli("__end-bots")).code).toBe(0);
  expect([isLive(pid ?? 0), isLive(Number(rig.read("child")))]).toEqual([false, false]);
});

test.concurrent("what a bot leaves in its session beside a parent that has left it holds the next start, named, until it is gone", async () => {
  // Nothing but the session tells of the child: it has no mark, and its parent is in another session by then.
  const inner = "sleep 600 & echo $! > child; exec setsid sh -c 'echo $$ > away; exec sleep 600'";
  const main = '[ -e away ] && exec sleep 600; env -i sh -c "$0" & until [ -s away ]; do sleep 0.05; done; exit 1';
  const bots = { bot: { command: ["sh", "-c", main, inner] }, other: { command: STAY } };
  await using rig = new Rig({ bots, hideCgroups: true });
  await rig.run();
  const { reason } = await rig.botIn("stuck");
  const child = Number(rig.read("child"));
  expect(reason).toBe(`cannot be killed: ${child}`);
  expect((await rig.bot()).generation).toBe(1);
  expect(isLive(child)).toBe(true);
  const text = `pid ${child}, which is in the session of main process`;
  expect(rig.journal.filter(({ level, text: told }) => level === "alert" && told.includes(text))).toHaveLength(1);
  await endProcess(child);
  expect(await rig.botIn("running")).toMatchObject({ generation: 2 });
  await endProcess(Number(rig.read("away")));
});

/** A bot, by that name, whose supervisor and main process are dead, and the child that it left in its session without a mark. */
async function leaveChild(rig: Rig, name: string): Promise<number> {
  await rig.run();
  const { pid } = await rig.botUntil("it runs", ({ state }) => state === "running", undefined, name);
  await until("its child is there", () => rig.read("child").trim() !== "");
  await rig.endDaemon("SIGKILL");
  await endProcess(pid ?? 0);
  return Number(rig.read("child"));
}

const LEAVES = { command: ["sh", "-c", "env -i sleep 600 & echo $! > child; exec sleep 600"], account: "one" };

test.concurrent("what may be of a bot that the config no longer names is left alone, and a person is told", async () => {
  await using rig = new Rig({ bots: { bot: LEAVES, other: { command: STAY } }, hideCgroups: true });
  const child = await leaveChild(rig, "bot");
  rig.configure({ other: { command: STAY } });
  await rig.run();
  const text = `bot bot is not in the config any more: pid ${child}, which is in the session of main process`;
  expect(rig.journal.filter((entry) => entry.level === "alert" && entry.text.includes(text))).toHaveLength(1);
  expect(isLive(child)).toBe(true);
  await endProcess(child);
});

test.concurrent("a bot that is held for what one of its account has left is started once a person has taken that one's identity away", async () => {
  await using rig = new Rig({ bots: { old: LEAVES, other: { command: STAY } }, hideCgroups: true });
  const child = await leaveChild(rig, "old");
  rig.configure({ bot: { command: STAY, account: "one" }, other: { command: STAY } });
  await rig.run();
  const reason = expect.stringContaining("also that of old, whose last main process");
  expect(await rig.bot()).toMatchObject({ state: "halted", reason });
  expect((await rig.cli("start", "bot")).code).toBe(1);
  rmSync(rig.state("bots/old/identity.json"));
  expect(await rig.cli("start", "bot")).toMatchObject({ code: 0, err: "" });
  expect((await rig.bot()).state).toBe("running");
  expect(isLive(child)).toBe(true);
  await endProcess(child);
});

test.concurrent("an identity that cannot be read any more takes no doubt away", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY }, other: { command: STAY } } });
  await rig.run();
  const pid = await leaveInDoubt(rig);
  await rig.run();
  writeFileSync(rig.state("bots/bot/identity.json"), "torn");
  expect((await rig.cli("start", "bot")).code).toBe(1);
  expect(await rig.bot()).toMatchObject({ state: "halted", generation: 1 });
  expect(isLive(pid)).toBe(true);
  rmSync(rig.state("bots/bot/identity.json"));
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect(isLive(pid)).toBe(false);
});

test.concurrent("a bot whose identity a newer release wrote is held where there is another bot, and started once the file is gone", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY }, other: { command: STAY } } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  await rig.endDaemon("SIGKILL");
  const path = rig.state("bots/bot/identity.json");
  writeFileSync(path, '{"version":99}');
  await rig.run();
  await rig.botUntil("the other is adopted", ({ adopted }) => adopted, undefined, "other");
  const reason = expect.stringContaining("has format version 99, which a newer release wrote");
  expect(await rig.bot()).toMatchObject({ state: "halted", reason });
  expect((await rig.cli("start", "bot")).code).toBe(1);
  expect([readFileSync(path, "utf8"), isLive(pid ?? 0)]).toEqual(['{"version":99}', true]);
  rmSync(path);
  expect((await rig.cli("start", "bot")).code).toBe(0);
  expect([(await rig.bot()).state, isLive(pid ?? 0)]).toEqual(["running", false]);
});

test.concurrent("a close of a bot in doubt is refused while the process lives, also by the next supervisor, and goes on once it is gone", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { bot, other: { command: STAY } } });
  await rig.run();
  const pid = await leaveInDoubt(rig);
  await rig.run();
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(12);
  await rig.botUntil("the close is refused", ({ emergency }) => emergency.outcome === "refused");
  await rig.endDaemon("SIGKILL");
  // The only bot now: that its account is not proven safe keeps the supervisor from giving up.
  rig.configure({ bot });
  await rig.run();
  expect(await rig.bot()).toMatchObject({ state: "locked", emergency: { outcome: "refused" } });
  expect(isLive(pid)).toBe(true);
  expect(ordersSent(paper.state())).toBe(0);
  await endProcess(pid);
  expect(await rig.cli("emergency", "close", "bot", "--yes")).toMatchObject({ code: 0 });
  expect(await rig.bot()).toMatchObject({ state: "locked", emergency: { outcome: "flat" } });
});
