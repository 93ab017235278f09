/** Crash dumps on the compiled binary: made of what hangs and of what dies, without a secret, and never in the way of anything. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isLive, readStat } from "../../src/platform/proc.ts";
import { machineNode } from "../harness/node.ts";
import { contentOf, dumpOf, dumpsOf, ROOMY, unpacks } from "./dumps.ts";
import { script, STAY } from "./fixture.ts";
import { freezerMount, makeFreezer } from "./freezer.ts";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { findProcess } from "./processes.ts";

const TOKEN = "canary-4f1d8c2b9e";
const KEY = "canary-key-77aa11bb";
const HANG = join(import.meta.dirname, "..", "fixtures", "hang.mjs");

/** A bot whose environment and key file hold planted secrets. */
function bot(settings: BotSettings): BotSettings {
  return { env: { API_TOKEN: TOKEN }, dump: ROOMY, ...settings };
}

test
  .runIf(machineNode !== undefined && unpacks)
  .concurrent("a bot that hangs is read while it lives: its dump names the function, and holds no secret", async () => {
    const probes = [{ kind: "heartbeat", timeout: "1s" }];
    await using rig = new Rig({ bots: { bot: bot({ command: [machineNode ?? "", HANG], probes }) } });
    await rig.run();
    const [name = ""] = await until("it is dumped", () => dumpsOf(rig).length > 0 && dumpsOf(rig));
    expect(name).toMatch(/^dump-bot-\d{8}T\d{6}Z-heartbeat-/);
    const shown = await rig.cli("dump", "show", name);
    expect(shown.out).toContain("read while it lived");
    expect(shown.out).toMatch(/reconcilePositions \(.*hang\.mjs:\d+:\d+\)\s+tradingLoop/);
    expect(shown.out).toContain("token ***");
    const content = contentOf(rig, name);
    expect(content).toContain("API_TOKEN: 17 characters, tag ");
    expect(content).not.toContain(TOKEN);
    expect(await rig.cli("dump", "verify", name)).toMatchObject({ code: 0 });
    await rig.botUntil("it is restarted", ({ restarts }) => restarts.total > 0);
    await until(
      "the worker has cleared up",
      () => !readdirSync(rig.state("dumps")).some((each) => /^\.(?:capture|dump)-/.test(each)),
    );
  });

test.concurrent("a bot that dies is dumped once for the same death, with its last words and without a secret", async () => {
  const command = script("say-and-die.sh", TOKEN, KEY);
  await using rig = new Rig({ bots: { bot: bot({ command }) } });
  rig.write("api.key", KEY);
  rig.configure({
    bot: bot({
      command,
      emergency: {
        exchange: "binanceusdm",
        apiKeyFile: "api.key",
        apiSecretFile: "paper.secret",
        onGiveUp: false,
        closeAfter: "1h",
      },
    }),
  });
  await rig.run();
  await until("it is dumped", () => dumpsOf(rig).length > 0);
  await rig.botUntil("it died again and again", ({ restarts }) => restarts.total >= 4);
  expect(dumpsOf(rig)).toHaveLength(1);
  const [name = ""] = dumpsOf(rig);
  const { out } = await rig.cli("dump", "show", "bot");
  expect(out).toContain("exited with 3");
  expect(out).toContain("my token is *** and my key ***");
  const { entries } = JSON.parse((await rig.cli("dump", "show", "bot", "--json")).out);
  expect(entries).toContainEqual(expect.objectContaining({ path: "host/sys.kernel.core_pattern" }));
  const content = unpacks ? contentOf(rig, name) : out;
  expect(content).not.toContain(TOKEN);
  expect(content).not.toContain(KEY);
  const list = JSON.parse((await rig.cli("dump", "list", "--json")).out);
  expect(list).toMatchObject({ dumps: [{ bot: "bot", reason: "exited", file: name }] });
  expect(await rig.cli("dump", "export", "bot", "copy.zst")).toMatchObject({ code: 0 });
  expect(await rig.cli("dump", "export", "bot", "copy.zst")).toMatchObject({
    code: 1,
    err: `cannot copy the dump to ${rig.path("copy.zst")}: the file exists; name another\n`,
  });
});

test.concurrent("a close by order: the bot is looked at between freeze and kill", async () => {
  await using paper = await startPaper();
  await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"], emergency: emergencyAt(paper.url) }) } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  expect(await rig.cli("emergency", "close", "bot", "--yes")).toMatchObject({ code: 0 });
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  const { shown } = await dumpOf(rig);
  expect(shown).toContain(`pid ${pid ?? 0}`);
  expect(shown).toContain("read while it lived");
  // The look ends after 2 ms, on a busy machine before its threads: then the dump has none.
  const threads = /\nThreads\n {2}(.*)\n/.exec(shown)?.[1] ?? "none in time";
  expect(threads).toMatch(/^(?:1 thread, stopped for the kill, most CPU time in sleep|none in time)$/);
});

