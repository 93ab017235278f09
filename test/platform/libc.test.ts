/** The C library is there, and its absence is a named, degraded mode. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRNO, libc, libcError } from "../../src/platform/libc.ts";
import { FIXTURES } from "./until.ts";

test("libc() is opened once and tells the error number of a failed call", () => {
  const c = libc();
  expect([libcError(), libc() === c]).toEqual([undefined, true]);
  expect([c?.pidfdOpen(4_194_303), c?.errno()]).toEqual([-1, ERRNO.ESRCH]);
});

test("without the JIT the lock holds, trees are killed, and the rest says what it lacks", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ffi-"));
  try {
    const child = Bun.spawn({
      cmd: [process.execPath, join(FIXTURES, "without-ffi.ts"), folder],
      env: { PATH: "/usr/bin:/bin", BUN_JSC_useJIT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const result: unknown = JSON.parse(await child.stdout.text());
    expect(result).toMatchObject({
      libc: false,
      error: expect.stringContaining("bun:ffi"),
      locks: [true, false, true],
      subreaper: false,
      reaped: 0,
      survivors: 0,
      childLives: false,
      socketError: expect.stringMatching(/^cannot open notify socket .*bun:ffi/),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
