/** Moving a tree between cgroups, as far as a folder of plain files can show it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { moveInto } from "../../src/platform/cgroup-move.ts";

const folder = mkdtempSync(join(tmpdir(), "move-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("moveInto() never writes 0, which the kernel takes for the one who writes", () => {
  const file = join(folder, "cgroup.procs");
  writeFileSync(file, "7\n");
  expect(moveInto(folder, () => [0, 7])).toBeUndefined();
  expect(readFileSync(file, "utf8")).toBe("7\n");
});