test.concurrent("dump now reads a living bot and leaves it alone", async () => {
  await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"] }) } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  expect(await rig.cli("dump", "now", "bot")).toMatchObject({ code: 0 });
  const shown = await rig.cli("dump", "show", "bot", "--json");
  expect(JSON.parse(shown.out)).toMatchObject({ reason: "manual", exit: null, live: true, pid });
  expect((await rig.bot()).pid).toBe(pid);
  expect(await rig.cli("dump", "now", "nobody")).toMatchObject({ code: 2 });
});

test.concurrent("a dump that is damaged is told apart, and one that may not be made is said", async () => {
  await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"] }) } });
  await rig.run();
  await rig.botIn("running");
  await rig.cli("dump", "now", "bot");
  const [name = ""] = dumpsOf(rig);
  const path = join(rig.state("dumps"), name);
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, bytes.length - 40));
  expect(await rig.cli("dump", "verify", name)).toMatchObject({
    code: 1,
    err: expect.stringContaining("cannot read dump"),
  });
  rig.configure({ bot: bot({ command: ["sleep", "600"], dump: { minFree: "1000000GiB" } }) });
  expect(await rig.cli("reload")).toMatchObject({ code: 0 });
  expect(await rig.cli("dump", "now", "bot")).toMatchObject({ code: 1, err: expect.stringContaining("dump.minFree") });
});

test.concurrent("a daemon that ends waits for the dump that somebody asked for", async () => {
  await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"] }) } });
  await rig.run();
  await rig.botIn("running");
  const asked = rig.cli("dump", "now", "bot");
  await until(
    "it has begun",
    () => readdirSync(rig.path(".supervisor")).includes("dumps") && readdirSync(rig.state("dumps")).length > 0,
  );
  await rig.endDaemon("SIGTERM");
  await asked;
  const [name = ""] = dumpsOf(rig);
  expect(await rig.cli("dump", "verify", name)).toMatchObject({ code: 0 });
  expect(
    readdirSync(rig.state("dumps")).filter((file) => file.startsWith(".capture") || file.endsWith(".partial")),
  ).toEqual([]);
});

test
  .runIf(freezerMount !== undefined)
  .concurrent("a daemon ends although the worker of a dump does not die, as it waits for a dead disk", async () => {
    await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"] }) } });
    using freezer = makeFreezer();
    await rig.run();
    await rig.botIn("running");
    // Its workers live for a moment only.
    const held = await until("a worker of a dump is held", async () => {
      const asked = rig.cli("dump", "now", "bot");
      const pid = await until("its worker runs", () => findProcess(rig.folder, "__action", "-dump"));
      try {
        freezer.freeze(pid);
      } catch {
        // It has ended.
      }
      const state = await until("it stands, or is gone", () => {
        const now = readStat(pid)?.state ?? "gone";
        return "RS".includes(now) ? undefined : now;
      });
      if (state === "D") return { pid, asked };
      freezer.thaw();
      await asked;
      return undefined;
    });
    await rig.endDaemon("SIGTERM");
    expect(isLive(held.pid)).toBe(true);
    freezer.thaw();
    await held.asked;
  });

test.concurrent("a death that has just been dumped is dumped lightly when it is the one that closes positions", async () => {
  await using paper = await startPaper();
  const hung = {
    command: ["sleep", "600"],
    probes: [{ kind: "heartbeat", timeout: "1s" }],
    restart: { intensity: 1, base: "100ms" },
    emergency: emergencyAt(paper.url),
  };
  await using rig = new Rig({ bots: { bot: bot(hung) } });
  await rig.run();
  await rig.botIn("locked");
  expect(paper.state().flat).toBe(true);
  const names = await until("both are dumped", () => dumpsOf(rig).length > 1 && dumpsOf(rig));
  const dumps = await Promise.all(names.map((name) => rig.cli("dump", "show", name, "--json")));
  const read = dumps.map(({ out }): Record<string, unknown> => JSON.parse(out));
  const told = read.toSorted((a, b) => Number(a["generation"]) - Number(b["generation"]));
  expect(told).toMatchObject([
    { generation: 1, reason: "heartbeat", live: true },
    { generation: 2, reason: "heartbeat", light: true },
  ]);
});

test.concurrent("a FIFO in the place of a file of the journal holds up no dump", async () => {
  await using rig = new Rig({ bots: { bot: bot({ command: STAY }) } });
  await rig.run();
  const { pid } = await rig.botIn("running");
  expect(Bun.spawnSync(["mkfifo", rig.state("journal/000000.ndjson")]).exitCode).toBe(0);
  process.kill(pid ?? Number.NaN, "SIGKILL");
  await until("it is dumped", () => dumpsOf(rig).length > 0);
});
