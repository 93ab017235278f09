/** `supervisor doctor`: what this machine offers a supervisor, and what is missing. */
import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";
import { EXIT } from "../../core/exit-code.ts";
import { formatSize } from "../../core/size.ts";
import { detectCgroup } from "../../platform/cgroup.ts";
import { findControllers } from "../../platform/controllers.ts";
import { libcError } from "../../platform/libc.ts";
import { describeMachine, diskFree } from "../../platform/machine.ts";
import { ConfigError } from "../runtime/config/issues.ts";
import { findPlace, withConfig, type Place, type PlaceOptions } from "./place.ts";
import type { CliIo, Verb } from "./verb.ts";

/** Free space in the state folder below which a journal, a lockout and reports may find no room. */
const LOW_DISK_BYTES = 256 * 1024 ** 2;

interface Finding {
  readonly check: string;
  readonly result: "ok" | "warning" | "problem";
  readonly text: string;
}

interface Options extends PlaceOptions {
  readonly json?: boolean;
}

export const command: Verb = {
  name: "doctor",
  summary:
    "Shows what this machine offers: kernel, cgroups, clock, disk, tools. Exit code 1 when something is a problem.",
  configure: (cmd, io) => {
    withConfig(cmd)
      .option("--json", "one JSON object")
      .action(async (options: Options) => {
        const findings = await examine(options, io);
        if (options.json === true) io.out(JSON.stringify({ findings }));
        else for (const { check, result, text } of findings) io.out(`${MARK[result]} ${check.padEnd(10)} ${text}`);
        if (findings.some(({ result }) => result === "problem")) io.setExitCode(EXIT.failed);
      });
  },
};

const MARK = { ok: "ok     ", warning: "warning", problem: "PROBLEM" } as const;

async function examine(options: Options, io: CliIo): Promise<readonly Finding[]> {
  const machine = await describeMachine();
  const memory = formatSize(machine.memoryBytes);
  return [
    {
      check: "machine",
      result: "ok",
      text: `${machine.os}, Linux ${machine.kernel}, ${machine.cores} × ${machine.cpu}, ${memory}`,
    },
    clockFinding(machine.clockSynchronised),
    cgroupFinding(),
    controllersFinding(),
    libcFinding(),
    await toolFinding("setpriv", "needed to run a bot as another user (package util-linux)", io),
    await toolFinding("systemctl", "needed only to run as a systemd unit", io),
    ...(await folderFindings(options, io)),
  ];
}

function clockFinding(synchronised: boolean | undefined): Finding {
  if (synchronised === true) return { check: "clock", result: "ok", text: "synchronised" };
  const text =
    synchronised === false
      ? "not synchronised: venues refuse orders whose time is off by seconds; install chrony or systemd-timesyncd"
      : "cannot tell whether it is synchronised";
  return { check: "clock", result: "warning", text };
}

function cgroupFinding(): Finding {
  const { mode, base, reason } = detectCgroup();
  if (base !== undefined)
    return {
      check: "cgroup",
      result: "ok",
      text: `${mode}: process trees are tracked and killed as cgroups below ${base}`,
    };
  return {
    check: "cgroup",
    result: "warning",
    text: `${mode}, not usable (${reason}): process trees are swept by parentage and environment instead`,
  };
}

/** Whether a unit's Delegate= is needed shows only when the daemon runs; said here, as this command runs elsewhere. */
function controllersFinding(): Finding {
  const { places, obstacles } = findControllers(detectCgroup());
  const usable = Object.entries(places).map(([name, { version }]) => `${name} (${version})`);
  const missing = Object.entries(obstacles).map(([name, why]) => `limits.${name}: ${why}`);
  const v2 = Object.values(places).some(({ version }) => version === "v2");
  const alone = v2 ? "; the supervisor must be alone in its cgroup, as in a unit with Delegate=yes" : "";
  const enforced = usable.length === 0 ? "" : `enforced by the kernel: ${usable.join(", ")}${alone}`;
  if (missing.length === 0) return { check: "limits", result: "ok", text: enforced };
  return {
    check: "limits",
    result: "warning",
    text: [enforced, `not enforced: ${missing.join("; ")}`].filter(Boolean).join("; "),
  };
}

function libcFinding(): Finding {
  const error = libcError();
  if (error === undefined)
    return { check: "libc", result: "ok", text: "notify socket, file locks, subreaper and pidfd are available" };
  return { check: "libc", result: "problem", text: `${error}: no notify socket, no lock on the state folder` };
}

async function toolFinding(name: string, why: string, io: CliIo): Promise<Finding> {
  const path = Bun.which(name, { PATH: io.env["PATH"] ?? "/usr/bin:/bin" });
  if (path !== null) return { check: name, result: "ok", text: path };
  return { check: name, result: "warning", text: `not found; ${why}` };
}

async function folderFindings(options: Options, io: CliIo): Promise<readonly Finding[]> {
  let place: Place;
  try {
    place = await findPlace(options, io);
  } catch (error) {
    if (error instanceof ConfigError) return [{ check: "config", result: "warning", text: error.message }];
    throw error;
  }
  return [
    { check: "config", result: "ok", text: place.file },
    ...(await limitFindings(options, io)),
    await stateDirFinding(place.dirs.stateDir),
  ];
}

/** The limits of the config that do not hold here; a config with mistakes is for `config check`. */
async function limitFindings(options: Options, io: CliIo): Promise<readonly Finding[]> {
  const { loadConfig } = await import("../runtime/config/load.ts");
  const { limitWarnings } = await import("../runtime/limit-check.ts");
  try {
    const loaded = loadConfig({ file: options.config, env: io.env, cwd: io.cwd });
    return limitWarnings(loaded).map((text) => ({ check: "limits", result: "warning", text }));
  } catch (error) {
    if (error instanceof ConfigError) return [{ check: "config", result: "warning", text: error.message }];
    throw error;
  }
}

async function stateDirFinding(stateDir: string): Promise<Finding> {
  const existing = await nearestExisting(stateDir);
  const space = diskFree(existing);
  const free = space === undefined ? "unknown space" : `${formatSize(space.freeBytes)} free`;
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    return {
      check: "stateDir",
      result: "problem",
      text: `${stateDir}: cannot be written; give it to the supervisor's user`,
    };
  }
  if (space !== undefined && space.freeBytes < LOW_DISK_BYTES)
    return { check: "stateDir", result: "problem", text: `${stateDir}: only ${free}` };
  return { check: "stateDir", result: "ok", text: `${stateDir}: ${free}` };
}

/** The folder itself, or the nearest one above it that exists. */
async function nearestExisting(path: string): Promise<string> {
  try {
    await access(path, constants.F_OK);
    return path;
  } catch {
    return path === dirname(path) ? path : nearestExisting(dirname(path));
  }
}
