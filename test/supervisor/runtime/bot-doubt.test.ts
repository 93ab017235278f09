import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { Identity } from "../../../src/core/identity.ts";
import { bootId, isLive, readEnviron, readStat } from "../../../src/platform/proc.ts";
import { BotDoubt } from "../../../src/supervisor/runtime/bot-doubt.ts";
import { planBot } from "../../../src/supervisor/runtime/bot-plan.ts";
import type { Remains } from "../../../src/supervisor/runtime/survey.ts";
import { botConfig } from "../../harness/bot-config.ts";
import { until } from "../../platform/until.ts";

/** A bot that lives with a child without a mark in its session, and what the state folder says of it. */
async function living() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "doubt-")));
  const dirs = { stateDir: folder, runtimeDir: join(folder, "run"), logDir: join(folder, "log") };
  const plan = planBot("bot", botConfig("bot"), dirs);
  const main = Bun.spawn(["sh", "-c", "env -i sleep 60 & echo $!; exec sleep 60"], {
    env: { PATH: process.env["PATH"], INVOCATION_ID: "i1" },
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { value } = await main.stdout.getReader().read();
  const child = Number(new TextDecoder().decode(value));
  await until("it is past its exec", () => readEnviron(main.pid)?.includes("INVOCATION_ID=i1"));
  const identity: Identity = {
    version: 1,
    account: "bot",
    pid: main.pid,
    startTimeTicks: readStat(main.pid)?.startTicks ?? 0,
    bootId: bootId() ?? "",
    invocationId: "i1",
    generation: 1,
    ready: true,
    definition: "",
    cgroup: null,
    restarts: 0,
  };
  mkdirSync(dirname(plan.files.identity), { recursive: true });
  const end = async (): Promise<void> => {
    main.kill("SIGKILL");
    await main.exited;
  };
  return {
    plan,
    child,
    end,
    say: (text = JSON.stringify(identity)) => writeFileSync(plan.files.identity, text),
    /** What was read of it first makes it doubtful whether that is the bot. */
    doubtful: (): readonly Remains[] => {
      const other = { ...identity, invocationId: "i2" };
      const reading = { kind: "known", identity: other } as const;
      const { files } = plan;
      const lock = { lockout: undefined, lockoutFiles: [] };
      return [{ name: "bot", files, identity: other, identityReading: reading, ...lock }];
    },
    async [Symbol.asyncDispose]() {
      await end();
      if (isLive(child)) process.kill(child, "SIGKILL");
      await until("its child has ended", () => !isLive(child));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

test("look() finds what the main process has left in its session where that ended since the look", async () => {
  await using bot = await living();
  const { plan, child, end } = bot;
  const configured = new Set(["bot"]);
  const doubt = new BotDoubt({
    plan,
    remains: bot.doubtful(),
    configured,
    holdsDoubtful: true,
    end: () => end().then(() => undefined),
  });
  bot.say();
  expect((await doubt.look())?.message).toContain(`pid ${child}, which is in its session, may be of the bot`);
  process.kill(child, "SIGKILL");
  await until("its child has ended", () => !isLive(child));
  expect(await doubt.look()).toBe(undefined);
});

test("look() takes no identity for taken away that cannot be read, and believes one that is gone", async () => {
  await using bot = await living();
  const ended: string[] = [];
  const doubt = new BotDoubt({
    plan: bot.plan,
    remains: bot.doubtful(),
    configured: new Set(["bot"]),
    holdsDoubtful: true,
    end: () => {
      ended.push("end");
      return Promise.resolve(undefined);
    },
  });
  bot.say("torn");
  expect((await doubt.look())?.message).toContain("its INVOCATION_ID is i1");
  bot.say('{"version":99}');
  expect((await doubt.look())?.message).toContain("a newer release wrote");
  expect(ended).toEqual([]);
  rmSync(bot.plan.files.identity);
  expect(await doubt.look()).toBe(undefined);
  expect(ended).toEqual(["end"]);
});
