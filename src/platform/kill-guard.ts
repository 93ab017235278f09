/**
 * Ends a frozen cgroup when its supervisor dies before it has killed it: what is frozen for the kill must not stay so, for a frozen
 * bot neither trades nor protects, and nothing but a reboot would end it where no other supervisor comes.
 */
import { join } from "node:path";
import { ownPids } from "./subreaper.ts";

/**
 * The end of its input is our death: a frozen process dies of `cgroup.kill` as any other (cgroups(7)). The file is opened before, so that
 * a late guard can only kill this cgroup, and not one that was made anew under its name.
 */
const SCRIPT = `exec 3> "$1"; read -r line; echo 1 >&3`;

export interface KillGuard {
  /** The kill is done. The guard goes before its input ends, so that it kills nothing of a later start. */
  readonly sendAway: () => void;
}

/** Starts the guard of a cgroup that is about to be frozen; `undefined` where it cannot be started. */
export function guardKill(cgroup: string): KillGuard | undefined {
  try {
    const guard = Bun.spawn({
      cmd: ["/bin/sh", "-c", SCRIPT, "sh", join(cgroup, "cgroup.kill")],
      cwd: "/",
      env: {},
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      onExit: (ended) => void ownPids.delete(ended.pid),
    });
    ownPids.add(guard.pid);
    guard.unref();
    return { sendAway: () => guard.kill("SIGKILL") };
  } catch {
    // The next supervisor kills what it finds.
    return undefined;
  }
}
