/** Who gets an account: whatever had it under another name, or with a lost identity, is ended or honoured first. */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { startPaper } from "./paper.ts";
import { findProcess } from "./processes.ts";

test.concurrent("a bot that was renamed while the supervisor was dead is ended before its successor starts", async () => {
  await using rig = new Rig({ bots: { old: { command: STAY, account: "main" } } });
  await rig.run();
  const old = await until("the old bot runs", async () => (await rig.bot("old")).pid ?? undefined);
  await rig.endDaemon("SIGKILL");
  expect(isLive(old)).toBe(true);
  rig.configure({ bot: { command: STAY, account: "main" } });
  await rig.run();
  await rig.botIn("running");
  expect(isLive(old)).toBe(false);
});

test.concurrent.each([
  ["is not in the config any more", {}],
  ["has another account now", { old: { command: STAY, account: "other" } }],
])(
  "what a bot left in its cgroup, without a mark of its own, is ended before the next one of its account starts: it %s",
  async (_, others) => {
    const unmarked = ["sh", "-c", "env -i sleep 600 & exec sleep 601"];
    await using rig = new Rig({ bots: { old: { command: unmarked, account: "main" } } });
    await rig.run();
    if ((await rig.status()).supervisor.cgroup === "none") return;
    const old = await until("the old bot runs", async () => (await rig.bot("old")).pid ?? undefined);
    const child = await until("its child runs", () => findProcess(rig.folder, "sleep", "600"));
    await rig.endDaemon("SIGKILL");
    process.kill(old, "SIGKILL");
    const look = ["sh", "-c", `grep -q sleep /proc/${child}/cmdline && echo beside it; exec sleep 602`];
    rig.configure({ ...others, bot: { command: look, account: "main" } });
    await rig.run();
    await rig.botIn("running");
    expect(isLive(child)).toBe(false);
    expect(rig.log).not.toContain("beside it");
  },
);

test.concurrent.each([
  ["lost", undefined],
  ["damaged", "{"],
])(
  "a bot whose identity is %s and whose account the config gave to another is ended before that one starts",
  async (_, text) => {
    await using rig = new Rig({ bots: { old: { command: STAY, account: "main" } } });
    await rig.run();
    const old = await until("the old bot runs", async () => (await rig.bot("old")).pid ?? undefined);
    await rig.endDaemon("SIGKILL");
    if (text === undefined) rmSync(rig.state("bots/old/identity.json"));
    else writeFileSync(rig.state("bots/old/identity.json"), text);
    const look = ["sh", "-c", `grep -q . /proc/${old}/cmdline && echo beside it; exec sleep 602`];
    rig.configure({ old: { command: STAY, account: "other" }, bot: { command: look, account: "main" } });
    await rig.run();
    await rig.botIn("running");
    expect(isLive(old)).toBe(false);
    expect(rig.log).not.toContain("beside it");
  },
);

test.concurrent("a lockout belongs to the account: it holds under another name, and arm ends it for both", async () => {
  await using paper = await startPaper();
  const bot = { command: STAY, account: "main", emergency: emergencyAt(paper.url) };
  await using rig = new Rig({ bots: { old: bot } });
  await rig.run();
  await until("the old bot runs", async () => (await rig.bot("old")).state === "running");
  expect((await rig.cli("emergency", "close", "old", "--yes", "--account", "main")).code).toBe(0);
  await rig.endDaemon("SIGTERM");
  rig.configure({ bot });
  await rig.run();
  expect(await rig.botIn("locked")).toMatchObject({ pid: null, generation: 0, emergency: { state: "flat" } });
  expect(await rig.cli("arm", "bot", "--reason", "looked at it")).toMatchObject({ code: 0, err: "" });
  await rig.botIn("running");
  expect(existsSync(rig.state("bots/old/lock.json"))).toBe(false);
});

test.concurrent("a re-armed bot is not locked again by the lockout of one that had its account, which stays locked itself", async () => {
  await using paper = await startPaper();
  const emergency = emergencyAt(paper.url);
  await using rig = new Rig({ bots: { bot: { command: STAY, account: "main", emergency } } });
  await rig.run();
  await rig.botIn("running");
  expect((await rig.cli("emergency", "close", "bot", "--yes", "--account", "main")).code).toBe(0);
  rig.configure({ bot: { command: STAY, account: "other" }, heir: { command: STAY, account: "main", emergency } });
  expect((await rig.cli("reload")).code).toBe(0);
  expect((await rig.cli("arm", "heir", "--reason", "a test", "--accept-positions")).code).toBe(0);
  const { pid } = await rig.bot("heir");
  for (const again of [() => rig.cli("upgrade"), () => rig.endDaemon("SIGKILL").then(() => rig.run())]) {
    // Safe: one after the other.
    // oxlint-disable-next-line no-await-in-loop
    await again();
    // oxlint-disable-next-line no-await-in-loop
    expect(await rig.bot("heir")).toMatchObject({ state: "running", pid, generation: 1 });
    // oxlint-disable-next-line no-await-in-loop
    expect(await rig.bot()).toMatchObject({ state: "locked" });
  }
});

test.concurrent("a bot that is not in the config any more is ended", async () => {
  await using rig = new Rig({ bots: { gone: { command: STAY }, bot: { command: STAY } } });
  await rig.run();
  const gone = await until("the bot runs", async () => (await rig.bot("gone")).pid ?? undefined);
  await rig.endDaemon("SIGKILL");
  rig.configure({ bot: { command: STAY } });
  await rig.run();
  await until("the stranded bot is ended", () => !isLive(gone));
  expect(rig.read("daemon.err")).toContain("which is not in the config any more");
});
