/** `supervisor emergency preflight` on the compiled binary: by hand with and without a daemon, and by the daemon itself. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { emergencyAt, Rig, until } from "./harness.ts";
import { STAY } from "./fixture.ts";
import { startPaper, type Paper } from "./paper.ts";

function rigOn(paper: Paper, emergency: object = {}): Rig {
  return new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url, emergency) } } });
}

test.concurrent("preflight by hand is kept, shown in the status, and green again once the key is repaired", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  const offline = await rig.cli("emergency", "preflight", "bot");
  expect(offline).toMatchObject({ code: 0 });
  expect(offline.out).toContain("an emergency close would work");
  await rig.run();
  await rig.botIn("running");
  expect((await rig.bot()).emergency).toMatchObject({ preflight: "ok", preflightAt: expect.any(String) });

  await paper.control("set", { canTrade: false });
  const failed = await rig.cli("emergency", "preflight", "--json");
  expect(failed.code).toBe(13);
  expect(JSON.parse(failed.out)).toMatchObject({ reports: [{ bot: "bot", ok: false, exitCode: 13 }] });
  expect((await rig.bot()).emergency.preflight).toBe("failed");
  const status = await rig.cli("status");
  expect(status.code).toBe(1);
  expect(status.out).toContain("its last preflight failed");
  const alerts = rig.journal.filter(
    ({ level, text }) => level === "alert" && text.startsWith("preflight failed: trade"),
  );
  expect(alerts).toHaveLength(1);

  await paper.control("set", { canTrade: true });
  expect((await rig.cli("emergency", "preflight", "bot")).code).toBe(0);
  expect((await rig.cli("status")).code).toBe(0);
  expect(existsSync(rig.state("accounts/markets-binanceusdm.json"))).toBe(true);
  expect(paper.state()).toMatchObject({ fills: [], positions: [{}, {}], orders: [{}] });
});

test.concurrent("preflight of another account than the configured one is 12, and a close of it sends nothing", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, { uid: "another-alias" });
  expect((await rig.cli("emergency", "preflight", "bot")).code).toBe(12);
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(12);
  expect(close.out + close.err).toContain("the key may open another account");
  expect(paper.state().positions).toHaveLength(2);
});

test.concurrent("preflight --testnet drills in the sandbox with keys of its own, and is refused without them", async () => {
  await using paper = await startPaper({ empty: true });
  await using rig = rigOn(paper);
  const without = await rig.cli("emergency", "preflight", "bot", "--testnet");
  expect(without.code).toBe(15);
  expect(without.out).toContain("bots.bot.emergency.testnet");
  const testnet = { apiKeyFile: "paper.key", apiSecretFile: "paper.secret", endpoint: paper.url };
  rig.configure({ bot: { command: STAY, emergency: emergencyAt("http://127.0.0.1:1", { testnet }) } });
  const drill = await rig.cli("emergency", "preflight", "bot", "--testnet");
  expect(drill.out).toContain("was placed, seen and cancelled");
  expect(drill.code).toBe(0);
  expect(paper.state()).toMatchObject({ flat: true, fills: [] });
  await rig.run();
  expect((await rig.bot()).emergency.preflight).toBe("never");
});

test.concurrent("the daemon flies a preflight by itself, a minute or two after its start, and tells of a key that may not trade", async () => {
  await using paper = await startPaper();
  await paper.control("set", { canTrade: false });
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botUntil("it was flown", ({ emergency }) => emergency.preflight === "failed", 300_000);
  expect(
    rig.journal.filter(({ level, text }) => level === "alert" && text.startsWith("preflight failed")),
  ).toHaveLength(1);
  expect(await rig.bot()).toMatchObject({ state: "running" });
  expect(paper.state()).toMatchObject({ fills: [], positions: [{}, {}], orders: [{}] });
}, 330_000);

test.concurrent("an emergency ends a preflight that is under way, and closes all the same", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper);
  await rig.run();
  await rig.botIn("running");
  await paper.control("fault", { kind: "latency", match: "positionSide/dual", ms: 30_000 });
  const flight = rig.cli("emergency", "preflight", "bot");
  await until("the preflight is under way", () => paper.state().requests["GET /fapi/v1/positionSide/dual"] === 1);
  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(0);
  expect((await flight).out).toContain("an emergency came in between");
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
  expect((await rig.bot()).emergency.preflight).toBe("never");
});
