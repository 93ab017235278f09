/** Before the systemd suite: the binary as for the chaos suite, and one line that says why tests are skipped where they are. */
import type { TestProject } from "vitest/node";
import { setup as provideBinary } from "../chaos/global-setup.ts";
import { unbootable, unbootableVm } from "./bootable.ts";

export function setup(project: TestProject): () => void {
  if (unbootable !== undefined) process.stderr.write(`the unit is not tested under systemd: ${unbootable}\n`);
  if (unbootableVm !== undefined)
    process.stderr.write(`cgroup v2 alone and a suspend are not tested: ${unbootableVm}\n`);
  if (unbootable !== undefined && unbootableVm !== undefined) return () => {};
  return provideBinary(project);
}
