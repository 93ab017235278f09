/** What may be said of a worker's processes where not all can be seen of them. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { readStat } from "../../src/platform/proc.ts";
import { freezerMount, makeFreezer } from "../chaos/freezer.ts";
import { FIXTURES, until } from "./until.ts";

const FIXTURE = [process.execPath, join(FIXTURES, "watch-hang.ts")];
/** Root as a container has it: what a process of another user reads and writes is not shown to it (proc_pid_io(5)). */
const AS_IN_CONTAINER = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

test.runIf(freezerMount !== undefined && process.getuid?.() === 0).each([
  ["says who waits for a disk", [], "it waited for 1 s for a disk or a file system that does not answer"],
  [
    "does not say so of a process of which it cannot see whether it reads",
    AS_IN_CONTAINER,
    "what it waits for did nothing for 2 s",
  ],
])("watchHang() %s", async (_, prefix, why) => {
  using freezer = makeFreezer();
  // Frozen, it is in the state of one that waits for a disk.
  const waiting = Bun.spawn([...NOBODY, "sleep", "600"], { stdio: ["ignore", "ignore", "ignore"] });
  try {
    await until("it is another user's", () => readStat(waiting.pid)?.comm === "sleep");
    freezer.freeze(waiting.pid);
    const watching = Bun.spawn([...prefix, ...FIXTURE, String(waiting.pid)], { stdio: ["ignore", "pipe", "inherit"] });
    expect(await new Response(watching.stdout).text()).toBe(`the worker hung and was ended: ${why}`);
  } finally {
    freezer.thaw();
    waiting.kill("SIGKILL");
    await waiting.exited;
  }
});
