/** Output under a real systemd: of a bot in the journal under a name of its own, and what doctor says of unit and journald. */
import { describe, expect, test } from "vitest";
import { unbootable } from "./bootable.ts";
import { Box, UNIT } from "./box.ts";

const why = unbootable === undefined ? "" : ` (${unbootable})`;
/** Speaks at its start, and once more when the file `say` appears. */
const SPEAK =
  "echo to out; echo '<3>to err' >&2; systemd-notify --ready; while sleep 0.1; do [ -e say ] && echo later && rm say; done";

describe.skipIf(unbootable !== undefined)(`outputs${why}`, () => {
  test("output.to: journal is kept under the bot's name, with priorities, and goes on when the daemon is dead", async () => {
    await using box = await Box.boot({
      command: ["/bin/sh", "-c", SPEAK],
      output: { to: "journal" },
    });
    await box.do("systemctl", "start", UNIT);
    const bot = await box.botUntil("the bot runs", ({ state }) => state === "running");
    const journal = (...more: string[]): Promise<string> =>
      box.do("journalctl", "--no-pager", "-t", "tradingbot-bot", "-o", "cat", ...more);
    await box.until("the journal has both lines", async () => (await journal()) === "to out\nto err");
    expect(await journal("-p", "err")).toBe("to err");
    expect(await journal(`_SYSTEMD_UNIT=${UNIT}`)).toBe("to out\nto err");
    const logs = await box.supervisor("logs", "bot");
    expect(logs).toMatchObject({ code: 1, out: "" });
    expect(logs.err).toContain("journalctl -t tradingbot-bot -n 50");
    await box.dropIn("RestartSec=2s");
    await box.do("kill", "-9", String(await box.mainPid()));
    await box.do("touch", "/opt/bot/say");
    await box.until("the bot speaks on", async () => (await journal()).endsWith("later"));
    const adopted = await box.botUntil("it is adopted", ({ state }) => state === "running");
    expect(adopted).toMatchObject({ pid: bot.pid, adopted: true });
  });

  test("doctor is content with unit and journald, and not with a daemon that runs beside the unit", async () => {
    await using box = await Box.boot();
    await box.do("systemctl", "enable", "--now", UNIT);
    await box.botUntil("the bot runs", ({ state }) => state === "running");
    const { out } = await box.supervisor("doctor");
    expect(out).toMatch(/^ok +systemd +version \d+/m);
    expect(out).toMatch(/^ok +unit +tradingbot\.service is active with pid \d+$/m);
    expect(out).toMatch(/^ok +journald/m);
    expect(out).not.toMatch(/^\w+ unit .*; do:/m);
    await box.do("systemctl", "disable", "--now", UNIT);
    await box.do(
      "systemd-run",
      "--unit=beside",
      "/usr/local/bin/supervisor",
      "run",
      "--config",
      "/etc/tradingbot/supervisor.yaml",
    );
    await box.botUntil("the bot runs", ({ state }) => state === "running");
    const beside = (await box.supervisor("doctor")).out;
    expect(beside).toMatch(/^warning unit +the daemon \(pid \d+\) does not run as tradingbot\.service/m);
    expect(beside).toMatch(/^warning unit +it is not started at boot; do: systemctl enable tradingbot$/m);
    await box.do("systemctl", "stop", "beside");
  });
});
