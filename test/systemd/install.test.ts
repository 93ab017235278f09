/** `supervisor install` and `uninstall` under a real systemd, from the binary alone. */
import { describe, expect, test } from "vitest";
import { unbootable } from "./bootable.ts";
import { BINARY, Box, CONFIG, UNIT } from "./box.ts";

/** Where somebody has downloaded it to. */
const DOWNLOADED = "/root/download/supervisor";
const UNITS = ["tradingbot.service", "tradingbot-backup.service", "tradingbot-backup.timer"].map(
  (name) => `/etc/systemd/system/${name}`,
);
const backups = (path: string) => ({
  backups: {
    stores: { local: { kind: "directory", path: "/var/lib/tradingbot/backups" } },
    targets: { conf: { kind: "files", paths: [path], schedule: "@daily" } },
  },
});

const why = unbootable === undefined ? "" : ` (${unbootable})`;

const modes = async (box: Box, ...paths: readonly string[]): Promise<readonly string[]> =>
  (await box.do("stat", "--format", "%a %U:%G", ...paths)).split("\n");

/** Files of ours on the disk of the box. */
const ours = async (box: Box): Promise<readonly string[]> => {
  const folders = ["/etc", "/usr/local", "/var/lib", "/var/log", "/srv"];
  const { out } = await box.exec(
    "find",
    ...folders,
    "-xdev",
    "(",
    "-iname",
    "*tradingbot*",
    "-o",
    "-name",
    "*supervisor*",
    ")",
  );
  return out
    .split("\n")
    .filter((path) => path !== "" && !path.startsWith("/var/lib/tradingbot/"))
    .toSorted();
};

describe.skipIf(unbootable !== undefined)(`supervisor install${why}`, () => {
  test("puts all in place and enables it; the daemon starts, uninstall is refused, and after a stop leaves only what it names", async () => {
    await using box = await Box.bare(DOWNLOADED, {}, backups(CONFIG));
    const before = await ours(box);
    const install = await box.exec(DOWNLOADED, "install", "--config", "/root/my.yaml");
    expect(install).toMatchObject({ code: 0, err: "" });
    expect(await modes(box, BINARY, CONFIG, ...UNITS, "/etc/logrotate.d/tradingbot", "/var/lib/tradingbot")).toEqual([
      "755 root:root",
      ...Array<string>(5).fill("644 root:root"),
      "711 root:root",
    ]);
    expect(await box.exec("systemd-analyze", "verify", ...UNITS)).toEqual({ code: 0, out: "", err: "" });
    expect(await box.show("UnitFileState")).toBe("enabled");
    expect(await box.show("ActiveState")).toBe("inactive");
    const again = await box.exec(DOWNLOADED, "install", "--config", "/root/my.yaml", "--skip-tests");
    expect(again.out).toContain("nothing was changed");

    await box.do("systemctl", "start", UNIT);
    const bot = await box.botUntil("the bot runs", ({ state }) => state === "running");
    const refused = await box.exec(BINARY, "uninstall", "--yes");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(`${UNIT}: it is active`);
    expect(refused.err).toContain(`bot bot: it lives (pid ${bot.pid}`);
    expect((await box.status()).bots[0]?.pid).toBe(bot.pid);

    await box.do("systemctl", "stop", UNIT);
    expect((await box.exec(BINARY, "uninstall")).code).toBe(2);
    const removed = await box.exec(BINARY, "uninstall", "--yes");
    expect(removed).toMatchObject({ code: 0, err: "" });
    const left = (await ours(box)).filter((path) => !before.includes(path));
    expect(left).toEqual([CONFIG.replace(/\/[^/]*$/, ""), CONFIG, "/var/lib/tradingbot", "/var/log/tradingbot"]);
    for (const path of left.slice(1)) expect(removed.out).toContain(`kept ${path}`);
    expect(await box.show("LoadState")).toBe("not-found");
  });

  test("refuses to uninstall beside a bot whose daemon was killed", async () => {
    await using box = await Box.bare(DOWNLOADED, {}, backups(CONFIG));
    await box.do(DOWNLOADED, "install", "--config", "/root/my.yaml", "--skip-tests");
    await box.dropIn("Restart=no");
    await box.do("systemctl", "start", UNIT);
    const bot = await box.botUntil("the bot runs", ({ state }) => state === "running");
    await box.do("systemctl", "kill", "--kill-who=main", "--signal=SIGKILL", UNIT);
    await box.until("the unit has failed", async () => (await box.show("ActiveState")) === "failed");
    const refused = await box.exec(BINARY, "uninstall", "--yes");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(`it lives (pid ${bot.pid}`);
    expect(await box.botPids()).toEqual([bot.pid]);
    await box.do("test", "-e", BINARY);
  });
});

describe.skipIf(unbootable !== undefined)(`supervisor install --user${why}`, () => {
  test("with --dir runs daemon and bot as that user from that folder", async () => {
    await using box = await Box.bare(DOWNLOADED, { user: undefined }, backups("/srv/bots/supervisor.yaml"));
    const options = ["--config", "/root/my.yaml", "--user", "trader", "--dir", "/srv/bots"];
    const install = await box.exec(DOWNLOADED, "install", ...options);
    expect(install).toMatchObject({ code: 0, err: "" });
    expect(await box.exec("systemd-analyze", "verify", ...UNITS)).toEqual({ code: 0, out: "", err: "" });
    const config = ["--config", "/srv/bots/supervisor.yaml"];
    await box.do("systemctl", "start", UNIT);
    await box.until(
      "the bot runs",
      async () => (await box.exec("/srv/bots/supervisor", "status", ...config)).code === 0,
    );
    for (const pid of [await box.mainPid(), ...(await box.botPids())])
      expect(await box.do("ps", "-o", "user=", "-p", String(pid))).toBe("trader");
    expect(await modes(box, "/var/lib/tradingbot", "/var/log/tradingbot")).toEqual([
      "711 trader:trader",
      "755 trader:trader",
    ]);
    await box.do("systemctl", "reload", UNIT);
    await box.do("systemctl", "start", "tradingbot-backup.service");
    // The service of backups must not take the state folder from the daemon's user.
    expect(await modes(box, "/var/lib/tradingbot")).toEqual(["711 trader:trader"]);
    await box.do("systemctl", "stop", UNIT);
    const removed = await box.exec("/srv/bots/supervisor", "uninstall", "--yes");
    expect(removed).toMatchObject({ code: 0, err: "" });
    expect(removed.out).toContain("the user trader");
  });
});
