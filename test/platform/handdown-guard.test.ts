/** The guard on plain files in place of a cgroup's: what it writes when the process that it guards for is killed. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { children, isLive } from "../../src/platform/proc.ts";
import { until } from "./until.ts";

const FIXTURE = join(import.meta.dirname, "..", "fixtures", "guard-handdown.ts");

test("guardHandDown() takes controllers back from the bots' cgroups and the base when its starter is killed, then ends", async () => {
  const base = mkdtempSync(join(tmpdir(), "guard-"));
  try {
    mkdirSync(join(base, "bot-a"));
    const files = [join(base, "bot-a", "cgroup.subtree_control"), join(base, "cgroup.subtree_control")];
    for (const file of files) writeFileSync(file, "+memory\n");
    const child = Bun.spawn([process.execPath, FIXTURE, base], { stdio: ["ignore", "pipe", "ignore"] });
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("guarded\n");
    const [guard = 0] = children(child.pid);
    expect(isLive(guard)).toBe(true);
    expect(files.map((file) => readFileSync(file, "utf8"))).toEqual(["+memory\n", "+memory\n"]);
    child.kill("SIGKILL");
    await child.exited;
    // The last of three writes; a cgroup takes each by itself.
    await until("the base", () => files.every((file) => readFileSync(file, "utf8") === "-pids\n"));
    await until("the guard's end", () => !isLive(guard));
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});
