/** Damaged files beside a state: kept for 90 days, and longer while they may be missed. */
import {
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openStore, type StateStore } from "../../../src/bot/index.ts";
import { giveToOwner, stateFiles } from "../../../src/bot/state/files.ts";
import { quarantinesOf } from "../../../src/bot/state/quarantine.ts";
import { examineState } from "../../../src/bot/state/inspect.ts";
import { makeFolder, position } from "./rig.ts";

let place: ReturnType<typeof makeFolder>;
beforeEach(() => {
  place = makeFolder();
});
afterEach(() => place.remove());

/** Enough that some go while they are looked at. */
const FOLDERS = 200;
const OLD = "2020-01-01T00-00-00-000Z-0123abcd-4567";

/** A state whose database was lost once, long ago and just now. */
async function recoveredState(notes: string[]): Promise<StateStore> {
  const { folder } = place;
  const first = await openStore({ folder });
  await first.putPosition(position(1));
  await first.close();
  const old = join(folder, "quarantine", OLD);
  mkdirSync(old, { recursive: true });
  writeFileSync(join(old, "state.db"), "damaged");
  writeFileSync(join(old, "report.json"), "{}");
  truncateSync(join(folder, "state.db"), 0);
  return openStore({ folder, onNote: (text) => notes.push(text) });
}

test("backup() removes damaged files of 90 days ago, tells and logs it, and keeps the newest", async () => {
  const notes: string[] = [];
  const store = await recoveredState(notes);
  await store.reconciled();
  await store.backup();
  await store.close();
  expect(notes).toEqual([expect.stringContaining(OLD)]);
  expect(await examineState(place.folder, Date.now())).toMatchObject({
    condition: "whole",
    quarantines: [{ recovered: true, bytes: expect.any(Number) }],
    removedQuarantines: 1,
  });
});

test("backup() keeps every damaged file until the state is reconciled", async () => {
  const notes: string[] = [];
  const store = await recoveredState(notes);
  await store.backup();
  await store.close();
  expect(notes).toEqual([]);
  expect(existsSync(join(place.folder, "quarantine", OLD, "state.db"))).toBe(true);
});

test("backup() finishes a removal that was cut short, which doctor does not take for a folder to recover from", async () => {
  const { folder } = place;
  const going = join(folder, "quarantine", `.going-${OLD}`);
  const store = await recoveredState([]);
  await store.reconciled();
  mkdirSync(going, { recursive: true });
  const seen = (await examineState(folder, Date.now())).quarantines.map((each) => each.folder);
  await store.backup();
  await store.close();
  expect(seen).not.toContain(going);
  expect(existsSync(going)).toBe(false);
});

test("quarantinesOf() leaves out what another process removes while it looks", async () => {
  const files = stateFiles(place.folder);
  for (let n = 0; n < FOLDERS; n += 1) mkdirSync(join(files.quarantine, `${OLD}-${n}`), { recursive: true });
  const script = 'for folder in "$0"/2020-*; do mv "$folder" "$0/.going-${folder##*/}"; done';
  const removing = Bun.spawn(["sh", "-c", script, files.quarantine], { stdio: ["ignore", "ignore", "inherit"] });
  let left = FOLDERS;
  for (let now = left; removing.exitCode === null; now = quarantinesOf(files).length) {
    expect(now).toBeLessThanOrEqual(left);
    left = now;
    // So that the end of the process is heard.
    await new Promise(setImmediate);
  }
  expect(removing.exitCode).toBe(0);
  expect(quarantinesOf(files)).toEqual([]);
});

test.runIf(process.getuid?.() === 0)("giveToOwner() refuses a link that stands where root has made a file", () => {
  const files = stateFiles(place.folder);
  const foreign = join(place.folder, "foreign");
  for (const path of [files.database, foreign]) writeFileSync(path, "");
  chownSync(files.database, 65_534, 65_534);
  symlinkSync(foreign, files.backup);
  expect(() => giveToOwner(files.backup, files)).toThrow("ELOOP");
  linkSync(foreign, files.second);
  expect(() => giveToOwner(files.second, files)).toThrow("no file of its own");
  expect(statSync(foreign).uid).toBe(0);
});
