/** A bot's output on the compiled binary: rotated while the bot writes, read back whole, followed across rotations, whoever is killed. */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { parseOutputMarks } from "../../src/core/output-marks.ts";
import { script, STAY, program } from "./fixture.ts";
import { readStat } from "../../src/platform/proc.ts";
import { Rig, until } from "./harness.ts";

const LINES = 300_000;
const LINE_BYTES = 100;

function segments(rig: Rig): string[] {
  return readdirSync(rig.state("log")).filter((name) => name.startsWith("bot.log."));
}

/** Where the output stood when, as the daemon has noted it. */
function noted(rig: Rig): { readonly at: string; readonly offset: number; readonly generation?: number }[] {
  return [...parseOutputMarks(rig.read(".supervisor/bots/bot/runs.ndjson"))];
}

/** What is wrong with numbered lines that should be 0 to `LINES` − 1; `undefined` when nothing is. */
function flaw(text: string): string | undefined {
  if (text.length !== LINES * LINE_BYTES) return `${text.length} bytes instead of ${LINES * LINE_BYTES}`;
  for (let n = 0; n < LINES; n += 1) {
    const found = Number.parseInt(text.slice(n * LINE_BYTES, n * LINE_BYTES + 10), 10);
    if (found !== n) return `line ${n} is ${found}`;
  }
  return undefined;
}

/** `logs -f` from the first line on; `text` is what it has shown so far. */
function startFollower(rig: Rig): { readonly text: () => string; readonly kill: () => void } {
  const child = Bun.spawn([rig.binary, "logs", "bot", "-f", "-n", "1000000"], {
    cwd: rig.folder,
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const parts: string[] = [];
  const pump = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) parts.push(decoder.decode(chunk, { stream: true }));
  };
  void pump();
  return { text: () => parts.join(""), kill: () => child.kill() };
}

test.concurrent("30 MB of lines in segments of 2 MiB: logs and logs -f show each line once, and the bot never notices", async () => {
  const command = ["sh", "-c", `"$@"; exec sleep 600`, "sh", ...program("write-lines.ts", String(LINES), "10000000")];
  await using rig = new Rig({ bots: { bot: { command, output: { maxSize: "2MiB" } } } });
  await rig.run();
  await until("the log is there", () => existsSync(rig.state("log/bot.log")));
  const follower = startFollower(rig);
  try {
    await until("the follower has seen the last line", () => follower.text().includes(`\n${LINES - 1} `), 60_000);
    expect(flaw(follower.text())).toBeUndefined();
  } finally {
    follower.kill();
  }
  await until("the output is rotated", () => statSync(rig.state("log/bot.log")).size < 2 * 1024 ** 2, 30_000);
  expect(segments(rig).length).toBeGreaterThan(8);
  const { out, err, code } = await rig.cli("logs", "bot", "-n", "1000000");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(flaw(out)).toBeUndefined();
  expect((await rig.cli("logs", "bot", "-n", "50000")).out).toBe(out.slice(-50_000 * LINE_BYTES));
  expect((await rig.bot()).restarts.total).toBe(0);
});

test.concurrent("rotations killed at any time, then the daemon: who comes next goes on, and no line is lost or shown twice", async () => {
  const command = ["sh", "-c", `"$@"; exec sleep 600`, "sh", ...program("write-lines.ts", String(LINES), "10000000")];
  await using rig = new Rig({
    bots: { bot: { command, output: { maxSize: "1MiB", compress: "gzip" }, restart: { policy: "never" } } },
  });
  await rig.run();
  for (let kills = 0, seen = 0; kills < 2; kills += 1) {
    const before = seen;
    const worker = await until("a rotation", () => {
      seen = segments(rig).length;
      return workersOf(rig.daemon.pid)[0] ?? (seen > before + 3 ? 0 : undefined);
    });
    if (worker > 0) signalIfThere(worker, "SIGKILL");
  }
  await until(
    "the bot has written all",
    async () => (await rig.cli("logs", "bot", "-n", "1")).out.startsWith(`${LINES - 1} `),
    60_000,
  );
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect(flaw((await rig.cli("logs", "bot", "-n", "1000000")).out.slice(0, LINES * LINE_BYTES))).toBeUndefined();
});

