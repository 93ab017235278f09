/** Before the systemd suite: the binary as for the chaos suite, and one line that says why tests are skipped where they are. */
import type { TestProject } from "vitest/node";
import { setup as provideBinary } from "../chaos/global-setup.ts";
import { unbootable } from "./bootable.ts";

export function setup(project: TestProject): () => void {
  if (unbootable === undefined) return provideBinary(project);
  process.stderr.write(`the unit is not tested under systemd: ${unbootable}\n`);
  return () => {};
}
