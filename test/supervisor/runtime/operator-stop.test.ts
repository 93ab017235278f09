/** A person's stop outlives the supervisor that was told it, on the same boot, and nothing else. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { NO_PROCESS } from "../../../src/core/identity.ts";
import { bootId } from "../../../src/platform/proc.ts";
import { OperatorStop } from "../../../src/supervisor/runtime/operator-stop.ts";
import { FakeClock } from "../../harness/fake-clock.ts";

const root = mkdtempSync(join(tmpdir(), "stop-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const boot = bootId() ?? "";
const last = { generation: 3, bootId: boot };

function rig(folder = mkdtempSync(join(root, "bot-"))) {
  const said: string[] = [];
  const at = { foreign: false };
  const make = (): OperatorStop =>
    new OperatorStop({ folder, clock: new FakeClock(), foreign: () => at.foreign, alert: (text) => said.push(text) });
  return { folder, file: join(folder, "stopped.json"), said, at, make };
}

test("OperatorStop.find() finds what a supervisor that died was told, and since when", () => {
  const { make, said } = rig();
  make().note(3);
  const next = make();
  next.find(last);
  expect([next.holds, next.foundText]).toEqual([true, expect.stringMatching(/^stopped by the operator at \d{4}-.*Z$/)]);
  expect(said).toEqual([]);
});

test.each([
  ["of another boot", { bootId: "another" }],
  ["before the last start", { generation: 2 }],
])("OperatorStop.find() does not count a stop %s, and takes it away", (_, change) => {
  const { make, file } = rig();
  writeFileSync(
    file,
    JSON.stringify({ version: 1, bootId: boot, generation: 3, at: "2026-01-01T00:00:00Z", ...change }),
  );
  const next = make();
  next.find(last);
  expect([next.holds, existsSync(file)]).toEqual([false, false]);
});

test("OperatorStop.forget() takes it away, and a later stop is another one", () => {
  const { make, file } = rig();
  const stop = make();
  stop.note(3);
  stop.forget();
  expect([stop.holds, existsSync(file)]).toEqual([false, false]);
  stop.note(4);
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ generation: 4 });
});

test.each([
  ["a damaged file keeps the bot down", boot, true],
  ["a damaged file of a bot that was last started before this boot does not", "another", false],
])("OperatorStop.find(): %s, is set aside and said", (_, started, holds) => {
  const { make, file, folder, said } = rig();
  writeFileSync(file, "{");
  const next = make();
  next.find({ generation: 3, bootId: started });
  expect([next.holds, existsSync(file)]).toEqual([holds, holds]);
  expect(readdirSync(folder).some((name) => name.startsWith("stopped.json.damaged-"))).toBe(true);
  expect(said).toEqual([expect.stringContaining(holds ? "which stays down" : "does not count")]);
});

test.each([
  ["now", new Date(), true],
  ["before this boot", new Date(0), false],
])("OperatorStop.find() judges a damaged file of %s by its time where the last start names no boot", (_, at, holds) => {
  const { make, file } = rig();
  writeFileSync(file, "{");
  utimesSync(file, at, at);
  const next = make();
  next.find({ generation: 3, bootId: NO_PROCESS.bootId });
  expect(next.holds).toBe(holds);
});

test("OperatorStop.find() still owes the disk what a damaged file stood for, when that did not take it", () => {
  const { make, file, at } = rig();
  writeFileSync(file, "{");
  at.foreign = true;
  const next = make();
  next.find(last);
  expect([next.holds, existsSync(file)]).toEqual([true, false]);
  at.foreign = false;
  next.settle();
  expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ generation: 3 });
});

test("OperatorStop.find() keeps the bot down for a file of a newer release, and leaves it", () => {
  const { make, file } = rig();
  writeFileSync(file, '{"version":2}');
  const next = make();
  next.find(last);
  expect([next.holds, readFileSync(file, "utf8")]).toEqual([true, '{"version":2}']);
});

test("OperatorStop.note() says once that the disk does not take it, and brings it there later", () => {
  const { make, file, folder, said } = rig();
  rmSync(folder, { recursive: true });
  const stop = make();
  stop.note(3);
  stop.settle();
  expect(stop.holds).toBe(true);
  expect(said).toEqual([expect.stringContaining("the next one starts it again: cannot write")]);
  mkdirSync(folder);
  stop.settle();
  expect(existsSync(file)).toBe(true);
});

test("OperatorStop writes and removes nothing in the folder of another supervisor", () => {
  const { make, file, at } = rig();
  at.foreign = true;
  const stop = make();
  stop.note(3);
  expect(existsSync(file)).toBe(false);
  writeFileSync(file, "theirs");
  stop.forget();
  expect(readFileSync(file, "utf8")).toBe("theirs");
});
