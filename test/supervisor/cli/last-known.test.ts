/** The snapshot of a daemon that is gone: read whole or not at all. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lastKnownStatus } from "../../../src/supervisor/cli/last-known.ts";

const stateDir = mkdtempSync(join(tmpdir(), "known-"));
afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

test.each(["", "null", "[]", '{"version":1}', '{"version":1,"supervisor":{},"bots":[null]}', "\0\0"])(
  "lastKnownStatus() knows nothing from %j",
  async (text) => {
    writeFileSync(join(stateDir, "status.json"), text);
    const dirs = { stateDir, runtimeDir: stateDir, logDir: stateDir };
    expect(await lastKnownStatus({ dirs })).toBeUndefined();
  },
);
