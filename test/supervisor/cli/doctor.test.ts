/** What `supervisor doctor` says of a machine: the judgements by themselves, and the command as a whole on this one. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { Command } from "commander";
import { afterAll, describe, expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/doctor.ts";
import { folderFindings } from "../../../src/supervisor/cli/doctor/folders.ts";
import {
  clockFinding,
  limitsFinding,
  pressureFinding,
  userFinding,
} from "../../../src/supervisor/cli/doctor/machine.ts";
import { unitFindings, versionFinding } from "../../../src/supervisor/cli/doctor/systemd.ts";
import { toolFindings } from "../../../src/supervisor/cli/doctor/tools.ts";
import type { Finding } from "../../../src/supervisor/cli/doctor/finding.ts";

const folder = mkdtempSync(join(tmpdir(), "sv-doctor-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function doctor(config: string, ...args: string[]): Promise<{ out: string; code: number }> {
  writeFileSync(join(folder, "supervisor.yaml"), config);
  let out = "";
  let code = 0;
  const parent = new Command("doctor").exitOverride();
  command.configure(parent, {
    out: (text) => (out += `${text}\n`),
    err: () => undefined,
    env: { PATH: process.env["PATH"] ?? "" },
    cwd: folder,
    isTerminal: false,
    colour: false,
    setExitCode: (value) => (code = value),
  });
  await parent.parseAsync(args, { from: "user" });
  return { out, code };
}

const CONFIG = "version: 1\nbots: { a: { command: [sh] } }\n";

test("doctor has one line for each check, and each that is not ok says what to do", async () => {
  const { out } = await doctor(CONFIG);
  const lines = out.trimEnd().split("\n");
  for (const check of [
    "machine",
    "clock",
    "cgroup",
    "limits",
    "rlimits",
    "pressure",
    "libc",
    "pidfd",
    "user",
    "systemd",
  ])
    expect(lines.some((line) => line.slice(8).startsWith(check))).toBe(true);
  for (const check of [
    "setpriv",
    "zstd",
    "gzip",
    "tar",
    "sqlite3",
    "pg_dump",
    "redis-cli",
    "openssl",
    "age",
    "logrotate",
  ])
    expect(lines.some((line) => line.slice(8).startsWith(check))).toBe(true);
  for (const check of ["config", "stateDir", "runtimeDir", "logDir"])
    expect(lines.some((line) => line.slice(8).startsWith(check))).toBe(true);
  for (const line of lines.filter((each) => !each.startsWith("ok"))) expect(line).toMatch(/; do: \S/);
});

test("doctor --json is one object; a mistake in the config is a problem, told with its line", async () => {
  const { out, code } = await doctor("version: 1\nbots: { a: { command: [sh], after: [b] } }\n", "--json");
  // Safe: the command's own JSON.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: Finding[] };
  expect([ok, code]).toEqual([false, 1]);
  expect(findings).toContainEqual({
    check: "config",
    result: "problem",
    text: expect.stringMatching(/^supervisor\.yaml:2: bots\.a\.after\.0: "b" is not a bot/),
    fix: "supervisor config check",
  });
});

test("doctor exits 1 for a config that is named and is not there", async () => {
  const { out, code } = await doctor(CONFIG, "--config", join(folder, "none.yaml"));
  expect(code).toBe(1);
  expect(out).toMatch(/^PROBLEM config .*none\.yaml/m);
});

test.each([
  [true, "PROBLEM", 1],
  [false, "warning", 0],
])(
  "doctor, where limits.strict is %s and a limit does not hold here, says %s and exits %d",
  async (strict, mark, exit) => {
    const { out, code } = await doctor(
      `version: 1\nbots: { a: { command: [sh], limits: { openFiles: 1073741816, strict: ${strict} } } }\n`,
    );
    expect(out).toMatch(new RegExp(`^${mark} limits .*openFiles: is \\d+ here and not 1073741816`, "m"));
    expect(code).toBe(exit);
  },
);

test.skipIf(!existsSync("/dev/shm"))("doctor exits 1 for a state folder that a reboot would empty", async () => {
  const { out, code } = await doctor(`stateDir: /dev/shm/sv-doctor-none\n${CONFIG}`);
  expect(code).toBe(1);
  expect(out).toMatch(/^PROBLEM stateDir .*tmpfs.*a locked bot would start again/m);
});

test.skipIf(!existsSync("/dev/shm"))(
  "folderFindings() tells a log folder whose outputs cannot be rotated without a gap",
  () => {
    const dirs = { stateDir: folder, runtimeDir: folder, logDir: "/dev/shm" };
    expect(folderFindings(dirs).find(({ check }) => check === "rotation")).toMatchObject({ result: "warning" });
  },
);

test("clockFinding() and pressureFinding() keep unknown apart from bad", () => {
  expect(clockFinding(true).result).toBe("ok");
  expect(clockFinding(false).text).toContain("venues refuse orders");
  expect(clockFinding(undefined).text).toContain("cannot tell");
  expect(pressureFinding("some avg10=1.00 x\nfull avg10=0.50 avg60=0.00").text).toContain("0.50%");
  expect(pressureFinding(undefined)).toMatchObject({ result: "warning" });
});

/** A row of /proc/PID/limits. */
function row(name: string, hard: string): string {
  return `${name.padEnd(26)}1024                 ${hard.padEnd(21)}units`;
}

