/** Controllers are taken back from the leaves up; on plain files, as few machines let a test hand real ones down. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { releaseControllers, unitCgroup } from "../../src/platform/release-controllers.ts";

test("releaseControllers() takes back what each folder hands down and leaves the others alone", () => {
  const root = mkdtempSync(join(tmpdir(), "sv-release-"));
  const control = (folder: string): string => join(root, folder, "cgroup.subtree_control");
  for (const [folder, text] of Object.entries({ ".": "cpu memory\n", bot: "memory\n", "bot/start": "\n" })) {
    mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(control(folder), text);
  }
  expect(releaseControllers(root)).toEqual([]);
  expect([".", "bot", "bot/start"].map((folder) => readFileSync(control(folder), "utf8").trim())).toEqual([
    "-cpu -memory",
    "-memory",
    "",
  ]);
  rmSync(root, { recursive: true });
});

test("releaseControllers() has nothing to do where no cgroup is", () => {
  expect(releaseControllers("/nonexistent/cgroup")).toEqual([]);
});

test("unitCgroup() is undefined outside a command of a unit", () => {
  expect(unitCgroup()).toBeUndefined();
});