/** Stops a rotation worker of the daemon amid its work, one that is not stopped yet, and returns its pid. */
function stopWorker(rig: Rig): Promise<number> {
  let caught: number | undefined;
  return until("a rotation is stopped", () => {
    caught ??= workersOf(rig.daemon.pid).find((pid) => stateOf(pid) !== "T");
    if (caught === undefined) return undefined;
    signalIfThere(caught, "SIGSTOP");
    const state = stateOf(caught);
    if (state === "T") return caught;
    if (state === undefined || state === "Z") caught = undefined;
    return undefined;
  });
}

function stateOf(pid: number): string | undefined {
  return readStat(pid)?.state;
}

/** A worker may end by itself between the look and the kill. */
function signalIfThere(pid: number, signal: "SIGKILL" | "SIGSTOP"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Pids of the daemon's rotation workers. */
function workersOf(daemon: number): readonly number[] {
  const found = Bun.spawnSync(["pgrep", "-P", String(daemon), "-f", "__action rotate-log"]).stdout.toString();
  return found.split("\n").filter(Boolean).map(Number);
}

test.concurrent("logs --run shows one start, --since what came after, and a pruned start has its last words", async () => {
  await using rig = new Rig({ bots: { bot: { command: script("count-starts.sh") } } });
  await rig.run();
  await rig.botUntil("three starts", ({ generation, state }) => generation >= 3 && state === "running");
  await until("the third start speaks", () => rig.log.includes("start 3\n"));
  expect((await rig.cli("logs", "bot", "--run", "2")).out).toBe("start 2\nbye 2\n");
  expect((await rig.cli("logs", "bot", "--run", "3")).out).toBe("start 3\n");
  expect((await rig.cli("logs", "bot", "--since", "1h")).out).toContain("start 1\n");
  const third = await until(
    "the third start is noted",
    () => noted(rig).find(({ generation }) => generation === 3)?.at,
  );
  expect((await rig.cli("logs", "bot", "--since", third)).out).toBe("start 3\n");
  expect(rig.read(".supervisor/bots/bot/exits/2.log")).toBe("start 2\nbye 2\n");
  expect(await rig.cli("logs", "bot", "--run", "77")).toMatchObject({ code: 1, out: "" });
});

test.concurrent("a rotation that cannot be done: an alert, another at four times maxSize, the bot runs on, nothing is deleted", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY, output: { maxSize: "64KiB" } } } });
  await rig.run();
  await rig.botIn("running");
  // A folder in the index's place: no rotation can note what it intends.
  await until("the start is noted", () => existsSync(rig.state("bots/bot/runs.ndjson")));
  Bun.spawnSync(["mkdir", rig.state("bots/bot/output.json")]);
  rig.write(".supervisor/log/bot.log", "x".repeat(400_000));
  await until("the alert", () => rig.journal.some(({ text }) => text.startsWith("cannot rotate the output")));
  await until("the alert of its size", () =>
    rig.journal.some(({ text }) => text.includes("more than 4 times maxSize")),
  );
  expect(rig.log).toHaveLength(400_000);
  expect(await rig.bot()).toMatchObject({ state: "running", restarts: { total: 0 } });
});

test.concurrent("a log file that somebody removes: an alert once, also of an adopted bot, logs says it, and a restart mends it", async () => {
  const command = ["sh", "-c", 'echo "start $SUPERVISOR_GENERATION"; exec sleep 600'];
  await using rig = new Rig({ bots: { bot: { command } } });
  await rig.run();
  const removed = (): number => rig.journal.filter(({ text }) => text.includes("bot.log was removed")).length;
  await rig.botIn("running");
  await until("the start is noted", () => existsSync(rig.state("bots/bot/runs.ndjson")));
  await until("the bot speaks", () => rig.log !== "");
  rmSync(rig.state("log/bot.log"));
  await until("the alert", () => removed() === 1);
  expect(await rig.cli("logs", "bot")).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringMatching(/bot\.log does not exist[^]*it was removed after a start of the bot/),
  });
  await rig.endDaemon("SIGKILL");
  await rig.run();
  await until("the alert of the next daemon", () => removed() === 2);
  expect((await rig.bot()).generation).toBe(1);
  await rig.cli("restart", "bot");
  await until("the bot speaks", () => rig.log.includes("start 2\n"));
  expect((await rig.cli("logs", "bot")).out).toContain("start 2\n");
  expect(removed()).toBe(2);
});

