/** `supervisor dump` reads files alone: the list has a header as the others have, and a mistyped name is answered. */
import { expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/dump.ts";
import { VerbRig } from "./verb-rig.ts";

function rigWithDump(): VerbRig {
  const rig = new VerbRig();
  rig.write(".supervisor/dumps/dump-mine-20260131T120000Z-heartbeat-1a2b3c4d-0f9e8d.tar.zst", "12345");
  return rig;
}

test("dump list is a table with a header", async () => {
  await using rig = rigWithDump();
  expect((await rig.run(command, "list")).out).toBe(
    "DUMP    MADE                  BOT   REASON     KIND      SIZE\n0f9e8d  2026-01-31T12:00:00Z  mine  heartbeat  1a2b3c4d  5 B\n",
  );
});

test.each([
  ["mnie", "mine"],
  ["0f9e8e", "0f9e8d"],
])("dump show %s asks whether %s is meant", async (wrong, meant) => {
  await using rig = rigWithDump();
  await expect(rig.run(command, "show", wrong)).rejects.toThrow(`did you mean "${meant}"?`);
});
