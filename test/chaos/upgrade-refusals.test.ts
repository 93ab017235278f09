/** Upgrades that are not made: what is no fit successor, or would not go on with all there is, is refused, and the daemon goes on. */
import { chmodSync, copyFileSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { upgradeAnswerSchema, upgradeStateSchema } from "../../src/core/upgrade.ts";
import { script, STAY } from "./fixture.ts";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { lasting, NEXT_VERSION, nextVersion } from "./next-version.ts";
import { startPaper } from "./paper.ts";

const next = nextVersion("next-refused");

test.concurrent("a program that is no fit supervisor is refused with the reason, and the old one goes on", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  const { startedAt } = (await rig.status()).supervisor;
  const refused = async (binary: string, why: string): Promise<void> => {
    const { code, err } = await rig.cli("upgrade", "--binary", binary);
    expect(err).toContain(why);
    expect(code).toBe(1);
  };
  await refused(rig.path("none"), "no such file");
  await refused(rig.write("script", "#!/bin/sh\necho '{}'\n", 0o755), "not a binary");
  await refused("/bin/true", "no supervisor that can take over");
  await refused("/bin/false", "ended with code 1");
  await refused(rig.folder, "not a file");
  copyFileSync("/bin/true", rig.path("plain"));
  chmodSync(rig.path("plain"), 0o644);
  await refused(rig.path("plain"), "not executable");
  chmodSync(rig.path("plain"), 0o777);
  await refused(rig.path("plain"), "written by its group or others");
  const foreign = readFileSync("/bin/true");
  foreign.writeUInt16LE(243, 18);
  rig.write("foreign", "");
  await Bun.write(rig.path("foreign"), foreign);
  chmodSync(rig.path("foreign"), 0o755);
  await refused(rig.path("foreign"), "another kind of machine");
  rig.configure({ bot: { command: STAY, account: "elsewhere" } });
  await refused(next, "it would not go on with bot bot: its account in the config was bot and is elsewhere");
  rig.configure({ other: { command: STAY } });
  await refused(next, "does not name bot bot");
  rig.write("supervisor.yaml", "version: 2\n");
  await refused(next, "version");
  rig.configure({ bot: { command: STAY } });
  const installation = rig.state("installation.json");
  const mark = readFileSync(installation, "utf8");
  writeFileSync(installation, mark.replace('"version":1', '"version":2'));
  await refused(next, "has format version 2");
  writeFileSync(installation, mark);
  const identity = rig.state("bots/bot/identity.json");
  const text = readFileSync(identity, "utf8");
  rig.write(".supervisor/bots/bot/identity.json", text.replace('"version":1', '"version":2'));
  await refused(next, "is of format 2");
  rig.write(".supervisor/bots/bot/identity.json", text);
  expect((await rig.status()).supervisor).toMatchObject({ pid, startedAt });
  expect(await rig.bot()).toMatchObject({ pid: before.pid, adopted: false, state: "running" });
  expect((await rig.cli("upgrade", "--binary", next)).code).toBe(0);
});

test.concurrent.each([
  ["is no config any more", "version: [\n"],
  ["does not name the bot any more", JSON.stringify({ version: 1, bots: { other: { command: STAY } } })],
])("an upgrade whose config %s when the new program is to take over is not made", async (_, text) => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  const own = rig.read("supervisor.yaml");
  const body = JSON.stringify({ binary: next });
  const answer = await rig.request("/v1/upgrade", { method: "POST", body });
  expect(answer.status).toBe(202);
  rig.write("supervisor.yaml", text);
  await until("it is told", () => rig.journal.some((line) => line.text.includes("has changed since the self-check")));
  expect((await rig.status()).supervisor).toMatchObject({ pid });
  expect(await rig.bot()).toMatchObject({ pid: before.pid, state: "running" });
  rig.write("supervisor.yaml", own);
  expect((await rig.cli("upgrade", "--binary", next)).code).toBe(0);
});