test.concurrent("logs --since of a bot that has neither restarted nor rotated shows what came since the last minute", async () => {
  const command = ["sh", "-c", "echo one; until [ -e go ]; do sleep 0.1; done; echo two; exec sleep 600"];
  await using rig = new Rig({ bots: { bot: { command } } });
  await rig.run();
  await until("the bot speaks", () => rig.log === "one\n");
  // The next minute would come too late for a test: the next daemon looks at once.
  await rig.endDaemon("SIGKILL");
  await rig.run();
  const mark = await until("the time is noted", () => noted(rig).find(({ offset }) => offset === "one\n".length));
  rig.write("go", "");
  await until("the bot speaks again", () => rig.log === "one\ntwo\n");
  expect((await rig.bot()).generation).toBe(1);
  expect((await rig.cli("logs", "bot", "--since", mark.at)).out).toBe("two\n");
  expect((await rig.cli("logs", "bot", "--since", "1h")).out).toBe("one\ntwo\n");
});

test.concurrent("logs --run and --since of a start whose front was pruned begin with a whole line", async () => {
  const command = ["sh", "-c", `"$@"; exec sleep 600`, "sh", ...program("write-lines.ts", "30000", "10000000")];
  await using rig = new Rig({ bots: { bot: { command, output: { maxSize: "256KiB", keep: 2 } } } });
  await rig.run();
  await until("the bot has written all", () => rig.log.includes("\n29999 "));
  await until(
    "the output is rotated",
    () => statSync(rig.state("log/bot.log")).size < 256 * 1024 && segments(rig).length === 2,
  );
  for (const args of [
    ["--run", "1"],
    ["--since", "1h"],
    ["-n", "30000"],
  ]) {
    const { out } = await rig.cli("logs", "bot", ...args);
    expect(out.length).toBeGreaterThan(256 * 1024);
    expect(out.length % LINE_BYTES).toBe(0);
    expect(Number.parseInt(out, 10)).toBe(30_000 - out.length / LINE_BYTES);
  }
});

test.concurrent("two rotation workers that stand still: an alert of the bot that waits for them, they are ended, and all are rotated", async () => {
  const large = { command: STAY, output: { maxSize: "2MiB", compress: "gzip" } };
  const small = { command: STAY, output: { maxSize: "64KiB" } };
  await using rig = new Rig({ bots: { one: large, two: large, waiting: small } });
  await rig.run();
  const log = (bot: string): string => rig.state(`log/${bot}.log`);
  const said = (bot: string, text: string): boolean =>
    rig.journal.some((entry) => entry.bot === bot && entry.text.includes(text));
  const output = randomBytes(6_000_000).toString("base64");
  const stopped: number[] = [];
  for (const bot of ["one", "two"]) {
    await rig.botUntil("it runs", ({ state }) => state === "running", undefined, bot);
    await until("its log is there", () => existsSync(log(bot)));
    rig.write(`.supervisor/log/${bot}.log`, output);
    stopped.push(await stopWorker(rig));
  }
  rig.write(".supervisor/log/waiting.log", "x".repeat(400_000));
  await until("the alert of its size", () => said("waiting", "waits for the rotations of other bots"), 60_000);
  expect(stopped.map(stateOf)).toEqual(["T", "T"]);
  for (const bot of ["one", "two"])
    await until("they are ended", () => said(bot, "cannot rotate the output: the worker made no progress"), 60_000);
  await until("it is rotated", () => statSync(log("waiting")).size < 128 * 1024);
  for (const bot of ["one", "two"]) {
    await until("it is rotated", () => statSync(log(bot)).size < 2 * 1024 ** 2, 60_000);
    await until("it is said", () => said(bot, "the output is rotated again"));
    const { out } = await rig.cli("logs", bot, "-n", "1");
    expect(out === `${output}\n`).toBe(true);
  }
  expect((await rig.status()).bots.map(({ state, restarts }) => [state, restarts.total])).toEqual([
    ["running", 0],
    ["running", 0],
    ["running", 0],
  ]);
});
