/** The mark of a state folder: what is read of it, and which of a folder and its copies may be run on. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  judgeFolder,
  markText,
  MAX_FORMER,
  readMark,
  renewMark,
  type FolderMark,
  type FolderPlace,
  type Origin,
} from "../../src/core/folder-mark.ts";

const sample: FolderMark = { id: "one", path: "/a", device: 1, inode: 2, former: [] };

test("readMark() of markText() is the mark", () => {
  const moved = { ...sample, former: ["/b", "/c"] };
  expect(readMark(markText(moved))).toEqual({ kind: "known", mark: moved });
});

test("readMark() takes a mark of a release that kept no former places", () => {
  expect(readMark('{"version":1,"id":"one","path":"/a","device":1,"inode":2}')).toEqual({
    kind: "known",
    mark: sample,
  });
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
  [{ path: "/b", inode: 3 }, "stray", "copy"],
  [{ path: "/b", inode: 3 }, "unknown", "doubt"],
] as const)("judgeFolder() of %j whose original is %s: %s", (change, origin, kind) => {
  expect(judgeFolder(sample, { path: "/a", device: 1, inode: 2, ...change }, () => origin)).toMatchObject({ kind });
});

test.each([
  ["gone", "own"],
  ["itself", "own"],
  ["another", "own"],
  // A copy of this one, which is refused itself.
  ["stray", "own"],
  ["unknown", "own"],
  // The original of this one is back.
  ["twin", "copy"],
] as const)("judgeFolder() of a folder that is where it was, with %s at a former place: %s", (origin, kind) => {
  const verdict = judgeFolder({ ...sample, former: ["/b"] }, sample, () => origin);
  expect(verdict).toMatchObject({ kind });
});

test("judgeFolder() names the former place that the other one is at", () => {
  const origins: Readonly<Record<string, Origin>> = { "/b": "gone", "/c": "twin" };
  const verdict = judgeFolder({ ...sample, former: ["/b", "/c"] }, sample, (path) => origins[path] ?? "gone");
  expect(verdict).toEqual({ kind: "copy", of: "/c" });
});

test("renewMark() puts the place before in front of the former ones, and leaves out where it is now", () => {
  const here = { path: "/c", device: 1, inode: 3 };
  expect(renewMark({ ...sample, former: ["/b", "/c"] }, here)).toEqual({ id: "one", ...here, former: ["/a", "/b"] });
});

test("renewMark() keeps the newest places only", () => {
  const former = Array.from({ length: MAX_FORMER }, (_, i) => `/${i}`);
  const next = renewMark({ ...sample, former }, { path: "/here", device: 1, inode: 3 });
  expect(next.former).toEqual(["/a", ...former.slice(0, -1)]);
});

interface Folder {
  readonly inode: number;
  mark: FolderMark | undefined;
  runs: boolean;
  /** Where it, or what it was copied from, was run on: told by the model, not by the mark. */
  history: readonly string[];
}

/** Some paths, at each of which may be a folder on a disk of its own, which may be away. */
class Disks {
  readonly folders = new Map<string, Folder>([["/a", { inode: 1, mark: undefined, runs: false, history: [] }]]);
  readonly #away = new Set<string>();
  #inodes = 1;

  /** The folder at `path`, if there is one and its disk is there. */
  seen(path: string): Folder | undefined {
    return this.#away.has(path) ? undefined : this.folders.get(path);
  }

  /** Whether it is run on then. */
  start(path: string): boolean {
    const folder = this.seen(path);
    if (folder === undefined) return false;
    const here: FolderPlace = { path, device: 1, inode: folder.inode };
    const { mark: known } = folder;
    const verdict = known && judgeFolder(known, here, (other) => this.#at(other, folder, known));
    if (verdict?.kind === "copy" || verdict?.kind === "doubt") return false;
    if (known === undefined) folder.mark = { id: "one", ...here, former: [] };
    else if (verdict?.kind === "renew") folder.mark = renewMark(known, here);
    folder.runs = true;
    folder.history = [...folder.history, path];
    return true;
  }

  #at(path: string, of: Folder, mark: FolderMark): Origin {
    const there = this.seen(path);
    if (there === undefined) return "gone";
    if (there.inode === of.inode) return "itself";
    if (there.mark?.id !== mark.id) return "another";
    return there.mark.path === path ? "twin" : "stray";
  }

