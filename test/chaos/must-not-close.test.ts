/** What must not close positions: a probe that could not be made, and a venue or network that is away while the bot beats. */
import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { script } from "./fixture.ts";
import { emergencyAt, Rig, until } from "./harness.ts";
import { changes, startPaper } from "./paper.ts";

const hasClient = Bun.which("systemd-notify") !== null;
const missing = hasClient ? "" : " (skipped: there is no systemd-notify)";

test
  .runIf(hasClient)
  .concurrent(
    `nothing is closed for a probe that cannot be made, nor for a failure while the venue is away and the bot beats${missing}`,
    async () => {
      await using paper = await startPaper();
      const quick = { kind: "exec", period: "200ms", timeout: "150ms", failureThreshold: 2 };
      const probes = [
        { kind: "heartbeat", timeout: "60s" },
        { ...quick, name: "health", command: ["test", "-e", "bot-well"], timeout: "190ms", onFailure: "emergency" },
        { ...quick, name: "unmade", command: ["no-such-program"], failureThreshold: 1, onFailure: "emergency" },
        {
          ...quick,
          name: "venue",
          command: ["test", "-e", "venue-well"],
          upstream: true,
          role: "readiness",
          onFailure: "degrade",
        },
      ];
      const emergency = emergencyAt(paper.url, { closeAfter: "10m" });
      await using rig = new Rig({ bots: { bot: { command: script("beat.sh"), ready: "notify", probes, emergency } } });
      rig.write("bot-well", "");
      rig.write("venue-well", "");
      await rig.run();
      const before = await rig.botUntil("the bot is ready", ({ ready }) => ready);
      rmSync(rig.path("venue-well"));
      await rig.botUntil("the bot is degraded", ({ level }) => level === "degraded");
      rmSync(rig.path("bot-well"));
      const excused = await rig.botUntil("its failure is explained", ({ probes: all }) =>
        all.some(({ name, reason }) => name === "health" && reason?.startsWith("remote: venue fails too") === true),
      );
      expect(excused).toMatchObject({ pid: before.pid, state: "running", emergency: { incident: null } });
      expect(excused.probes.find(({ name }) => name === "unmade")).toMatchObject({
        reason: expect.stringContaining("cannot run no-such-program"),
      });
      expect(changes(paper.state())).toBe(0);
      // The same failure counts once nothing excuses it.
      rig.write("venue-well", "");
      await rig.botUntil("it is closed", ({ state, emergency: now }) => state === "locked" && now.state === "flat");
      await until("the account is flat", () => paper.state().flat);
      expect(rig.journal.some(({ text }) => text.includes("emergency (probe)"))).toBe(true);
    },
  );