function limits(files: string, space: string): string {
  return [row("Max open files", files), row("Max address space", space)].join("\n");
}

test("limitsFinding() reads the hard limits of /proc/PID/limits", () => {
  expect(limitsFinding(limits("524288", "unlimited"))).toMatchObject({ result: "ok" });
  expect(limitsFinding(limits("256", "unlimited")).text).toContain("at most 256 open files");
  expect(limitsFinding(limits("524288", "1073741824")).text).toContain("1.0 GiB");
});

test("userFinding() tells root, root without its rights, and an ordinary user apart", () => {
  expect(userFinding(0, "CapEff:\t000001ffffffffff\n")).toMatchObject({ result: "ok" });
  expect(userFinding(0, "CapEff:\t0000000000000000\n")).toMatchObject({ result: "warning" });
  expect(userFinding(1_000, "").text).toContain("every bot runs as this user");
});

/** The answer of `systemctl show` for the shipped unit, with changes. */
const show = (more: Readonly<Record<string, string>> = {}): string =>
  Object.entries({
    LoadState: "loaded",
    ActiveState: "active",
    UnitFileState: "enabled",
    Delegate: "yes",
    KillMode: "process",
    NeedDaemonReload: "no",
    MainPID: "77",
    ...more,
  })
    .map(([key, value]) => `${key}=${value}`)
    .join("\n");

describe("systemd", () => {
  test("versionFinding() warns of a version that is older than the unit's tests", () => {
    expect(versionFinding("systemd 252 (252.39-1~deb12u1)\n+PAM").result).toBe("ok");
    expect(versionFinding("systemd 249 (249.11)").result).toBe("warning");
    expect(versionFinding(undefined).result).toBe("warning");
  });

  test("unitFindings() is content with the shipped unit that runs the daemon", () => {
    expect(unitFindings(show(), 77)).toEqual([
      { check: "unit", result: "ok", text: "tradingbot.service is active with pid 77" },
    ]);
  });

  test.each([
    [{ LoadState: "not-found" }, undefined, "is not installed (not-found)"],
    [{}, 78, "the daemon (pid 78) does not run as tradingbot.service"],
    [{ ActiveState: "failed", MainPID: "0" }, undefined, "it has failed"],
    [{ UnitFileState: "disabled" }, 77, "it is not started at boot"],
    [{ NeedDaemonReload: "yes" }, 77, "its file was changed"],
    [{ Delegate: "no" }, 77, "Delegate= is off"],
    [{ KillMode: "control-group" }, 77, "KillMode=control-group"],
  ])("unitFindings() of %j with daemon %s warns: %s", (change, daemon, words) => {
    const warnings = unitFindings(show(change), daemon).filter(({ result }) => result === "warning");
    expect(warnings.map(({ text }) => text)).toEqual([expect.stringContaining(words)]);
    expect(warnings[0]?.fix).toBeTruthy();
  });
});

test("toolFindings() misses only what the supervisor itself calls", () => {
  const findings = toolFindings("/nowhere");
  expect(findings.find(({ check }) => check === "age")).toMatchObject({ result: "ok" });
  expect(findings.filter(({ result }) => result !== "ok").every(({ check }) => check === "setpriv")).toBe(true);
});
