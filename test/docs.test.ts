/** The generated files are current: what is on disk is what the code says. */
import { expect, test } from "vitest";
import { generatedFiles, staleFiles } from "../scripts/generate.ts";
import { lifecycleMarkdown } from "../src/report/lifecycle-table.ts";

test("generatedFiles() are on disk as the code says; if not: bun run generate", async () => {
  expect(await staleFiles(await generatedFiles())).toEqual([]);
});

test("staleFiles() names a file that differs and one that does not exist", async () => {
  const files = [
    { path: "docs/lifecycle.md", text: "something else" },
    { path: "docs/no-such-page.md", text: "" },
  ];
  expect(await staleFiles(files)).toEqual(["docs/lifecycle.md", "docs/no-such-page.md"]);
});

test("lifecycleMarkdown() has a row for each event and a word or a dash in each of its cells", () => {
  const rows = lifecycleMarkdown()
    .split("## What happens in each state")[1]
    ?.split("## Timers")[0]
    ?.split("\n")
    .filter((line) => line.startsWith("| `"));
  expect(rows).toHaveLength(25);
  for (const row of rows ?? []) {
    const cells = row.split(" | ");
    expect(cells).toHaveLength(10);
    expect(cells.every((cell) => cell.trim() !== "")).toBe(true);
  }
});
