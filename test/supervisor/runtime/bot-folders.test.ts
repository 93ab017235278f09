/** The folders of bots that are made together: what is asked once for all, and what waits until they are started. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { BotFolders } from "../../../src/supervisor/runtime/bot-folders.ts";
import { filesOf } from "../../../src/supervisor/runtime/bot-plan.ts";
import { prepareFolders, prepareRest, prepareStart } from "../../../src/supervisor/runtime/bot-setup.ts";
import { makeRoomForBot } from "../../../src/supervisor/runtime/quarantine.ts";
import { SharedFolders } from "../../../src/supervisor/runtime/shared-folders.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

function rig() {
  const folder = mkdtempSync(join(tmpdir(), "bot-folders-"));
  const dirs = { stateDir: folder, runtimeDir: join(folder, "run"), logDir: join(folder, "log") };
  return {
    filesOf: (name: string) => filesOf(name, name, dirs),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

test("prepareStart() makes what a start needs, and says of which bot the folder is new", () => {
  using made = rig();
  const files = made.filesOf("grid");
  expect(prepareStart(files, undefined, new SharedFolders())).toBe(true);
  expect(readdirSync(files.dir).toSorted()).toEqual(["blackbox", "state"]);
  for (const path of [files.socket, files.log, files.accountLock]) expect(existsSync(dirname(path))).toBe(true);
  expect(prepareStart(files, undefined, new SharedFolders())).toBe(false);
});

test("prepareRest() makes what is left, so that nothing of prepareFolders() is missing", () => {
  using made = rig();
  const [grid, arb] = [made.filesOf("grid"), made.filesOf("arb")];
  prepareStart(grid, undefined, new SharedFolders());
  prepareRest(grid);
  prepareFolders(arb, undefined);
  expect(readdirSync(grid.dir).toSorted()).toEqual(readdirSync(arb.dir).toSorted());
});

test("makeRoomForBot() finds what is in the way of the second of several bots", () => {
  using made = rig();
  const [grid, arb] = [made.filesOf("grid"), made.filesOf("arb")];
  mkdirSync(dirname(arb.socket), { recursive: true });
  writeFileSync(arb.socket, "no socket");
  mkdirSync(arb.level);
  const shared = new SharedFolders();
  expect(makeRoomForBot(grid, undefined, shared)).toEqual([]);
  prepareStart(grid, undefined, shared);
  const moves = makeRoomForBot(arb, undefined, shared);
  expect(moves).toEqual([
    expect.stringContaining(`${arb.level} is now`),
    expect.stringContaining(`${arb.socket} is now`),
  ]);
});

test("SharedFolders.lacks() is sure of a folder that is absent, and not of what is no folder", () => {
  using made = rig();
  const { socket, log } = made.filesOf("grid");
  writeFileSync(dirname(log), "a file");
  const shared = new SharedFolders();
  expect(shared.lacks(socket)).toBe(true);
  expect(shared.lacks(log)).toBe(false);
});

test("BotFolders makes the rest once all bots of the turn are on their way, and tries again where it could not", () => {
  using made = rig();
  const files = made.filesOf("grid");
  const clock = new FakeClock();
  const facts: string[] = [];
  const folders = new BotFolders({
    files,
    user: undefined,
    identity: undefined,
    clock,
    fact: (_, text) => facts.push(text),
  });
  expect(existsSync(files.incidents)).toBe(false);
  writeFileSync(files.incidents, "in the way");
  clock.advance(0);
  expect(facts).toEqual([expect.stringContaining(`cannot make folder ${files.incidents}`)]);
  rmSync(files.incidents);
  folders.complete();
  expect(existsSync(files.incidents)).toBe(true);
  expect(facts).toHaveLength(1);
});
