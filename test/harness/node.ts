/** The Node.js programs that tests run, never the stand-in that `bun --bun` puts before them: the machine's own, and one of version 22 or later. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** The oldest version that the SDK promises to run under. */
const OLDEST = 22;

/** Whatever version the machine has. */
export const machineNode: string | undefined =
  Bun.which("node", {
    PATH: (process.env["PATH"] ?? "")
      .split(":")
      .filter((folder) => !folder.includes("bun-node"))
      .join(":"),
  }) ?? undefined;

/** Of version 22 or later: what `SDK_TEST_NODE` names, the machine's, or what `node scripts/setup.mjs node` has fetched. */
export const modernNode: string | undefined = [
  process.env["SDK_TEST_NODE"],
  machineNode,
  join(import.meta.dirname, "..", "..", "node_modules", ".node-22", "bin", "node"),
].find((program) => program !== undefined && versionOf(program) >= OLDEST);

function versionOf(program: string): number {
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return Number(/^v(\d+)/.exec(stdout ?? "")?.[1] ?? 0);
}
