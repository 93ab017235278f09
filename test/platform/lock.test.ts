/** One holder at a time, across processes and their deaths. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockHolder, tryLock } from "../../src/platform/lock.ts";
import { FIXTURES } from "./until.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lock-"));
  path = join(folder, "daemon.lock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const hold = (...more: string[]) =>
  Bun.spawn({
    cmd: [process.execPath, join(FIXTURES, "hold-lock.ts"), path, ...more],
    stdio: ["pipe", "pipe", "inherit"],
  });

/** Output up to and including a line that starts with `word`. */
async function said(stream: ReadableStream<Uint8Array>, word: string): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text += Buffer.from(chunk).toString();
    if (text.split("\n").some((line) => line.startsWith(word))) break;
  }
  return text;
}

test("tryLock() is refused while held and granted after release, with the holder's pid in the file", () => {
  const lock = tryLock(path);
  expect(lock).toBeDefined();
  expect(tryLock(path)).toBeUndefined();
  expect(lockHolder(path)).toBe(process.pid);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  lock?.release();
  lock?.release();
  expect(lockHolder(path)).toBeUndefined();
  tryLock(path)?.release();
});

test("tryLock() is refused while another process holds it and granted the moment that one is killed", async () => {
  const other = hold();
  expect(await said(other.stdout, "held")).toContain("held");
  expect([tryLock(path), lockHolder(path)]).toEqual([undefined, other.pid]);
  other.kill("SIGKILL");
  await other.exited;
  const lock = tryLock(path);
  expect(lock).toBeDefined();
  lock?.release();
});

test("tryLock() leaks into no child: a grandchild that outlives the holder does not keep it", async () => {
  const other = hold("child");
  const pid = Number(/child (\d+)/.exec(await said(other.stdout, "held"))?.[1]);
  other.kill("SIGKILL");
  await other.exited;
  const lock = tryLock(path);
  process.kill(pid, "SIGKILL");
  expect(lock).toBeDefined();
  lock?.release();
});

test("tryLock() says which file cannot be opened", () => {
  expect(() => tryLock(join(folder, "no", "such.lock"))).toThrow(/^cannot open lock file .*such\.lock: ENOENT/);
});
