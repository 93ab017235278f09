/** The machine and its kernel: clock, cgroups, limits, pressure, what bun:ffi reaches, and the rights of who asks. */
import { closeSync } from "node:fs";
import { formatSize } from "../../../core/size.ts";
import { libc, libcError } from "../../../platform/libc.ts";
import { describeMachine } from "../../../platform/machine.ts";
import { readProc } from "../../../platform/proc.ts";
import type { SeenCgroups } from "../seen-cgroups.ts";
import { ok, problem, warning, type Finding } from "./finding.ts";

/** Descriptors that the daemon needs for some hundred bots; each takes about ten. */
const FEW_OPEN_FILES = 1_024;
/** CAP_CHOWN, CAP_KILL, CAP_SETGID and CAP_SETUID of linux/capability.h: what root needs to run bots as other users. */
const USER_CAPABILITIES = [0n, 5n, 6n, 7n];

export async function machineFindings(cgroups: SeenCgroups): Promise<readonly Finding[]> {
  const who = cgroups.pid ?? "self";
  const status = readProc(`/proc/${who}/status`) ?? "";
  const { os, kernel, cores, cpu, memoryBytes, clockSynchronised } = await describeMachine();
  return [
    ok("machine", `${os}, Linux ${kernel}, ${cores} × ${cpu}, ${formatSize(memoryBytes)}`),
    clockFinding(clockSynchronised),
    daemonFinding(cgroups),
    cgroupFinding(cgroups),
    controllersFinding(cgroups),
    limitsFinding(readProc(`/proc/${who}/limits`) ?? ""),
    pressureFinding(readProc("/proc/pressure/memory")),
    libcFinding(),
    pidfdFinding(),
    userFinding(Number(/^Uid:\s*\d+\s+(\d+)/m.exec(status)?.[1] ?? 0), status),
  ];
}

export function clockFinding(synchronised: boolean | undefined): Finding {
  if (synchronised === true) return ok("clock", "synchronised (adjtimex)");
  if (synchronised === undefined)
    return warning(
      "clock",
      "cannot tell whether it is synchronised: adjtimex is not allowed here",
      "look with timedatectl or chronyc tracking on the host",
    );
  return warning(
    "clock",
    "not synchronised: venues refuse orders whose time is off by seconds, also those that close positions",
    "install chrony or systemd-timesyncd; in a container, on the host",
  );
}

/** Whose cgroup, limits, rlimits and user follow: a unit has its own (`Delegate=`, `LimitNOFILE=`, `User=`). */
function daemonFinding({ pid, why }: SeenCgroups): Finding {
  if (pid !== undefined) return ok("daemon", `pid ${pid} answers: cgroup, limits, rlimits and user below are its own`);
  return ok(
    "daemon",
    `not asked (${why}): cgroup, limits, rlimits and user below are this shell's; a unit's daemon may be given others`,
  );
}

function cgroupFinding({ support }: SeenCgroups): Finding {
  const { mode, base, reason } = support;
  if (base !== undefined) return ok("cgroup", `${mode}: process trees are tracked and killed as cgroups below ${base}`);
  return warning(
    "cgroup",
    `${mode}, not usable (${reason}): process trees are swept by parentage and environment instead`,
    "run the supervisor as the unit tradingbot.service, or in a container with a writable cgroup of its own",
  );
}

/** Whether a unit's Delegate= is needed shows only when the daemon runs; said here, where this command runs elsewhere. */
function controllersFinding({ controllers, pid }: SeenCgroups): Finding {
  const { places, obstacles } = controllers;
  const usable = Object.entries(places).map(([name, { version }]) => `${name} (${version})`);
  const missing = Object.entries(obstacles).map(([name, why]) => `limits.${name}: ${why}`);
  const v2 = Object.values(places).some(({ version }) => version === "v2");
  const alone =
    v2 && pid === undefined ? "; the supervisor must be alone in its cgroup, as in a unit with Delegate=yes" : "";
  const enforced = usable.length === 0 ? "" : `enforced by the kernel: ${usable.join(", ")}${alone}`;
  if (missing.length === 0) return ok("limits", enforced);
  const text = [enforced, `not enforced: ${missing.join("; ")}`].filter(Boolean).join("; ");
  return warning("limits", text, "limit the unit or the container as a whole, or see docs/limits.md");
}

/** `limits` is /proc/PID/limits. */
export function limitsFinding(limits: string): Finding {
  const files = hardLimit(limits, "Max open files");
  const space = hardLimit(limits, "Max address space");
  if (space !== undefined)
    return warning(
      "rlimits",
      `the address space is limited to ${formatSize(space)}: JavaScript runtimes lose their compiler or do not start`,
      "remove LimitAS= or ulimit -v; limit memory with bots.NAME.limits.memory",
    );
  if (files !== undefined && files < FEW_OPEN_FILES)
    return warning(
      "rlimits",
      `at most ${files} open files: enough for few bots, each of which takes about ten in the supervisor`,
      "LimitNOFILE=65536 in the unit, or ulimit -n",
    );
  return ok("rlimits", `open files ${files ?? "unlimited"}, address space unlimited`);
}

/** The hard limit in a row of /proc/PID/limits; `undefined`: unlimited, or no such row. */
function hardLimit(limits: string, row: string): number | undefined {
  const hard = limits
    .split("\n")
    .find((line) => line.startsWith(row))
    ?.slice(row.length)
    .trim()
    .split(/\s+/)[1];
  return hard === undefined || !/^\d+$/.test(hard) ? undefined : Number(hard);
}

export function pressureFinding(memory: string | undefined): Finding {
  const share = /^full avg10=([\d.]+)/m.exec(memory ?? "")?.[1];
  if (share !== undefined)
    return ok("pressure", `the kernel measures it (PSI); all work waited for memory ${share}% of the last 10 s`);
  return warning(
    "pressure",
    "no /proc/pressure (PSI): a machine short of memory, CPU or disk shows only by its effects",
    "boot with psi=1, on a kernel with CONFIG_PSI",
  );
}

function libcFinding(): Finding {
  const error = libcError();
  if (error === undefined) return ok("libc", "notify socket, file locks, subreaper and journal streams are available");
  return problem(
    "libc",
    `${error}: no notify socket, no lock on the state folder`,
    "remove MemoryDenyWriteExecute=, LimitAS= and noexec from where it runs",
  );
}

function pidfdFinding(): Finding {
  const pidfd = libc()?.pidfdOpen(process.pid) ?? -1;
  if (pidfd >= 0) {
    closeSync(pidfd);
    return ok(
      "pidfd",
      "the kernel names processes for ever (pidfd_open): no signal goes to a stranger with the same pid",
    );
  }
  return warning(
    "pidfd",
    "no pidfd_open: before each signal the start time is compared instead, which leaves an instant for a mix-up",
    "Linux 5.3 or later; in a container, a seccomp profile that allows pidfd_open and pidfd_send_signal",
  );
}

/** `status` is /proc/PID/status. */
export function userFinding(uid: number, status: string): Finding {
  if (uid !== 0)
    return ok(
      "user",
      `uid ${uid}: every bot runs as this user, and none may name another one; the daemon may run as root`,
    );
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  if (USER_CAPABILITIES.every((bit) => (effective & (1n << bit)) !== 0n))
    return ok("user", "root: each bot may run as a user of its own (user in its config)");
  return warning(
    "user",
    "root without the rights of root (CAP_SETUID, CAP_SETGID, CAP_KILL, CAP_CHOWN): no bot can run as another user",
    "give the container or unit these capabilities, or leave user out of the config",
  );
}
