import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FolderWatch } from "../../../src/supervisor/runtime/folder-watch.ts";

function full(): never {
  throw new Error("no space left on device");
}

/** A watch over two bots; `renewSigns` is the first one's. */
function rig(renewSigns: () => void = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), "sv-folder-"));
  const at = (name: string): string => join(folder, name);
  const said: string[] = [];
  const done: string[] = [];
  const bot = (name: string, signs: () => void) => ({
    renewSigns() {
      signs();
      done.push(`signs of ${name}`);
    },
    emergency: { lockout: { renew: () => void done.push(`lockout of ${name}`) } },
  });
  const bots = [bot("one", renewSigns), bot("two", () => {})];
  const watch = new FolderWatch({
    dirs: { stateDir: at("state"), runtimeDir: at("state/run"), logDir: at("logs/log") },
    inherited: undefined,
    journal: () => ({ close: () => {} }),
    bots: () => bots,
    say: (_level, text) => void said.push(text),
  });
  return {
    at,
    said,
    done,
    watch,
    [Symbol.dispose]() {
      watch.release();
      rmSync(folder, { recursive: true });
    },
  };
}

const LOCKOUTS = ["lockout of one", "lockout of two"];

test("FolderWatch keeps each bot's lockout in the folder that it begins, also where the signs of one cannot be given there", () => {
  let room = false;
  using made = rig(() => void (room || full()));
  const { at, said, done, watch } = made;
  expect(watch.look()).toBe(false);
  renameSync(at("state"), at("moved"));
  expect(watch.look()).toBe(true);
  expect(done).toEqual([...LOCKOUTS, "signs of two"]);
  expect(watch.look()).toBe(false);
  expect(said.filter((text) => text.includes("no space left on device"))).toHaveLength(1);
  room = true;
  watch.look();
  watch.look();
  expect(done).toEqual([...LOCKOUTS, "signs of two", "signs of one"]);
});

test("FolderWatch keeps each lockout and gives all signs beside a log folder that cannot be made, and makes that later", () => {
  using made = rig();
  const { at, said, done, watch } = made;
  renameSync(at("state"), at("moved"));
  rmSync(at("logs"), { recursive: true });
  writeFileSync(at("logs"), "");
  expect(watch.look()).toBe(true);
  expect(watch.look()).toBe(false);
  expect(done).toEqual([...LOCKOUTS, "signs of one", "signs of two"]);
  expect(said.filter((text) => text.includes(`cannot make folder ${at("logs/log")}`))).toHaveLength(1);
  rmSync(at("logs"));
  watch.look();
  expect(existsSync(at("logs/log"))).toBe(true);
  expect(said.at(-1)).toContain("lacks nothing any more");
});

test("FolderWatch keeps each lockout in a folder that is not to be marked, and marks it once it may", () => {
  using made = rig();
  const { at, said, done, watch } = made;
  const mark = at("state/installation.json");
  renameSync(at("state"), at("moved"));
  mkdirSync(at("state"));
  writeFileSync(mark, JSON.stringify({ version: 99 }));
  watch.look();
  watch.look();
  expect(done).toEqual([...LOCKOUTS, "signs of one", "signs of two"]);
  expect(said.filter((text) => text.includes("which a newer release wrote"))).toHaveLength(1);
  rmSync(mark);
  watch.look();
  expect(readFileSync(mark, "utf8")).toContain(at("state"));
});

test("FolderWatch gives a folder that is back all that it needs, whatever the one before it lacked", () => {
  using made = rig();
  const { at, done, watch } = made;
  renameSync(at("state"), at("moved"));
  rmSync(at("logs"), { recursive: true });
  writeFileSync(at("logs"), "");
  watch.look();
  renameSync(at("state"), at("second"));
  renameSync(at("moved"), at("state"));
  done.length = 0;
  expect(watch.look()).toBe(true);
  expect(done).toEqual([...LOCKOUTS, "signs of one", "signs of two"]);
});

test("FolderWatch locks a folder anew whose lock file alone was removed, and does not take it for moved", () => {
  using made = rig();
  const { at, said, done, watch } = made;
  rmSync(at("state/supervisor.lock"));
  expect(watch.look()).toBe(true);
  expect(said).toEqual([
    `somebody removed ${at("state/supervisor.lock")}; the supervisor has locked ${at("state")} anew, and nothing else is missing`,
  ]);
  expect(watch.trouble).toBeNull();
  expect(done).toEqual(LOCKOUTS);
  expect(watch.look()).toBe(false);
  expect(existsSync(at("state/supervisor.lock"))).toBe(true);
});

test("FolderWatch says of a folder that was emptied what was done, and gives it all that a new one needs", () => {
  using made = rig();
  const { at, said, done, watch } = made;
  for (const name of readdirSync(at("state"))) rmSync(at(`state/${name}`), { recursive: true });
  expect(watch.look()).toBe(true);
  expect(said[0]).toContain(`what is in the state folder ${at("state")} was removed from under the supervisor`);
  expect(done).toEqual([...LOCKOUTS, "signs of one", "signs of two"]);
  expect(existsSync(at("state/installation.json"))).toBe(true);
});
