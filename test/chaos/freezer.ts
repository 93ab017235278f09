/** Processes that SIGKILL cannot end, as one that waits for a dead disk: a frozen cgroup v1 lets nobody die (freezer(7)). */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Freezer extends Disposable {
  /** Takes the process in and lets it neither run nor die. */
  readonly freeze: (pid: number) => void;
  /** The same of one thread, without which its process does not die either. */
  readonly freezeThread: (tid: number) => void;
  readonly thaw: () => void;
}

/** The mounted freezer hierarchy of cgroup v1; `undefined` where there is none that we may write. */
export const freezerMount: string | undefined = findMount();

export function makeFreezer(): Freezer {
  if (freezerMount === undefined) throw new Error("this machine has no cgroup v1 freezer");
  const folder = join(freezerMount, `sv-test-${crypto.randomUUID()}`);
  mkdirSync(folder);
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text, { flag: "r+" });
  return {
    freeze(pid) {
      write("cgroup.procs", String(pid));
      write("freezer.state", "FROZEN");
    },
    freezeThread(tid) {
      write("tasks", String(tid));
      write("freezer.state", "FROZEN");
    },
    thaw: () => write("freezer.state", "THAWED"),
    [Symbol.dispose]() {
      write("freezer.state", "THAWED");
      for (let tries = 0; tries < 200; tries += 1) {
        try {
          rmdirSync(folder);
          return;
        } catch {
          // Whoever was thawed is still dying.
          Bun.sleepSync(10);
        }
      }
    },
  };
}

function findMount(): string | undefined {
  const line = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .find((text) => / cgroup \S*\bfreezer\b/.test(text));
  const place = line?.split(" ")[1];
  if (place === undefined) return undefined;
  const probe = join(place, `sv-probe-${process.pid}`);
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return place;
  } catch {
    return undefined;
  }
}
