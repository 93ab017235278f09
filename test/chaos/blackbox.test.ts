/** The black box on the compiled binary: what a bot recorded is there after its death, whoever was killed, and the next start cannot touch it. */
import { existsSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { parseEvent, type BlackboxEvent } from "../../src/core/blackbox.ts";
import { readSamples } from "../../src/platform/sample-file.ts";
import { program } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { processesIn } from "./processes.ts";

const RECORDING = program("record-and-stay.ts");

/** The events of one start as the command shows them. */
async function eventsOf(rig: Rig, ...args: string[]): Promise<readonly BlackboxEvent[]> {
  return parseAll((await rig.cli("blackbox", "export", "bot", "-", ...args)).out);
}

function parseAll(text: string): readonly BlackboxEvent[] {
  return text.split("\n").flatMap((line) => parseEvent(line, "") ?? []);
}

test.concurrent("a killed bot's black box is sealed before the next start, and shows what the bot was doing", async () => {
  await using rig = new Rig({ bots: { bot: { command: RECORDING } } });
  await rig.run();
  const { pid } = await rig.botUntil("it records", () => existsSync(rig.path("recorded-1")));
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await rig.botUntil("the next start records", () => existsSync(rig.path("recorded-2")));

  const first = await rig.cli("blackbox", "tail", "bot", "--run", "1");
  expect(first).toMatchObject({ code: 0, err: "" });
  expect(first.out).toContain("order.sent");
  expect(first.out).toMatch(/in progress since .*: place_order \(sv-1\)/);
  expect(existsSync(rig.state("bots/bot/blackbox-sealed/000001"))).toBe(true);
  expect((await eventsOf(rig, "--run", "1")).map(({ type }) => type)).toEqual(["start", "order.sent"]);
  expect((await eventsOf(rig)).map(({ boot }) => Number.parseInt(boot, 10))).toEqual([1, 1, 2, 2]);

  const found = await rig.cli("blackbox", "grep", "bot", "sv-1", "--type", "order.", "--json");
  expect(found.out.split("\n").filter(Boolean)).toHaveLength(2);
  expect(await rig.cli("blackbox", "grep", "bot", "nothing-like-it")).toMatchObject({ code: 1, out: "" });
  expect(await rig.cli("blackbox", "grep", "bot", "(")).toMatchObject({ code: 2 });
  expect(await rig.cli("blackbox", "tail", "nobody")).toMatchObject({ code: 2 });
});

test.concurrent("what a bot recorded whose daemon was killed before it is sealed by the next daemon", async () => {
  await using rig = new Rig({ bots: { bot: { command: RECORDING } } });
  await rig.run();
  const { pid } = await rig.botUntil("it records", () => existsSync(rig.path("recorded-1")));
  await rig.endDaemon("SIGKILL");
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await rig.run();
  await rig.botUntil("the next start records", () => existsSync(rig.path("recorded-2")));
  expect((await eventsOf(rig, "--run", "1")).map(({ type }) => type)).toEqual(["start", "order.sent"]);
});

test.concurrent("an emergency seals the black box of the bot that it ends", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = new Rig({ bots: { bot: { command: RECORDING, emergency: emergencyAt(paper.url) } } });
  await rig.run();
  await rig.botUntil("it records", () => existsSync(rig.path("recorded-1")));
  expect((await rig.cli("emergency", "close", "bot", "--yes")).code).toBe(0);
  expect(readdirSync(rig.state("bots/bot/blackbox"))).toEqual([]);
  expect((await eventsOf(rig, "--run", "1")).map(({ type }) => type)).toEqual(["start", "order.sent"]);
});

test.concurrent("tail -f goes on across a restart of the bot, each event once", async () => {
  await using rig = new Rig({ bots: { bot: { command: RECORDING } } });
  await rig.run();
  const { pid } = await rig.botUntil("it records", () => existsSync(rig.path("recorded-1")));
  const child = Bun.spawn([rig.binary, "blackbox", "tail", "bot", "-f", "--json"], { cwd: rig.folder, stdout: "pipe" });
  let said = "";
  const pump = async (): Promise<void> => {
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) said += chunk;
  };
  const pumped = pump();
  const lines = (): number => parseAll(said).length;
  try {
    await until("the first start is shown", () => lines() === 2);
    process.kill(pid ?? Number.NaN, "SIGKILL");
    await until("the second start is shown", () => lines() === 4);
  } finally {
    child.kill();
    await child.exited;
    await pumped;
  }
  const boots = parseAll(said).map(({ boot }) => Number.parseInt(boot, 10));
  expect(boots).toEqual([1, 1, 2, 2]);
});

test.concurrent("the supervisor's own readings of a bot outlive the bot and the daemon", async () => {
  await using rig = new Rig({ bots: { bot: { command: RECORDING } } });
  await rig.run();
  const { pid } = await rig.botUntil("it runs", (bot) => bot.pid !== null);
  const file = rig.state("run/bots/bot.samples");
  await until("there are two readings", () => readSamples(file).length >= 2);
  await rig.endDaemon("SIGKILL");
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await until("the bot is gone", () => processesIn(rig.folder).length === 0);
  const [sample] = readSamples(file);
  expect(sample).toMatchObject({ pid, generation: 1, load: expect.any(Number) });
  expect(sample?.rssBytes).toBeGreaterThan(1_048_576);
});
