/**
 * The step between fork and exec that sets what a cgroup given to the spawn cannot: further cgroups, limits of the process
 * itself and its OOM score. A shell does it and becomes the program, so the pid stays (sh(1), getrlimit(2), proc_pid_oom_score_adj(5)).
 */
import type { EnforcedLimits } from "../core/limits.ts";
import { readProc } from "./proc.ts";

/** Exit codes of a start that failed before its program ran: those of systemd.exec(5). */
export const EXIT_BEFORE_EXEC = { 205: "set its limits", 206: "set its OOM score", 219: "join its cgroups" } as const;
const [LIMITS, OOM_ADJUST, CGROUP] = [205, 206, 219] as const;

/** Shells count core sizes in this unit (POSIX `ulimit`). */
const CORE_BLOCK_BYTES = 512;
/** Variables that shells set by themselves. */
const SHELL_VARIABLES = ["PWD", "OLDPWD", "SHLVL", "_"];
/** CAP_SYS_RESOURCE of capabilities(7). */
const CAP_SYS_RESOURCE = 24n;

export interface ProcessPowers {
  readonly maxOpenFiles: number;
  readonly maxCoreBytes: number;
  readonly minOomScore: number;
}

/** What this process, or that of `pid`, may give to its children. */
export function processPowers(pid?: number): ProcessPowers {
  const who = pid ?? "self";
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readProc(`/proc/${who}/status`) ?? "")?.[1] ?? "0";
  const mayRaise = ((BigInt(`0x${mask}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
  const table = readProc(`/proc/${who}/limits`) ?? "";
  const most = Number(readProc("/proc/sys/fs/nr_open") ?? Number.POSITIVE_INFINITY);
  return {
    maxOpenFiles: mayRaise ? most : Math.min(most, hardLimit(table, "Max open files")),
    maxCoreBytes: mayRaise ? Number.POSITIVE_INFINITY : hardLimit(table, "Max core file size"),
    minOomScore: mayRaise ? -1_000 : Number(readProc(`/proc/${who}/oom_score_adj`) ?? 0),
  };
}

/** The hard limit of a row of /proc/PID/limits; Infinity for "unlimited" and for a row that is not there. */
export function hardLimit(table: string, row: string): number {
  const line = table.split("\n").find((each) => each.startsWith(row));
  const hard = Number(line?.slice(row.length).trim().split(/\s+/)[1] ?? Number.NaN);
  return Number.isFinite(hard) ? hard : Number.POSITIVE_INFINITY;
}

/**
 * What goes before a command so that it starts with its limits; empty when there is nothing to set. `procs` are the
 * `cgroup.procs` files to join. A step that fails ends the start with its code of `EXIT_BEFORE_EXEC`.
 */
export function limitPrefix(
  limits: EnforcedLimits,
  procs: readonly string[],
  env: Readonly<Record<string, string>>,
): readonly string[] {
  const { openFiles, coreBytes, oomScore } = limits;
  const steps = [
    ...procs.map(() => `echo $$ > "$1" || exit ${CGROUP}; shift`),
    ...(oomScore === undefined ? [] : [`echo ${oomScore} > /proc/self/oom_score_adj || exit ${OOM_ADJUST}`]),
    ...(coreBytes === undefined ? [] : [`ulimit -c ${coreBlocks(coreBytes)} || exit ${LIMITS}`]),
    ...(openFiles === undefined ? [] : [`ulimit -n ${openFiles} || exit ${LIMITS}`]),
  ];
  if (steps.length === 0) return [];
  const script = [...steps, forgetting(env), 'exec "$@"'].join("\n");
  return ["/bin/sh", "-c", script, "sh", ...procs];
}

/** What decides which code and data a program loads, whoever starts it: what ld.so(8) takes from no environment of a set-user-ID program. */
const LOADER_VARIABLES =
  /^(?:LD_\w*|GLIBC_TUNABLES|GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RES_OPTIONS|RESOLV_HOST_CONF)$/;
/** No variable of a config may have such a name. */
const LATE_PREFIX = "SUPERVISOR_LATE_";

/**
 * `env` for programs that still have our rights and are followed by `step`, which gives the variables of the loader back: an environment
 * file may be the bot's own, and a library that it names would run as root in setpriv(1). Mostly there are none, and no step.
 */
export function holdBack(env: Readonly<Record<string, string>>): {
  readonly env: Readonly<Record<string, string>>;
  readonly step: readonly string[];
} {
  const names = Object.keys(env).filter((name) => LOADER_VARIABLES.test(name));
  if (names.length === 0) return { env, step: [] };
  const entries = Object.entries(env).map(([name, value]) => [
    names.includes(name) ? `${LATE_PREFIX}${name}` : name,
    value,
  ]);
  const given = names.map((name) => `export ${name}="$${LATE_PREFIX}${name}"; unset ${LATE_PREFIX}${name}`);
  const script = [...given, forgetting(env), 'exec "$@"'].join("\n");
  return { env: Object.fromEntries(entries), step: ["/bin/sh", "-c", script, "sh"] };
}

/** What a shell has set by itself. */
function forgetting(env: Readonly<Record<string, string>>): string {
  return `unset ${SHELL_VARIABLES.filter((name) => env[name] === undefined).join(" ")}`;
}

function coreBlocks(bytes: number): string {
  return Number.isFinite(bytes) ? String(Math.floor(bytes / CORE_BLOCK_BYTES)) : "unlimited";
}
