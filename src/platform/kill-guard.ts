/**
 * Ends a frozen cgroup when its supervisor dies before it has killed it: what is frozen for the kill must not stay so, for a frozen
 * bot neither trades nor protects, and nothing but a reboot would end it where no other supervisor comes.
 */
import { ownPids } from "./subreaper.ts";

/**
 * The end of its input is our death: a frozen process dies of `cgroup.kill` as any other (cgroups(7)); before Linux 5.14, which has
 * none, it is let go on, and the next supervisor ends it. The file is opened before, so that a late guard can only reach this
 * cgroup, and not one that was made anew under its name.
 */
const SCRIPT = `file=$1/cgroup.kill word=1
[ -e "$file" ] || file=$1/cgroup.freeze word=0
exec 3> "$file"; read -r line; echo $word >&3`;

export interface KillGuard {
  /** The kill is done. The guard goes before its input ends, so that it kills nothing of a later start. */
  readonly sendAway: () => void;
}

/** Starts the guard of a cgroup that is about to be frozen; `undefined` where it cannot be started. */
export function guardKill(cgroup: string): KillGuard | undefined {
  try {
    const guard = Bun.spawn({
      cmd: ["/bin/sh", "-c", SCRIPT, "sh", cgroup],
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
