/** Crash dumps of bots that hang in each way there is, on the compiled binary; and what of the supervisor could tell a secret meanwhile. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { contentOf, dumpOf, ROOMY, unpacks } from "./dumps.ts";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { WorkerSight } from "./sight.ts";

const TOKEN = "canary-4f1d8c2b9e";
const KEY = "canary-key-77aa11bb";
const SECRET = "canary-secret-90cc42dd";
const CANARIES = [TOKEN, KEY, SECRET];
const HANG = join(import.meta.dirname, "..", "fixtures", "hang.py");
const python = Bun.which("python3");

function hanging(how: string, more: BotSettings = {}): BotSettings {
  return bot({ command: [python ?? "", HANG, how], cwd: ".", ...more });
}

function bot(more: BotSettings): BotSettings {
  return {
    env: { API_TOKEN: TOKEN },
    probes: [{ kind: "heartbeat", timeout: "1s" }],
    dump: ROOMY,
    ...more,
  };
}

test
  .runIf(python !== null)
  .concurrent("a Python bot in a busy loop: its dump has the stack that faulthandler wrote", async () => {
    await using rig = new Rig({ bots: { bot: hanging("loop") } });
    await rig.run();
    const { name, shown } = await dumpOf(rig);
    expect(name).toContain("-heartbeat-");
    expect(shown).toContain("read while it lived");
    expect(shown).toMatch(/hang\.py", line \d+ in loop\n.*hang\.py", line \d+ in trading_loop/);
    expect(shown).toContain("it hung where it is shown above");
    expect(shown).toContain("token ***");
    // What was captured before the signal ended it.
    expect(shown).toMatch(/1 running/);
    await rig.botUntil("it is started again", ({ restarts }) => restarts.total >= 1);
  });

test.runIf(python !== null).concurrent("a bot that was stopped by SIGSTOP is read without being asked", async () => {
  await using rig = new Rig({ bots: { bot: hanging("stop") } });
  await rig.run();
  const { name, shown } = await dumpOf(rig);
  expect(name).toContain("-heartbeat-");
  expect(shown).toContain("stopped by a signal (T)");
  expect(shown).toContain("stacks: it is stopped, and cannot answer");
});

test
  .runIf(python !== null)
  .concurrent("a bot that waits in the kernel where only SIGKILL reaches it is read and replaced", async () => {
    await using rig = new Rig({ bots: { bot: hanging("kernel") } });
    await rig.run();
    const { shown } = await dumpOf(rig);
    expect(shown).toContain("waiting for the kernel or a disk (D)");
    expect(shown).toContain("stacks: it waits in the kernel, and cannot answer");
    await rig.botUntil("it is started again", ({ restarts }) => restarts.total >= 1);
  });

test.concurrent("what writes its stack on SIGQUIT is asked where the config says so", async () => {
  const program = `trap 'echo "goroutine 1 [running]:" >&2; exit 2' QUIT; while :; do sleep 0.05; done`;
  const dump = { ...ROOMY, stack: "quit" };
  await using rig = new Rig({ bots: { bot: bot({ command: ["sh", "-c", program], dump }) } });
  await rig.run();
  const { shown } = await dumpOf(rig);
  expect(shown).toMatch(/Stack\n {2}goroutine 1 \[running\]:/);
});

test.concurrent("a bot without a handler for the signal is not sent it", async () => {
  const dump = { ...ROOMY, stack: "abrt" };
  await using rig = new Rig({ bots: { bot: bot({ command: ["sleep", "600"], dump }) } });
  await rig.run();
  const { name, shown } = await dumpOf(rig);
  expect(name).toContain("-heartbeat-");
  expect(shown).toContain("read while it lived");
  await rig.botUntil("it is started again", ({ restarts }) => restarts.total >= 1);
  expect(JSON.stringify(rig.journal)).toContain("SIGTERM");
  expect(JSON.stringify(rig.journal)).not.toContain("SIGABRT");
});

test
  .runIf(unpacks)
  .concurrent("no secret is in a dump, the journal, the log, or what can be seen of the workers", async () => {
    await using rig = new Rig({ env: { CANARY_SECRET: SECRET } });
    rig.write("canary.key", KEY);
    const { apiSecretFile: _, ...emergency }: Record<string, unknown> = { ...emergencyAt("http://127.0.0.1:9") };
    const keys = { ...emergency, apiKeyFile: "canary.key", apiSecretEnv: "CANARY_SECRET", closeAfter: "1h" };
    const said = `echo "$API_TOKEN"; echo 'key ${KEY} secret ${SECRET}'; exec sleep 600`;
    rig.write("bot.sh", said);
    rig.configure({ bot: bot({ command: ["sh", "bot.sh"], probes: [], emergency: keys }) });
    await rig.run();
    await rig.botIn("running");
    const sight = new WorkerSight(rig.binary);
    try {
      await until("both workers were seen", async () => {
        expect(await rig.cli("dump", "now", "bot")).toMatchObject({ code: 0 });
        return sight.saw("capture-dump") && sight.saw("pack-dump");
      });
    } finally {
      await sight[Symbol.asyncDispose]();
    }
    const { name } = await dumpOf(rig);
    const all = contentOf(rig, name);
    expect(all).toContain("key *** secret ***");
    const journal = readdirSync(rig.state("journal"))
      .map((file) => rig.read(`.supervisor/journal/${file}`))
      .join("");
    const workers = sight.texts.join("\n");
    const places = { dump: all, journal, log: rig.read("daemon.err"), workers };
    const hits = Object.entries(places).flatMap(([place, text]) =>
      CANARIES.filter((canary) => text.includes(canary)).map((canary) => `${canary} in ${place}`),
    );
    expect(hits).toEqual([]);
  });
