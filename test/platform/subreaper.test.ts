/** Orphans are adopted and their zombies reaped, and the runtime's own children are not stolen from it. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { freezerMount } from "../chaos/freezer.ts";
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

test.runIf(freezerMount !== undefined)(
  "ownUntilGone() keeps what a killed worker has left from passing for a bot's, until it is gone, also when it was handed over",
  async () => {
    const child = Bun.spawn({
      cmd: [process.execPath, join(FIXTURES, "leave-undying.ts")],
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(JSON.parse(await child.stdout.text())).toEqual({ own: true, carried: [1, 1, 0], left: false });
    expect(await child.exited).toBe(0);
  },
);
