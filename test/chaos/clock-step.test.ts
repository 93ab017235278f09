/** A wall clock that is set forth and back under a living daemon, by libfaketime: nothing comes of it. The machine watch reads the kernel itself, which libfaketime does not reach. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { script } from "./fixture.ts";
import { Rig, until } from "./harness.ts";

/** The library where Debian has it. */
const LIBFAKETIME = ["x86_64", "aarch64"]
  .map((arch) => `/usr/lib/${arch}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));
const possible = LIBFAKETIME !== undefined && Bun.which("systemd-notify") !== null;
const HOUR_MS = 3_600_000;
/** How far the daemon's clock is off, in hours, one after the other. */
const OFFSETS = [1, -1, 0];

test.runIf(possible)(
  "a clock that is set forth and back fails no probe, restarts nothing, and moves no deadline",
  async () => {
    const probes = [
      { kind: "heartbeat", timeout: "5s" },
      { kind: "exec", name: "health", period: "200ms", timeout: "150ms", failureThreshold: 2, command: ["true"] },
    ];
    const bots = {
      bot: { command: script("beat.sh"), ready: "notify", probes },
      stubborn: { command: script("ignore-term.sh", "pid"), stopTimeout: "2s" },
    };
    await using rig = new Rig({ bots });
    const setClock = (hours: number): string => rig.write("clock", `${hours < 0 ? "" : "+"}${hours}h`);
    setClock(0);
    await rig.run({
      LD_PRELOAD: LIBFAKETIME ?? "",
      FAKETIME_TIMESTAMP_FILE: rig.path("clock"),
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    });
    const before = await rig.botUntil("the bot is ready", ({ ready, health }) => ready && health === "healthy");
    await until("the other one is there", () => rig.read("pid") !== "");
    for (const hours of OFFSETS) {
      // A wait that is under way when the clock is set.
      const stop = hours === -1 ? rig.cli("stop", "stubborn") : undefined;
      if (stop !== undefined)
        await rig.botUntil("it is stopping", ({ state }) => state === "stopping", undefined, "stubborn");
      setClock(hours);
      await rig.botUntil("the daemon reads the new time", ({ heartbeat }) => {
        const offMs = Date.parse(heartbeat.at ?? "") - Date.now();
        return Math.abs(offMs - hours * HOUR_MS) < HOUR_MS / 4;
      });
      const ended = await stop;
      if (ended === undefined) continue;
      expect(ended.code).toBe(0);
      expect(ended.ms).toBeGreaterThan(2_000);
      expect(ended.ms).toBeLessThan(10_000);
    }
    const after = await rig.botUntil(
      "the bot beats on",
      ({ heartbeat }) => Date.parse(heartbeat.at ?? "") > Date.now() - 1_000,
    );
    expect(after).toMatchObject({ pid: before.pid, generation: 1, health: "healthy", restarts: { total: 0 } });
    expect(after.probes.map(({ name, verdict }) => [name, verdict])).toEqual(
      before.probes.map(({ name }) => [name, "healthy"]),
    );
    expect(rig.journal.filter(({ text, bot }) => bot === "bot" && /unhealthy|fails|degraded/.test(text))).toEqual([]);
  },
);
