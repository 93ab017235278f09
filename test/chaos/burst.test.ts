/** A bot that floods its supervisor, with output or with messages: it loses nothing and the supervisor still answers. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { viewOutput } from "../../src/platform/output-view.ts";
import { program, script, STAY } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

/** What flood-output.sh writes before its last line. */
const FLOOD_BYTES = 200_000_000;
const MESSAGES = 20_000;
const MIB = 1_048_576;

interface Gap {
  /** Longest time that an answer took, ms. */
  longestMs: number;
  answers: number;
}

/** Asks for the status again and again until `over` holds. */
async function askUntil(rig: Rig, over: () => boolean | Promise<boolean>): Promise<Gap> {
  const gap = { longestMs: 0, answers: 0 };
  const endMs = performance.now() + 60_000;
  while (!(await over())) {
    if (performance.now() > endMs) throw new Error("the flood is not over within 60 s");
    const startMs = performance.now();
    await rig.status();
    gap.longestMs = Math.max(gap.longestMs, performance.now() - startMs);
    gap.answers += 1;
    // The pace of who asks: without a pause the questions would be a flood of their own.
    await Bun.sleep(5);
  }
  return gap;
}

test("supervisor run keeps every byte of a bot that writes 100 MB/s, and stays small and quick meanwhile", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("flood-output.sh") } } });
  const log = rig.state("log/bot.log");
  await rig.run();
  const before = (await rig.status()).supervisor.rssBytes;
  // Of the whole stream: some of it is rotated meanwhile.
  const size = (): number => viewOutput({ log, index: rig.state("bots/bot/output.json") }).end;
  const { longestMs, answers } = await askUntil(rig, () => size() > FLOOD_BYTES);
  const command = await rig.cli("status");
  const grown = (await rig.status()).supervisor.rssBytes - before;
  expect(command.code).toBe(0);
  expect(command.ms).toBeLessThan(1_000);
  expect(longestMs).toBeLessThan(1_000);
  expect(answers).toBeGreaterThan(10);
  expect(grown).toBeLessThan(20 * MIB);
  expect(readFileSync(log).subarray(-11).toString()).toBe("flood over\n");
  expect(size()).toBe(FLOOD_BYTES + "flood over\n".length);
});

test("supervisor run takes 20 000 messages in a burst and answers meanwhile", async () => {
  const bot = {
    command: program("burst-then-stay.ts", String(MESSAGES)),
    probes: [{ kind: "heartbeat", timeout: "30s" }],
  };
  await using rig = new Rig({ bots: { bot } });
  await rig.run();
  let said: string | null = null;
  const { longestMs, answers } = await askUntil(rig, async () => {
    said = (await rig.bot()).heartbeat.status;
    return said !== null;
  });
  // The last message of the burst arrived, and the socket loses none on the way: so did all before it.
  expect(said).toMatch(/^sent 20000 in \d+ ms$/);
  expect(answers).toBeGreaterThan(0);
  // The bound is 100 ms; the rest is this machine's other work.
  expect(longestMs).toBeLessThan(1_000);
  process.stdout.write(`burst: ${String(said)}; longest status answer ${longestMs.toFixed(1)} ms of ${answers}\n`);
  expect(rig.journal.filter(({ level }) => level === "alert")).toEqual([]);
});

test("supervisor run without a descriptor left says what fails once, not each second, and when it is over", async () => {
  // Where nobody counts its memory for us, the processes of its tree are asked each second.
  const limits = { memoryHigh: "1GiB" };
  await using rig = new Rig({ bots: { bot: { command: STAY, limits } }, hideCgroups: true });
  await rig.run();
  await rig.botIn("running");
  const { pid } = rig.daemon;
  const [, hard = "1024"] = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8")) ?? [];
  const limit = (soft: string) => Bun.spawnSync(["prlimit", "--pid", String(pid), `--nofile=${soft}:`]);
  const told = (): string[] => rig.read("daemon.err").match(/internal error: Error: [^,]*EMFILE[^,]*/g) ?? [];
  limit("5");
  await until("a look at the bot fails for it", () => told().some((text) => text.includes("state of process")));
  // Some ticks more, of one a second, of which each could say it again.
  await Bun.sleep(4_000);
  expect(told()).toEqual([...new Set(told())]);
  limit(hard);
  await until("it is over", () =>
    rig.journal.some(({ text }) => text.startsWith("what failed works again: cannot read the state")),
  );
  expect(await rig.bot()).toMatchObject({ state: "running", generation: 1 });
});
