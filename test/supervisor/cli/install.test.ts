/** Install on a machine whose root is a scratch folder: what is written, refused, kept, and what a second run does. */
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../../src/supervisor/runtime/config/load.ts";
import { InstallRig } from "./install-rig.ts";

const UNITS = "/etc/systemd/system";
const PROGRAM = "/usr/local/bin/supervisor";
const CONFIG = "/etc/tradingbot/supervisor.yaml";
const DROP_IN = `${UNITS}/tradingbot.service.d/10-install.conf`;
const shipped = (name: string): string => readFileSync(join(import.meta.dirname, "../../../config", name), "utf8");
const config = (bot: object = {}, more: object = {}): string =>
  JSON.stringify({
    version: 1,
    stateDir: "/var/lib/tradingbot",
    runtimeDir: "/run/tradingbot",
    logDir: "/var/log/tradingbot",
    bots: { mine: { command: ["true"], ...bot } },
    ...more,
  });

/** What lies there, whatever the numbers and times of the files. */
const namesOf = (rig: InstallRig): string[] => rig.all().map((line) => line.split(" ").slice(0, 2).join(" "));

describe("install()", () => {
  test("writes program, starter config, units and log rotation, tests them, and enables the daemon without starting it", async () => {
    using rig = new InstallRig();
    const { code, out, err } = await rig.install();
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const name of ["tradingbot.service", "tradingbot-backup.service", "tradingbot-backup.timer"])
      expect(rig.read(`${UNITS}/${name}`)).toBe(shipped(`systemd/${name}`));
    expect(rig.read("/etc/logrotate.d/tradingbot")).toBe(shipped("logrotate/tradingbot"));
    expect(rig.read(PROGRAM)).toContain("this version");
    expect([PROGRAM, CONFIG, "/var/lib/tradingbot", "/var/log/tradingbot"].map((path) => rig.modeOf(path))).toEqual([
      "755",
      "644",
      "711",
      "755",
    ]);
    expect(existsSync(rig.at(DROP_IN))).toBe(false);
    expect(rig.ran.filter((each) => !/^(dpkg-query|systemctl (show|--version|is-enabled))/.test(each))).toEqual([
      "systemctl daemon-reload",
      `${PROGRAM} config check --config ${CONFIG}`,
      `${PROGRAM} selftest --config ${CONFIG}`,
      "systemctl enable tradingbot.service",
    ]);
    expect(out).toContain("systemctl start tradingbot");
    expect(out).toContain("tradingbot-backup.timer");
  });

  test("writes a starter that has no mistake, names the folders of the unit and has a backup", async () => {
    using rig = new InstallRig();
    await rig.install({ skipTests: true });
    const loaded = loadConfig({ file: rig.at(CONFIG), env: {}, cwd: "/" });
    expect(loaded.dirs).toEqual({
      stateDir: "/var/lib/tradingbot",
      runtimeDir: "/run/tradingbot",
      logDir: "/var/log/tradingbot",
    });
    expect(loaded.config.backups?.targets).toHaveProperty("config");
  });
});

describe("install() run again", () => {
  test("changes nothing and says so, and leaves a file that is the same untouched", async () => {
    using rig = new InstallRig();
    await rig.install({ user: "bots" });
    rig.write(`${UNITS}/tradingbot.service.d/mine.conf`, "[Service]\n");
    utimesSync(rig.at(PROGRAM), 1, 1);
    const before = rig.all();
    const { code, out } = await rig.install();
    expect(code).toBe(0);
    expect(rig.all()).toEqual(before);
    expect(out).toContain("nothing was changed");
    expect(out).toContain("/tradingbot.service.d/mine.conf stays in force");
    expect(out).toContain("--user bots of the earlier install stays");
    expect(rig.ran.filter((each) => each.startsWith("systemctl enable"))).toHaveLength(1);
  });

  test("clears up what a run that was killed has left, and ends the same", async () => {
    using rig = new InstallRig();
    using whole = new InstallRig();
    rig.write("/usr/local/bin/.supervisor.new", "half");
    mkdirSync(rig.at("/var/lib/.tradingbot.new-Ab3dEf"), { recursive: true });
    await rig.install();
    await whole.install();
    expect(namesOf(rig)).toEqual(namesOf(whole));
  });

  test("ends the same after a run in which any of its commands failed", async () => {
    using whole = new InstallRig();
    await whole.install({ user: "bots" });
    for (const failing of whole.ran.keys()) {
      using rig = new InstallRig();
      rig.failing = failing + 1;
      // oxlint-disable-next-line no-await-in-loop -- Safe: one machine after the other.
      await rig.install({ user: "bots" }).catch(() => {});
      rig.failing = 0;
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      const { code } = await rig.install({ user: "bots" });
      expect({ code, enabled: rig.enabled, names: namesOf(rig) }).toEqual({
        code: 0,
        enabled: true,
        names: namesOf(whole),
      });
    }
  });

  test("replaces units and program of another version, and never another config", async () => {
    using rig = new InstallRig();
    rig.write(`${UNITS}/tradingbot.service`, "[Service]\n");
    rig.write(PROGRAM, "\u007FELF the version before", 0o755);
    rig.write(CONFIG, "version: 1 # mine");
    const { code } = await rig.install();
    expect(code).toBe(0);
    expect(rig.read(`${UNITS}/tradingbot.service`)).toBe(shipped("systemd/tradingbot.service"));
    expect(rig.read(PROGRAM)).toContain("this version");
    expect(rig.read(CONFIG)).toBe("version: 1 # mine");
  });
});

