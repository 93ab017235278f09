/** Uninstall on a machine whose root is a scratch folder: what is removed, kept, and when it is refused. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NO_PROCESS } from "../../../src/core/identity.ts";
import { tryLock } from "../../../src/platform/lock.ts";
import { bootId } from "../../../src/platform/proc.ts";
import { InstallRig } from "./install-rig.ts";

const UNITS = "/etc/systemd/system";
const PROGRAM = "/usr/local/bin/supervisor";
const CONFIG = "/etc/tradingbot/supervisor.yaml";
const DROP_IN = `${UNITS}/tradingbot.service.d/10-install.conf`;
/** As in a container, from which the processes of others are not to be seen. */
const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const hasNamespaces = Bun.which("unshare") !== null && Bun.spawnSync([...UNSHARE, "true"]).exitCode === 0;

test("uninstall() removes what install wrote, keeps the rest and names it, and ends well when nothing is left", async () => {
  using rig = new InstallRig();
  await rig.install({ user: "bots" });
  rig.write(`${UNITS}/tradingbot.service.d/mine.conf`, "[Service]\n");
  const { code, out, err } = await rig.uninstall();
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const left = rig.all().map((line) => line.split(" ")[0] ?? "");
  expect(left.filter((name) => /supervisor|tradingbot/.test(name) && !name.startsWith("build"))).toEqual([
    "etc/systemd/system/tradingbot.service.d",
    "etc/systemd/system/tradingbot.service.d/mine.conf",
    "etc/tradingbot",
    "etc/tradingbot/supervisor.yaml",
    "run/tradingbot",
    "var/lib/tradingbot",
    "var/log/tradingbot",
  ]);
  for (const kept of [CONFIG, "/var/lib/tradingbot", "/var/log/tradingbot", "the user bots"])
    expect(out).toContain(kept);
  expect(rig.ran).toContain("systemctl disable tradingbot.service tradingbot-backup.timer");
  expect((await rig.uninstall()).out).toContain("nothing of an install is here");
});

test("uninstall() keeps a drop-in that a person has changed, and a program of another version", async () => {
  using rig = new InstallRig();
  await rig.install({ user: "bots" });
  rig.write(DROP_IN, `${rig.read(DROP_IN)}Nice=5\n`);
  rig.write(PROGRAM, "\u007FELF another version", 0o755);
  const { out } = await rig.uninstall();
  expect(out).toContain(`kept ${DROP_IN}`);
  expect(out).toContain(`kept ${PROGRAM}`);
  expect(existsSync(rig.at(DROP_IN)) && existsSync(rig.at(PROGRAM))).toBe(true);
});

test("uninstall() is refused while the unit is active or a bot cannot be told to be dead, and changes nothing", async () => {
  using rig = new InstallRig();
  await rig.install();
  rig.write("/var/lib/tradingbot/bots/mine/identity.json", "{ half");
  rig.write("/var/lib/tradingbot/supervisor.lock", "");
  rig.answers.set("systemctl show", { code: 0, output: "active\n" });
  const before = rig.all();
  const { code, err } = await rig.uninstall();
  expect(code).toBe(1);
  expect(err).toContain("tradingbot.service: it is active");
  expect(err).toContain("bot mine:");
  expect(rig.all()).toEqual(before);
});

test("uninstall() takes no unit for active where the machine was not booted by systemd", async () => {
  using rig = new InstallRig();
  const output = "System has not been booted with systemd as init system (PID 1). Can't operate.\n";
  rig.answers.set("systemctl show", { code: 1, output });
  rmSync(rig.at("/run/systemd"), { recursive: true });
  expect(await rig.uninstall()).toMatchObject({ code: 0, err: "" });
  const unit = rig.write(`${UNITS}/tradingbot.service`, "[Service]\n");
  const { code, err } = await rig.uninstall();
  expect(code).toBe(1);
  expect(err).toContain("systemd: this machine was not booted by it");
  expect(err).not.toContain("it is active");
  expect(existsSync(unit)).toBe(true);
});

test("uninstall() makes no lock in a state folder that never ran, and writes nothing into one that is there", async () => {
  using rig = new InstallRig();
  await rig.install();
  const lock = rig.at("/var/lib/tradingbot/supervisor.lock");
  mkdirSync(rig.at("/var/lib/tradingbot"), { recursive: true });
  expect((await rig.uninstall()).code).toBe(0);
  expect(existsSync(lock)).toBe(false);
  await rig.install();
  rig.write("/var/lib/tradingbot/supervisor.lock", "of somebody");
  expect((await rig.uninstall()).code).toBe(0);
  expect(readFileSync(lock, "utf8")).toBe("of somebody");
});

test("uninstall() is refused while somebody holds the lock of the state folder, and follows no link in its place", async () => {
  using rig = new InstallRig();
  await rig.install();
  const lock = rig.write("/var/lib/tradingbot/supervisor.lock", "");
  const held = tryLock(lock);
  expect((await rig.uninstall()).err).toContain("a supervisor runs on that state folder");
  held?.release();
  rmSync(lock);
  symlinkSync(rig.write("/elsewhere", "precious"), lock);
  await expect(rig.uninstall()).rejects.toThrow(`cannot open lock file ${lock}`);
  expect(rig.read("/elsewhere")).toBe("precious");
  expect(existsSync(rig.at(PROGRAM))).toBe(true);
});

test.skipIf(!hasNamespaces)(
  "uninstall() is refused where a bot was started in a PID namespace out of sight",
  async () => {
    using rig = new InstallRig();
    await rig.install();
    const start = { account: "mine", invocationId: "1", generation: 1, ready: true, definition: "", restarts: 0 };
    const place = { bootId: bootId(), pids: "pid:[1]", first: false, cgroups: null };
    rig.write(
      "/var/lib/tradingbot/bots/mine/identity.json",
      JSON.stringify({ version: 1, ...start, ...NO_PROCESS, cgroup: null, place }),
    );
    const script = join(import.meta.dirname, "../../fixtures/plan-removal.ts");
    const child = Bun.spawnSync([...UNSHARE, process.execPath, script, rig.dir]);
    expect(child.stderr.toString()).toBe("");
    expect(child.stdout.toString()).toMatch(/bot mine: .*PID namespace pid:\[1\].*may be alive there/);
  },
);

test("uninstall() asks where it is not told --yes, and shows what would go with --dry-run", async () => {
  using rig = new InstallRig();
  await rig.install();
  const before = rig.all();
  await expect(rig.uninstall({})).rejects.toThrow("not confirmed");
  expect((await rig.uninstall({ dryRun: true })).out).toContain(`remove ${PROGRAM}`);
  expect(rig.all()).toEqual(before);
});
