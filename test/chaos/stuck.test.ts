/** A bot that even SIGKILL does not end: no new start and no order of a close while it may still trade. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isLive } from "../../src/platform/proc.ts";
import { STAY } from "./fixture.ts";
import { freezerMount, makeFreezer } from "./freezer.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { changes, startPaper } from "./paper.ts";

const possible = freezerMount !== undefined;

test
  .runIf(possible)
  .concurrent("a bot that cannot be killed is stuck: nothing is started or closed until it is gone", async () => {
    await using paper = await startPaper();
    await using rig = new Rig({
      bots: { bot: { command: STAY, stopTimeout: "200ms", emergency: emergencyAt(paper.url) } },
    });
    using freezer = makeFreezer();
    await rig.run();
    const { pid } = await rig.botIn("running");
    freezer.freeze(pid ?? 0);
    const stop = await rig.cli("stop", "bot");
    expect(stop.code).toBe(1);
    expect(stop.err).toContain("cannot stop bot: it is stuck");
    const stuck = await rig.bot();
    expect(stuck).toMatchObject({ state: "stuck", reason: `cannot be killed: ${pid}` });
    expect((await rig.cli("status")).code).toBe(4);
    const start = await rig.cli("start", "bot");
    expect(start.code).toBe(1);
    expect(start.err).toContain("cannot be killed");
    const close = await rig.cli("emergency", "close", "bot", "--yes");
    expect(close.code).toBe(12);
    expect(changes(paper.state())).toBe(0);
    expect(isLive(pid ?? 0)).toBe(true);
    freezer.thaw();
    expect(await rig.botIn("locked", 30_000)).toMatchObject({ generation: 1, emergency: { state: "flat" } });
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
    expect(isLive(pid ?? 0)).toBe(false);
  });

test
  .runIf(possible)
  .concurrent("a supervisor killed in the middle of a fence closes only once the bot is dead", async () => {
    await using paper = await startPaper();
    await using rig = new Rig({ bots: { bot: { command: STAY, emergency: emergencyAt(paper.url) } } });
    using freezer = makeFreezer();
    await rig.run();
    const { pid } = await rig.botIn("running");
    freezer.freeze(pid ?? 0);
    process.kill(rig.daemon.pid, "SIGUSR2");
    const fencing = await rig.botUntil("the fence goes up", ({ emergency }) => emergency.state === "fencing");
    await rig.endDaemon("SIGKILL");
    await rig.run();
    expect(await rig.bot()).toMatchObject({ state: "stopping", emergency: { state: "fencing" } });
    expect(changes(paper.state())).toBe(0);
    freezer.thaw();
    const locked = await rig.botIn("locked", 30_000);
    expect(locked).toMatchObject({ generation: 1, emergency: { state: "flat", incident: fencing.emergency.incident } });
    expect(isLive(pid ?? 0)).toBe(false);
    await until("the report is there", () => {
      const report = rig.state(`bots/bot/incidents/${locked.emergency.incident}.json`);
      return readFileSync(report, "utf8").includes('"flat"');
    });
    expect(paper.state()).toMatchObject({ flat: true, flips: [], violations: [] });
  });
