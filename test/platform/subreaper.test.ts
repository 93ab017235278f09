/** Orphans are adopted and their zombies reaped, and the runtime's own children are not stolen from it. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { FIXTURES } from "./until.ts";

test("reapOrphans() reaps an adopted orphan and leaves the runtime's own children, registered or not, to it", async () => {
  const child = Bun.spawn({
    cmd: [process.execPath, join(FIXTURES, "reap-orphans.ts")],
    stdio: ["ignore", "pipe", "inherit"],
  });
  expect(JSON.parse(await child.stdout.text())).toEqual({
    subreaper: true,
    orphan: true,
    reaped: 1,
    orphanLeft: false,
    ownCode: 7,
    unregisteredCode: 8,
    children: 0,
  });
  expect(await child.exited).toBe(0);
});
