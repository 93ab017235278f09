/** Another version of the supervisor to upgrade to, and what of a process an upgrade must leave as it is. */
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, inject } from "vitest";

const root = join(import.meta.dirname, "..", "..");
export const NEXT_VERSION = "99.0.0";

/** Has it built for the tests of one file, under a name of its own beside the binary that the suite drives, so that the suite removes it; its path. */
export function nextVersion(name: string): string {
  const path = `${inject("supervisorBinary")}-${name}`;
  beforeAll(() => {
    const { exitCode } = Bun.spawnSync([process.execPath, "scripts/build.ts", path], {
      cwd: root,
      env: { ...process.env, BUILD_VERSION: NEXT_VERSION },
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (exitCode !== 0) throw new Error(`cannot build ${path}: exit code ${exitCode}`);
  });
  return path;
}

/** Everything of a process that an upgrade must not change, and that of our descriptors it must not lose. */
export function lasting(pid: number): Record<string, string> {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const line = (name: string): string => new RegExp(`^${name}:.*$`, "m").exec(status)?.[0] ?? "";
  return {
    signals: `${line("SigBlk")} ${line("SigIgn")} ${line("SigCgt")} ${line("Umask")}`,
    limits: readFileSync(`/proc/${pid}/limits`, "utf8"),
    cwd: readlinkSync(`/proc/${pid}/cwd`),
    score: readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"),
    arguments: readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(1).join(" "),
  };
}