describe("install() by its options", () => {
  test("installs the config that is named, also a second time, and refuses it where another is", async () => {
    using rig = new InstallRig();
    rig.write("my.yaml", config());
    expect((await rig.install({ config: "my.yaml" })).code).toBe(0);
    expect(rig.read(CONFIG)).toBe(config());
    expect((await rig.install({ config: "my.yaml" })).code).toBe(0);
    rig.write("my.yaml", config({ autostart: false }));
    const before = rig.all();
    const { code, err } = await rig.install({ config: "my.yaml" });
    expect(code).toBe(1);
    expect(err).toContain(`${CONFIG}: another config is there`);
    expect(rig.all()).toEqual(before);
  });

  test("makes the user, has the config checked as that one, and gives it the folders by a drop-in", async () => {
    using rig = new InstallRig();
    const { code } = await rig.install({ user: "bots" });
    expect(code).toBe(0);
    expect(rig.ran).toContain(
      "useradd --system --user-group --home-dir /var/lib/tradingbot --no-create-home --shell /usr/sbin/nologin bots",
    );
    expect(rig.ran).toContain(`bots: ${PROGRAM} config check --config ${CONFIG}`);
    expect(rig.read(DROP_IN)).toContain("User=bots\nGroup=bots\n");
    expect(rig.read(`${UNITS}/tradingbot-backup.service.d/10-install.conf`)).toContain("User=bots\n");
  });

  test("with another folder puts program and config there, and the next run finds them", async () => {
    using rig = new InstallRig();
    expect((await rig.install({ dir: "/srv/bots" })).code).toBe(0);
    expect(rig.read("/srv/bots/supervisor")).toContain("this version");
    expect(existsSync(rig.at(PROGRAM))).toBe(false);
    expect(existsSync(rig.at(CONFIG))).toBe(false);
    const { out } = await rig.install();
    expect(out).toContain("nothing was changed");
    expect(existsSync(rig.at(PROGRAM))).toBe(false);
  });

  test("keeps a drop-in that a person has changed, and refuses options that would replace it", async () => {
    using rig = new InstallRig();
    await rig.install({ user: "bots" });
    const mine = `${rig.read(DROP_IN)}Nice=5\n`;
    rig.write(DROP_IN, mine);
    expect((await rig.install()).out).toContain(`${DROP_IN} was changed`);
    expect(rig.read(DROP_IN)).toBe(mine);
    const { code, err } = await rig.install({ user: "others" });
    expect(code).toBe(1);
    expect(err).toContain(`${DROP_IN}: a person has changed`);
    expect(rig.read(DROP_IN)).toBe(mine);
  });
});

describe("install() at its end", () => {
  test.each(["config check", "selftest"])("does not enable the unit when %s fails", async (what) => {
    using rig = new InstallRig();
    rig.answers.set(`${PROGRAM} ${what}`, { code: 1, output: "FAIL it\n" });
    const { code, out, err } = await rig.install();
    expect(code).toBe(1);
    expect(out).toContain("FAIL it");
    expect(err).toContain("not enabled");
    expect(rig.ran).not.toContain("systemctl enable tradingbot.service");
  });

  test("never touches a daemon that runs, and says how it becomes the new version", async () => {
    using rig = new InstallRig();
    rig.write(PROGRAM, "\u007FELF the version before", 0o755);
    rig.answers.set("systemctl show", { code: 0, output: "active\n" });
    const { out } = await rig.install();
    expect(out).toContain("supervisor upgrade");
    expect(rig.ran.filter((each) => /systemctl (re)?start|systemctl stop/.test(each))).toEqual([]);
  });

  test("shows the plan with --dry-run, as text and as one object, and changes nothing", async () => {
    using rig = new InstallRig();
    const before = rig.all();
    const { out } = await rig.install({ dryRun: true, user: "bots" });
    expect(out).toContain("create  user   bots");
    expect(out).toContain(`create  file   ${PROGRAM} (0755 root:root)`);
    const { out: json } = await rig.install({ dryRun: true, json: true });
    expect(JSON.parse(json)).toMatchObject({ ok: true, dryRun: true, changed: false, problems: [], enabled: null });
    expect(JSON.parse(json).steps).toContainEqual({
      kind: "file",
      path: CONFIG,
      mode: "0644",
      owner: "root:root",
      action: "create",
    });
    expect(rig.all()).toEqual(before);
  });
});

