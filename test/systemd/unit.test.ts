/** The shipped unit under a real systemd: what it says of itself, start, stop, restart, and that nothing is left. */
import { describe, expect, test } from "vitest";
import { unbootable } from "./bootable.ts";
import { Box, UNIT } from "./box.ts";

/** What `systemd-analyze security` may find at most, tenths as its --threshold takes them: 3.0. */
const EXPOSURE_TENTHS = 30;
/** Time that a start may take until READY=1 on a loaded machine, ms; on an idle one it is a tenth. */
const READY_MS = 3_000;

const why = unbootable === undefined ? "" : ` (${unbootable})`;

describe.skipIf(unbootable !== undefined)(`${UNIT}${why}`, () => {
  test("systemd-analyze finds no mistake in the unit and no more exposure than 3.0", async () => {
    await using box = await Box.boot();
    // Unknown keys and values are printed and answered with 0.
    const verify = await box.exec("systemd-analyze", "verify", `/etc/systemd/system/${UNIT}`);
    expect(verify).toEqual({ code: 0, out: "", err: "" });
    const security = await box.exec("systemd-analyze", "security", `--threshold=${EXPOSURE_TENTHS}`, UNIT);
    expect({ code: security.code, verdict: security.out.split("\n").at(-2) }).toMatchObject({ code: 0 });
  });

  test("a start is READY within moments, and commands reach the daemon; a stop ends bot and daemon and leaves no process", async () => {
    await using box = await Box.boot();
    const startMs = performance.now();
    await box.do("systemctl", "start", UNIT);
    expect(performance.now() - startMs).toBeLessThan(READY_MS);
    const bot = await box.botUntil("the bot runs", ({ state, health }) => state === "running" && health === "healthy");
    expect(await box.botPids()).toEqual([bot.pid]);
    expect((await box.supervisor("status")).code).toBe(0);
    expect(await box.show("StatusText")).toContain("1 bot");
    // The unit's own control group is writable, the rest of the hierarchy is not.
    expect((await box.status()).supervisor.cgroup).not.toBe("none");
    expect((await box.supervisor("restart", "bot")).code).toBe(0);

    await box.do("systemctl", "stop", UNIT);
    expect(await box.show("Result")).toBe("success");
    expect(await box.botPids()).toEqual([]);
    expect(await remains(box)).toBe("");
    expect((await box.supervisor("status")).code).toBe(3);
    expect(await box.overlaps()).toBe("");
  });

  test("systemctl restart ends daemon and bot, and starts both anew", async () => {
    await using box = await Box.boot();
    await box.do("systemctl", "start", UNIT);
    const before = await box.botUntil("the bot runs", ({ state }) => state === "running");
    const daemon = await box.mainPid();
    await box.do("systemctl", "restart", UNIT);
    const after = await box.botUntil("the next bot runs", ({ state, pid }) => state === "running" && pid !== null);
    expect(after.pid).not.toBe(before.pid);
    expect(await box.mainPid()).not.toBe(daemon);
    expect(await box.botPids()).toEqual([after.pid]);
    expect(await box.overlaps()).toBe("");
  });

  test("a bot that needs longer to stop than TimeoutStopSec gets its stopTimeout, as the daemon asks for more time", async () => {
    await using box = await Box.boot({ stopTimeout: "4s" });
    await box.dropIn("TimeoutStopSec=2s");
    await box.do("touch", "/opt/bot/deaf");
    await box.do("systemctl", "start", UNIT);
    await box.botUntil("the bot runs", ({ state }) => state === "running");
    await box.do("systemctl", "stop", UNIT);
    expect(await box.show("Result")).toBe("success");
    expect(await box.log()).toContain("supervisor has stopped");
    expect(await remains(box)).toBe("");
  });
});

describe.skipIf(unbootable !== undefined)(`${UNIT} as it is set up${why}`, () => {
  test("with the drop-in for an ordinary user, daemon and bot run as that user, and a stop ends both", async () => {
    await using box = await Box.boot({ user: undefined });
    await box.becomeUnprivileged();
    expect(await box.exec("systemd-analyze", "verify", `/etc/systemd/system/${UNIT}`)).toMatchObject({
      out: "",
      err: "",
    });
    await box.do("systemctl", "start", UNIT);
    const bot = await box.botUntil("the bot runs", ({ state, health }) => state === "running" && health === "healthy");
    for (const pid of [bot.pid, await box.mainPid()])
      expect(await box.do("ps", "-o", "user=", "-p", String(pid))).toContain("trading");
    expect((await box.status()).supervisor.cgroup).not.toBe("none");
    await box.do("systemctl", "stop", UNIT);
    expect(await box.show("Result")).toBe("success");
    expect(await remains(box)).toBe("");
  });

  test("a mistake in the config fails the unit once, with the place of the mistake in its log", async () => {
    await using box = await Box.boot({ stopTimeout: "soon" });
    expect((await box.exec("systemctl", "start", UNIT)).code).toBe(1);
    await box.until("the unit has failed", async () => (await box.show("ActiveState")) === "failed");
    expect(await box.show("NRestarts")).toBe("0");
    expect(await box.show("ExecMainStatus")).toBe("2");
    expect(await box.log()).toContain("bots.bot.stopTimeout");
  });
});

/** Processes of the daemon or a bot that live, as `ps` shows them. */
async function remains(box: Box): Promise<string> {
  return (await box.exec("pgrep", "-a", "-f", "supervisor|bot.sh|systemd-notify")).out;
}
