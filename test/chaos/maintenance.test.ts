/** `supervisor maintenance` on the compiled binary: no trigger closes positions, a person's order does, and it ends by itself. */
import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { emergencyAt, Rig, until, type BotSettings } from "./harness.ts";
import { STAY } from "./fixture.ts";
import { changes, startPaper, type Paper } from "./paper.ts";

function rigOn(paper: Paper, bot: BotSettings = {}, emergency: object = {}): Rig {
  return new Rig({ bots: { bot: { command: STAY, ...bot, emergency: emergencyAt(paper.url, emergency) } } });
}

const CRASHES = { command: ["false"], restart: { intensity: 1, base: "50ms", cap: "50ms" } };

test.concurrent("maintenance keeps a spent budget, the emergency file and SIGUSR2 from closing, over a kill of the daemon", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, { autostart: false, ...CRASHES });
  await rig.run();
  const on = await rig.cli("maintenance", "on", "--for", "30m", "--reason", "moving the bot");
  expect(on).toMatchObject({ code: 0 });
  expect(on.out).toContain("(moving the bot)");
  await rig.cli("start", "bot");
  await rig.botIn("halted");
  await rig.endDaemon("SIGKILL");
  await rig.run();
  expect((await rig.cli("maintenance", "status")).out).toContain("maintenance until");
  const file = rig.state("run/emergency");
  writeFileSync(file, "", { mode: 0o600 });
  await until("the file is taken away", () => !existsSync(file));
  process.kill(rig.daemon.pid, "SIGUSR2");
  const refused = (): number => rig.journal.filter(({ text }) => text.includes("nothing is closed")).length;
  await until("both are refused", () => refused() >= 2);
  expect(changes(paper.state())).toBe(0);
  expect((await rig.status()).supervisor.maintenance).toMatchObject({ reason: "moving the bot" });

  const close = await rig.cli("emergency", "close", "bot", "--yes");
  expect(close.code).toBe(0);
  expect(paper.state()).toMatchObject({ flat: true, flips: [] });
});

test.concurrent("maintenance ends by itself, and closeAfter counts from there", async () => {
  await using paper = await startPaper();
  await using rig = rigOn(paper, { autostart: false, ...CRASHES }, { closeAfter: "500ms" });
  await rig.run();
  await rig.cli("maintenance", "on", "--for", "2s");
  await rig.cli("start", "bot");
  await rig.botUntil(
    "the bot is locked flat",
    ({ state, emergency }) => state === "locked" && emergency.state === "flat",
  );
  const texts = rig.journal.map(({ text }) => text);
  const over = texts.findIndex((text) => text.includes("maintenance is over: its time has passed"));
  expect(over).toBeGreaterThan(0);
  expect(texts.findIndex((text) => text.includes("closing positions (closeAfter)"))).toBeGreaterThan(over);
});

test.concurrent("maintenance off ends it; a wrong time is a usage error and a daemon that is down is 3", async () => {
  await using rig = new Rig({ bots: { bot: { command: STAY } } });
  expect((await rig.cli("maintenance", "on", "--for", "1h")).code).toBe(3);
  await rig.run();
  for (const time of ["soon", "0s", "25h"]) expect((await rig.cli("maintenance", "on", "--for", time)).code).toBe(2);
  await rig.cli("maintenance", "on", "--for", "1h");
  expect((await rig.cli("status")).out).toContain("no trigger closes positions");
  expect((await rig.cli("maintenance", "off")).out).toBe("maintenance is over\n");
  expect((await rig.cli("maintenance", "off")).out).toBe("there is no maintenance\n");
  expect((await rig.status()).supervisor.maintenance).toBeNull();
});
