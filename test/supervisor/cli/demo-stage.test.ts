/** What ends the stage of a demo that was killed: nothing but what is the demo's own. */
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LEASH } from "../../../src/supervisor/cli/demo-stage.ts";

test("LEASH ends nobody who has the pid of a daemon or an exchange that is long dead", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sv-"));
  const stranger = Bun.spawn(["sleep", "60"], { cwd: "/" });
  const own = Bun.spawn(["sleep", "60"], { cwd: folder });
  const pids = [stranger.pid, own.pid].map(String);
  const leash = Bun.spawn(["/bin/sh", "-c", LEASH, "sh", folder, ...pids, "true"], { stdin: "ignore", stderr: "pipe" });
  try {
    await leash.exited;
    await own.exited;
    expect(existsSync(folder)).toBe(false);
    expect([stranger.signalCode, own.signalCode]).toEqual([null, "SIGTERM"]);
  } finally {
    stranger.kill();
    own.kill();
    await stranger.exited;
  }
});
