/** The mark of a state folder: what is read of it, and which of a folder and its copies may be run on. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeFolder, markText, readMark, type FolderMark, type FolderPlace } from "../../src/core/folder-mark.ts";

const mark: FolderMark = { id: "one", path: "/a", device: 1, inode: 2 };

test("readMark() of markText() is the mark", () => {
  expect(readMark(markText(mark))).toEqual({ kind: "known", mark });
});

test.each([
  [undefined, "absent"],
  ["", "damaged"],
  ["null", "damaged"],
  ['{"some":["other","file"]}', "damaged"],
  ['{"version":1,"id":"one","path":"/a","device":1}', "damaged"],
  ['{"version":2}', "newer"],
])("readMark() of %j is %s", (text, kind) => {
  expect(readMark(text).kind).toBe(kind);
});

test.each([
  [{}, "itself", "own"],
  // Restored or copied to where it was: the original can be nowhere else.
  [{ inode: 3 }, "itself", "renew"],
  [{ path: "/b" }, "itself", "renew"],
  [{ path: "/b" }, "gone", "renew"],
  [{ path: "/b", inode: 3 }, "gone", "renew"],
  [{ path: "/b", inode: 3 }, "another", "renew"],
  [{ path: "/b", inode: 3 }, "twin", "copy"],
  [{ path: "/b", inode: 3 }, "unknown", "doubt"],
] as const)("judgeFolder() of %j whose original is %s: %s", (change, origin, verdict) => {
  expect(judgeFolder(mark, { path: "/a", device: 1, inode: 2, ...change }, origin)).toBe(verdict);
});

test("judgeFolder() lets at most one of a folder and its copies run, in whatever order they are copied, moved and started", () => {
  const paths = ["/a", "/b", "/c"];
  const op = fc.record({ op: fc.constantFrom("copy", "start", "start", "move"), i: fc.nat(2), j: fc.nat(2) });
  const property = fc.property(fc.array(op, { maxLength: 30 }), (ops) => {
    const disk = new Map<string, { inode: number; mark: FolderMark | undefined; runs: boolean }>();
    let inodes = 1;
    disk.set("/a", { inode: 1, mark: undefined, runs: false });
    for (const { op: what, i, j } of ops) {
      const [from = "", to = ""] = [paths[i], paths[j]];
      const folder = disk.get(from);
      if (folder === undefined) continue;
      if (what === "start") {
        const here: FolderPlace = { path: from, device: 1, inode: folder.inode };
        const there = folder.mark && disk.get(folder.mark.path);
        const origin = there === undefined ? "gone" : there.mark?.id === folder.mark?.id ? "twin" : "another";
        const verdict = folder.mark === undefined ? "renew" : judgeFolder(folder.mark, here, origin);
        folder.runs ||= verdict === "own" || verdict === "renew";
        if (verdict === "renew") folder.mark = { id: folder.mark?.id ?? "one", ...here };
      } else if (!disk.has(to)) {
        // Before its first start a folder has no mark, and its copy cannot be told from it. One that is run on stays.
        if (folder.mark === undefined || (what === "move" && folder.runs)) continue;
        inodes += 1;
        disk.set(to, { ...folder, inode: what === "move" ? folder.inode : inodes, runs: false });
        if (what === "move") disk.delete(from);
      }
      expect([...disk.values()].filter(({ runs }) => runs).length).toBeLessThan(2);
    }
  });
  fc.assert(property);
});
