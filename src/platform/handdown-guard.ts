/**
 * Takes the controllers back when the supervisor dies. A cgroup that hands controllers down takes no process itself, so
 * systemd could not start the unit again beside bots that live on (219/CGROUP), before it knew DelegateSubgroup= (254).
 */
import { CONTROLLERS } from "../core/limits.ts";
import { ownPids } from "./subreaper.ts";

/**
 * Waits until nobody holds the other end of its input, which is the supervisor's death or its exec of another program: in
 * that case it still lives, and the new program has a guard of its own. The pause lets a dying process become a zombie.
 */
const SCRIPT = `read -r line
sleep 0.05
case "$(grep -s ^State: "/proc/$1/status")" in "" | *Z* | *X*) ;; *) exit 0 ;; esac
for folder in "$2"/bot-*/ "$2"/; do
  for controller in ${CONTROLLERS.join(" ")}; do echo "-$controller" > "$folder/cgroup.subtree_control"; done
done`;

/** Starts the guard of the cgroup `base`, once; it ends soon after this process. Says why it cannot. */
export function guardHandDown(base: string): string | undefined {
  try {
    const guard = Bun.spawn({
      cmd: ["/bin/sh", "-c", SCRIPT, "sh", String(process.pid), base],
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
      onExit: (ended) => void ownPids.delete(ended.pid),
    });
    ownPids.add(guard.pid);
    guard.unref();
    // Held for ever: a collected sink would close the pipe, which is the signal.
    held.push(guard.stdin);
    return undefined;
  } catch (cause) {
    return `cannot start the guard of ${base}: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}

/** At most one for each hierarchy that controllers are handed down in, which is one. */
const held: unknown[] = [];
