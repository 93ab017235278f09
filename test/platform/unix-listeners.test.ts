import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { quickIo } from "../../src/platform/quick-io.ts";
import { listenerAt } from "../../src/platform/unix-listeners.ts";

const folder = mkdtempSync(join(tmpdir(), "listeners-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** More than a backlog takes (net.core.somaxconn). */
const MAX_WAITING = 20_000;

test("listenerAt() hears of one that listens, also where no other connection may wait for it", async () => {
  const path = join(folder, "busy");
  const server = Bun.serve({ unix: path, fetch: () => new Response() });
  const io = quickIo();
  const waiting: number[] = [];
  try {
    expect(listenerAt(path)).toEqual({ kind: "listens" });
    // Nobody accepts in this turn.
    for (let fd = io?.connect(path); fd !== undefined && waiting.length < MAX_WAITING; fd = io?.connect(path))
      waiting.push(fd);
    expect(io?.connect(path)).toBeUndefined();
    expect(listenerAt(path)).toEqual({ kind: "listens" });
  } finally {
    for (const fd of waiting) io?.close(fd);
    await server.stop(true);
  }
});

test("listenerAt() knows that nobody listens at no file, and at one that is none or is left over", () => {
  expect(listenerAt(join(folder, "absent"))).toEqual({ kind: "nobody" });
  writeFileSync(join(folder, "file"), "");
  expect(listenerAt(join(folder, "file"))).toEqual({ kind: "nobody" });
});

test("listenerAt() does not take what it cannot ask for nobody", () => {
  symlinkSync("loop", join(folder, "loop"));
  for (const path of [join(folder, "loop"), join(folder, "x".repeat(120))])
    expect(listenerAt(path)).toMatchObject({ kind: "unknown" });
});
