/** The shipped backup service and its timer under a real systemd. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { unbootable } from "./bootable.ts";
import { BINARY, Box, CONFIG } from "./box.ts";

const SERVICE = "tradingbot-backup.service";
const TIMER = "tradingbot-backup.timer";
/** As for the daemon's unit: 3.0. */
const EXPOSURE_TENTHS = 30;
const BACKUPS = {
  stores: { local: { kind: "directory", path: "/var/lib/tradingbot/backups" } },
  targets: {
    state: { kind: "sqlite", path: "/opt/bot/bot.db" },
    conf: { kind: "files", paths: ["/etc/tradingbot"] },
  },
};

const why = unbootable === undefined ? "" : ` (${unbootable})`;

async function boot(): Promise<Box> {
  const box = await Box.boot();
  await box.configure({}, { backups: BACKUPS });
  for (const name of [SERVICE, TIMER]) {
    const text = readFileSync(join(import.meta.dirname, "..", "..", "config", "systemd", name), "utf8");
    await box.write(`/etc/systemd/system/${name}`, text);
  }
  await box.do("systemctl", "daemon-reload");
  return box;
}

const stored = async (box: Box): Promise<readonly unknown[]> => {
  const { out } = await box.exec(BINARY, "backup", "list", "--json", "--config", CONFIG);
  const { backups }: { backups: readonly unknown[] } = JSON.parse(out);
  return backups;
};

describe.skipIf(unbootable !== undefined)(`${SERVICE}${why}`, () => {
  test("systemd-analyze finds no mistake in service and timer and no more exposure than 3.0", async () => {
    await using box = await boot();
    for (const name of [SERVICE, TIMER])
      expect(await box.exec("systemd-analyze", "verify", `/etc/systemd/system/${name}`)).toEqual({
        code: 0,
        out: "",
        err: "",
      });
    const security = await box.exec("systemd-analyze", "security", `--threshold=${EXPOSURE_TENTHS}`, SERVICE);
    expect({ code: security.code, verdict: security.out.split("\n").at(-2) }).toMatchObject({ code: 0 });
  });

  test("makes a backup of every target, of a database of another user too, and fails when one cannot be made", async () => {
    await using box = await boot();
    expect((await box.exec("systemctl", "start", SERVICE)).code).not.toBe(0);
    expect(await stored(box)).toHaveLength(1);
    const fill = "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2)";
    await box.do("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sqlite3", "/opt/bot/bot.db", fill);
    await box.do("systemctl", "start", SERVICE);
    expect(await stored(box)).toHaveLength(3);
    // The bot must still be able to open what we have read.
    await box.do(
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "sqlite3",
      "/opt/bot/bot.db",
      "DELETE FROM orders",
    );
  });

  test("comes at two o'clock, and catches up", async () => {
    await using box = await boot();
    await box.do("systemctl", "enable", "--now", TIMER);
    const calendar = await box.do("systemctl", "show", "--property", "TimersCalendar", "--value", TIMER);
    expect(calendar).toContain("*-*-* 02:00:00");
    expect(await box.do("systemctl", "show", "--property", "Persistent", "--value", TIMER)).toBe("yes");
  });
});
