/** What a supervisor tells of the one before it. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Presence } from "../../../src/supervisor/runtime/presence.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const root = mkdtempSync(join(tmpdir(), "presence-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function rig() {
  const folder = mkdtempSync(join(root, "state-"));
  const clock = new FakeClock();
  const at = { foreign: false };
  const make = (): Presence => new Presence(folder, clock, () => at.foreign);
  return { file: join(folder, "running.json"), clock, at, make };
}

test("Presence.begin() tells the death of the supervisor before, between its last sign of life and now", () => {
  const { make, clock } = rig();
  const before = make();
  expect(before.begin()).toBeUndefined();
  clock.advance(10_000);
  before.sign();
  clock.advance(65_000);
  expect(make().begin()).toBe(
    `the supervisor before, pid ${process.pid}, ended without a word between 2026-01-01T00:00:10.000Z and 2026-01-01T00:01:15.000Z: it was killed or has crashed; look for the kernel's OOM killer (journalctl -k, dmesg)`,
  );
});

test("Presence.begin() tells nothing of a supervisor that has ended by itself", () => {
  const { make, file } = rig();
  const before = make();
  before.begin();
  before.end();
  expect([existsSync(file), make().begin()]).toEqual([false, undefined]);
});

test("Presence.begin() tells that the machine was restarted under the supervisor before", () => {
  const { make, file } = rig();
  writeFileSync(file, JSON.stringify({ version: 1, pid: 7, bootId: "another" }));
  expect(make().begin()).toMatch(
    /^the machine was restarted between .*, and the supervisor before, pid 7, had no time to end$/,
  );
});

test("Presence.begin() tells nothing by a file that is damaged, and replaces it", () => {
  const { make, file } = rig();
  writeFileSync(file, "{");
  expect(make().begin()).toBeUndefined();
  expect(make().begin()).toContain("ended without a word");
});

test("Presence touches nothing in the folder of another supervisor, and is in one that is new", () => {
  const { make, file, at } = rig();
  const presence = make();
  presence.sign();
  expect(existsSync(file)).toBe(true);
  at.foreign = true;
  presence.end();
  expect(existsSync(file)).toBe(true);
});