  /** Before its first start a folder has no mark, and its copy cannot be told from it. One that is run on stays. */
  put(from: string, to: string, what: "copy" | "move"): void {
    const folder = this.seen(from);
    if (folder?.mark === undefined || this.folders.has(to) || this.#away.has(to)) return;
    if (what === "move" && folder.runs) return;
    this.#inodes += 1;
    this.folders.set(to, { ...folder, inode: what === "move" ? folder.inode : this.#inodes, runs: false });
    if (what === "move") this.folders.delete(from);
  }

  stop(path: string): void {
    const folder = this.folders.get(path);
    if (folder !== undefined) folder.runs = false;
  }

  /** The disk of the path goes away, or comes back. Not one that is in use. */
  turn(path: string): void {
    if (this.folders.get(path)?.runs === true) return;
    if (!this.#away.delete(path)) this.#away.add(path);
  }
}

const PATHS = ["/a", "/b", "/c"] as const;
const onePath = fc.constantFrom(...PATHS);
type What = "start" | "stop" | "copy" | "move" | "turn";
const script = (...what: What[]) =>
  fc.array(fc.record({ what: fc.constantFrom(...what), from: onePath, to: onePath }), { maxLength: 60, size: "max" });

interface Op {
  readonly what: What;
  readonly from: string;
  readonly to: string;
}

function play(disks: Disks, { what, from, to }: Op): boolean {
  if (what === "start") return disks.start(from);
  if (what === "stop") disks.stop(from);
  else if (what === "turn") disks.turn(from);
  else disks.put(from, to, what);
  return false;
}

/** Plays scripts; `look` looks at the disks before each step, and then says what is wrong with its outcome. */
function always(what: readonly What[], look: (disks: Disks, op: Op) => (started: boolean) => string | undefined) {
  const property = fc.property(script(...what), (ops) => {
    const disks = new Disks();
    // Before that it has no mark. A folder that is moved after it was copied, and before either is started, is not told from the copy.
    disks.start("/a");
    for (const op of ops) {
      const judge = look(disks, op);
      const fault = judge(play(disks, op));
      if (fault !== undefined) throw new Error(fault);
    }
  });
  return () => fc.assert(property, { numRuns: 2_000 });
}

test("judgeFolder() lets at most one of a folder and its copies run, in whatever order they are copied, moved and started", () => {
  const run = always(["start", "start", "copy", "move"], ({ folders }) => () => {
    const running = [...folders.values()].filter(({ runs }) => runs).length;
    return running > 1 ? `${running} run` : undefined;
  });
  expect(run).not.toThrow();
});

test("judgeFolder() lets no folder start while one that was run on last where this one came from is there, whatever disks were away", () => {
  const run = always(["start", "start", "stop", "copy", "move", "turn"], (disks, { from }) => {
    const rival = (disks.seen(from)?.history ?? []).find(
      (path) => path !== from && disks.seen(path)?.history.at(-1) === path,
    );
    return (started) => (started && rival !== undefined ? `starts beside ${rival}` : undefined);
  });
  expect(run).not.toThrow();
});

test("judgeFolder() never refuses a folder that has no copy, wherever it is moved and whatever disks come and go", () => {
  const run = always(["start", "stop", "move", "turn"], (disks, { what, from }) => {
    const isThere = disks.seen(from) !== undefined;
    return (started) => (what === "start" && isThere && !started ? `refuses ${from}` : undefined);
  });
  expect(run).not.toThrow();
});

test("judgeFolder() never refuses a folder for the copies of it, while it stays where it was first run on", () => {
  const run = always(["start", "stop", "copy", "turn"], (disks, { what, from }) => {
    const isThere = from === "/a" && disks.seen(from) !== undefined;
    return (started) => (what === "start" && isThere && !started ? "refuses the original" : undefined);
  });
  expect(run).not.toThrow();
});
