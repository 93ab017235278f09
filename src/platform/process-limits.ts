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
  const foreign = SHELL_VARIABLES.filter((name) => env[name] === undefined);
  const script = [...steps, `unset ${foreign.join(" ")}`, 'exec "$@"'].join("\n");
  return ["/bin/sh", "-c", script, "sh", ...procs];
}

function coreBlocks(bytes: number): string {
  return Number.isFinite(bytes) ? String(Math.floor(bytes / CORE_BLOCK_BYTES)) : "unlimited";
}