describe("install() refuses, with all reasons at once and nothing changed,", () => {
  test("for want of root, of the compiled binary and of systemd", async () => {
    using rig = new InstallRig();
    rig.isRoot = false;
    rig.program = undefined;
    rig.answers.set("systemctl --version", { code: 0, output: "systemd 247 (247.3)\n" });
    const before = rig.all();
    const { code, err } = await rig.install();
    expect(code).toBe(1);
    expect(err).toContain("only root");
    expect(err).toContain("runs from source");
    expect(err).toContain("version 247 is older than 252");
    expect(rig.all()).toEqual(before);
  });

  test("names that are none, and a config with mistakes", async () => {
    using rig = new InstallRig();
    rig.write("bad.yaml", "version: 1\nbots: { a: { comand: [x] } }\n");
    const { code, err } = await rig.install({ user: "no one", dir: "/tmp/x", config: "bad.yaml" });
    expect(code).toBe(2);
    expect(err).toContain("--user no one");
    expect(err).toContain("--dir /tmp/x");
    expect(err).toContain("comand");
    const gone = await rig.install({ config: "gone.yaml", json: true });
    expect(gone.code).toBe(2);
    expect(JSON.parse(gone.out)).toMatchObject({ ok: false, steps: [], problems: [{ where: "--config gone.yaml" }] });
  });

  test("a config that does not name the unit's folders, or a user that --user cannot become", async () => {
    using rig = new InstallRig();
    rig.write("my.yaml", config({ user: "root" }, { logDir: undefined }));
    const { code, err } = await rig.install({ user: "bots", config: "my.yaml" });
    expect(code).toBe(2);
    expect(err).toContain("does not name logDir");
    expect(err).toContain("do: add logDir: /var/log/tradingbot\n");
    expect(err).toContain("bots.mine.user is root");
  });

  test("links, folders, other programs and files of packages in the way", async () => {
    using rig = new InstallRig();
    mkdirSync(rig.at(`${UNITS}/tradingbot-backup.timer`), { recursive: true });
    symlinkSync("/dev/null", rig.at(`${UNITS}/tradingbot.service`));
    rig.write("/etc/logrotate.d", "a file");
    rig.write(PROGRAM, "#!/bin/sh\n", 0o755);
    const owned = `${UNITS}/tradingbot-backup.service`;
    rig.answers.set("dpkg-query", {
      code: 1,
      output: `systemd: ${UNITS}\nsupervisor: ${owned}\ndpkg-query: no path found\n`,
    });
    const before = rig.all();
    const { code, err } = await rig.install();
    expect(code).toBe(1);
    expect(err).toContain(`${UNITS}/tradingbot-backup.timer: a folder is in the way`);
    expect(err).toContain(`${UNITS}/tradingbot.service: a symbolic link is in the way`);
    expect(err).toContain("/etc/logrotate.d: a file is in the way");
    expect(err).toContain(`${PROGRAM}: another program`);
    expect(err).toContain(`${owned}: it belongs to the package supervisor`);
    expect(err).not.toContain("package systemd");
    expect(rig.all()).toEqual(before);
  });
});

describe("install() refuses folders, with nothing changed,", () => {
  test("of state, that belong to another than the user that is named", async () => {
    using rig = new InstallRig();
    await rig.install();
    const before = rig.all();
    const { code, err } = await rig.install({ user: "bots" });
    expect(code).toBe(1);
    expect(err).toContain("/var/lib/tradingbot /run/tradingbot /var/log/tradingbot: the daemon is to run as bots");
    expect(rig.all()).toEqual(before);
  });

  test("in which others could replace the program", async () => {
    using rig = new InstallRig();
    mkdirSync(rig.at("/srv/open/bots"), { recursive: true, mode: 0o777 });
    rig.write("/srv/open/bots/x", "");
    chmodSync(rig.at("/srv/open"), 0o777);
    const { code, err } = await rig.install({ dir: "/srv/open/bots" });
    expect(code).toBe(2);
    expect(err).toContain("/srv/open: others may write to it");
  });

  test.skipIf(process.getuid?.() !== 0)(
    "below which root would have to make one, where another may change them",
    async () => {
      using rig = new InstallRig();
      rig.users.add("bots");
      rig.uids.set("bots", 4_242);
      mkdirSync(rig.at("/home/bots/mine"), { recursive: true });
      chownSync(rig.at("/home/bots"), 4_242, 4_242);
      const before = rig.all();
      const refused = await rig.install({ user: "bots", dir: "/home/bots/mine/bin" });
      expect(refused.code).toBe(2);
      expect(refused.err).toContain("/home/bots: user 4242 owns it, and root makes no folder below it");
      expect(rig.all()).toEqual(before);
      mkdirSync(rig.at("/home/bots/mine/bin"));
      expect((await rig.install({ user: "bots", dir: "/home/bots/mine/bin" })).code).toBe(0);
      mkdirSync(rig.at("/srv"));
      chownSync(rig.at("/srv"), 0, 4_242);
      chmodSync(rig.at("/srv"), 0o775);
      expect((await rig.install({ dir: "/srv/bin" })).err).toContain("/srv: group 4242 may write to it");
    },
  );
});
