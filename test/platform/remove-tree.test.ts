import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { removeTree, removeTreeBeside } from "../../src/platform/remove-tree.ts";

const root = mkdtempSync(join(tmpdir(), "remove-tree-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const LARGE = Buffer.alloc(40 * 1_024 ** 2, 7);

/** A folder with a large file in a folder. */
function tree(name: string): string {
  const folder = join(root, name);
  mkdirSync(join(folder, "below"), { recursive: true });
  writeFileSync(join(folder, "below", "large"), LARGE);
  return folder;
}

test("removeTree() removes folders, large files and small ones", () => {
  const folder = tree("all");
  writeFileSync(join(folder, "small"), "small");
  removeTree(folder);
  expect(existsSync(folder)).toBe(false);
});

test("removeTree() removes a file, and does nothing where there is none", () => {
  const file = join(root, "file");
  writeFileSync(file, LARGE);
  removeTree(file);
  removeTree(file);
  expect(existsSync(file)).toBe(false);
});

test("removeTree() leaves a file whole that has another name elsewhere", () => {
  const folder = tree("linked");
  const other = join(root, "other-name");
  linkSync(join(folder, "below", "large"), other);
  removeTree(folder);
  expect(existsSync(folder)).toBe(false);
  expect(readFileSync(other).equals(LARGE)).toBe(true);
});

test("removeTree() takes away a link to a folder, and nothing of that", () => {
  const elsewhere = tree("linked-to");
  const link = join(root, "link");
  symlinkSync(elsewhere, link);
  removeTree(link);
  expect(existsSync(link)).toBe(false);
  expect(statSync(join(elsewhere, "below", "large")).size).toBe(LARGE.length);
});

test("removeTree() follows no link to a file or a folder", () => {
  const [folder, elsewhere] = [tree("links"), tree("elsewhere")];
  symlinkSync(elsewhere, join(folder, "folder"));
  symlinkSync(join(elsewhere, "below", "large"), join(folder, "file"));
  removeTree(folder);
  expect(existsSync(folder)).toBe(false);
  expect(statSync(join(elsewhere, "below", "large")).size).toBe(LARGE.length);
});

test("removeTreeBeside() removes folders, large files and small ones, and lets the process do other things meanwhile", async () => {
  const folder = tree("beside");
  writeFileSync(join(folder, "small"), "small");
  const other = join(root, "beside-other-name");
  linkSync(join(folder, "small"), other);
  symlinkSync(tree("beside-linked-to"), join(folder, "link"));
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  await removeTreeBeside(folder);
  clearInterval(timer);
  expect(existsSync(folder)).toBe(false);
  expect(readFileSync(other, "utf8")).toBe("small");
  expect(statSync(join(root, "beside-linked-to", "below", "large")).size).toBe(LARGE.length);
  expect(turns).toBeGreaterThan(1);
  await removeTreeBeside(folder);
});