test.concurrent("a config that would lose what counts of a bot that is down, or count it against another account, is refused", async () => {
  await using paper = await startPaper();
  const waits = { command: ["sh", "-c", "exit 1"], restart: { base: "10m", cap: "10m" } };
  const emergency = { ...emergencyAt(paper.url), closeAfter: "10m" };
  const halted = { command: ["sh", "-c", "exit 78"], restart: { haltExitCodes: [78] }, emergency };
  await using rig = new Rig({ bots: { bot: waits, halted } });
  const { pid } = await rig.run();
  await rig.botIn("backoff");
  await rig.botUntil("one is halted", ({ state }) => state === "halted", undefined, "halted");
  const refused = async (bots: Record<string, BotSettings>, why: string): Promise<void> => {
    rig.configure(bots);
    const { code, err } = await rig.cli("upgrade", "--binary", next);
    expect(err).toContain(why);
    expect(code).toBe(1);
  };
  await refused({ halted }, "does not name bot bot, which is in backoff");
  await refused({ bot: waits }, "does not name bot halted, whose closeAfter counts");
  await refused({ bot: { ...waits, account: "other" }, halted }, "another account: it was bot and is other");
  await refused({ bot: waits, halted: { ...halted, account: "other" } }, "it was halted and is other");
  await refused({ bot: { ...waits, cwd: rig.path("nowhere") }, halted }, "it would not start bot bot");
  rig.configure({ bot: waits, halted });
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).supervisor).toMatchObject({ pid, version: NEXT_VERSION });
  expect(await rig.bot()).toMatchObject({ state: "backoff", generation: 1 });
});

test.concurrent("a config that has changed meanwhile neither takes the daemon's state from it nor ends it", async () => {
  using other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("other") });
  const bot = { command: STAY, autostart: false };
  await using rig = new Rig({ bots: { bot } });
  const { pid } = await rig.run();
  rig.configure({ bot }, { stateDir: "elsewhere" });
  for (const folder of ["run", "log"]) mkdirSync(rig.path(`elsewhere/${folder}`), { recursive: true });
  const answer = await rig.request("/v1/upgrade", { method: "POST", body: JSON.stringify({ binary: next }) });
  expect(await answer.text()).toContain("another stateDir");
  rig.configure({ bot }, { http: { listen: `127.0.0.1:${other.port}` } });
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({ code: 0, err: "" });
  expect((await rig.status()).supervisor).toMatchObject({ pid, version: NEXT_VERSION });
});

test.concurrent("a config that names another runtimeDir meanwhile ends neither the daemon nor its bot", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  const { pid } = await rig.run();
  const before = await rig.botIn("running");
  mkdirSync(rig.path("elsewhere"));
  const config = readFileSync(rig.path("supervisor.yaml"), "utf8");
  rig.write("supervisor.yaml", config.replace('"version": 1,', '"version": 1, "runtimeDir": "elsewhere",'));
  const answer = await rig.request("/v1/upgrade", { method: "POST", body: JSON.stringify({ binary: next }) });
  expect(await answer.text()).toContain("another runtimeDir");
  // An older daemon does not compare the folders, and goes by the problems.
  expect((await rig.cli("__self-check")).out).toContain(`pid ${before.pid} is this bot`);
  rig.write("supervisor.yaml", config);
  expect((await rig.status()).supervisor).toMatchObject({ pid });
  expect(await rig.bot()).toMatchObject({ pid: before.pid, state: "running" });
  expect((await rig.cli("__self-check")).out).toContain('"problems":[]');
});

/** Has a binary checked and takes it away; the reason why it did not take over, `undefined` when it did all the same. */
async function upgradeToGone(rig: Rig): Promise<string | undefined> {
  const brief = rig.path("brief");
  linkSync(next, brief);
  const answer = await rig.request("/v1/upgrade", { method: "POST", body: JSON.stringify({ binary: brief }) });
  rmSync(brief);
  expect(answer.status).toBe(202);
  const { instance } = upgradeAnswerSchema.parse(await answer.json());
  const end = await until("it is refused or made", async () => {
    const reply = await rig.request("/v1/upgrade").catch(() => undefined);
    const state = reply === undefined ? undefined : upgradeStateSchema.parse(await reply.json());
    return state !== undefined && (state.failure !== null || state.instance !== instance) ? state : undefined;
  });
  return end.failure ?? undefined;
}

test.concurrent("a binary that is gone at its turn, and a bot that is not at rest, leave everything as it was", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("ignore-term.sh", "pid"), stopTimeout: "8s" } } });
  const { pid } = await rig.run();
  await rig.botIn("running");
  await until("the bot ignores SIGTERM by now", () => rig.read("pid") !== "");
  const kept = lasting(pid);
  // Gone by the time of the exec: the self-check has ended, and the answer is on its way. On a busy machine the exec may win.
  const failure = await until("an upgrade came too late", () => upgradeToGone(rig));
  expect(failure).toContain("cannot upgrade to");
  expect(lasting(pid)).toEqual(kept);
  const stop = rig.cli("stop", "bot");
  await rig.botIn("stopping");
  expect(await rig.cli("upgrade", "--binary", next)).toMatchObject({
    code: 1,
    err: expect.stringContaining("stopping"),
  });
  expect((await stop).code).toBe(0);
  expect((await rig.cli("upgrade", "--binary", next)).code).toBe(0);
});
