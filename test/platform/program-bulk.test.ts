/** Programs whose output is taken out of a large pipe. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { libc, SCHED } from "../../src/platform/libc.ts";
import { bulkOutputOf, largeWritesBy } from "../../src/platform/program-bulk.ts";
import { until } from "./until.ts";

const PATH = "/usr/bin:/bin";
let folder = "";
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "bulk-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const BLOCK_BYTES = 1_024 ** 2;
const given = { env: { PATH }, blockBytes: BLOCK_BYTES };
const run = (script: string) => bulkOutputOf({ command: ["/bin/sh", "-c", script], ...given, folder });

async function sizeOf(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const piece of pieces) bytes += piece.length;
  return bytes;
}

test("bulkOutputOf() hands on every byte, and leaves nothing in its folder", async () => {
  const script = "i=0; while [ $i -lt 300 ]; do head -c 8191 /dev/zero; i=$((i+1)); done";
  expect(await sizeOf(run(script))).toBe(300 * 8_191);
  expect(await sizeOf(run(":"))).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);

test("bulkOutputOf() runs its program as a batch process, and stays what it was", async () => {
  const before = libc()?.scheduler();
  let said = "";
  for await (const piece of run("cut -d' ' -f41 /proc/$$/stat")) said += Buffer.from(piece).toString();
  expect(said).toBe(`${SCHED.BATCH}\n`);
  expect(libc()?.scheduler()).toBe(before);
}, 60_000);

test("largeWritesBy() does without a stdbuf that is not there or does not work", async () => {
  const broken = join(folder, "stdbuf");
  writeFileSync(broken, "#!/bin/sh\necho \"stdbuf: failed to find 'libstdbuf.so'\" >&2\nexit 125\n", { mode: 0o755 });
  expect(await largeWritesBy(broken)).toEqual([]);
  expect(await largeWritesBy(join(folder, "none"))).toEqual([]);
  expect(await largeWritesBy(null)).toEqual([]);
}, 60_000);

test("bulkOutputOf() throws at its end what the program said, however much that was", async () => {
  const script = "echo begun; head -c 1000000 /dev/zero >&2; echo 'connection lost' >&2; exit 3";
  await expect(sizeOf(run(script))).rejects.toThrow(/^sh ended with 3: .*connection lost$/);
  await expect(sizeOf(run("kill -9 $$"))).rejects.toThrow("sh ended by SIGKILL");
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);

test("bulkOutputOf() ends a program whose reader has left, and says that one is not there", async () => {
  for await (const piece of run("exec yes")) {
    expect(piece.length).toBe(BLOCK_BYTES);
    break;
  }
  const none = bulkOutputOf({ command: ["/nowhere/at/all"], ...given, folder });
  await expect(sizeOf(none)).rejects.toThrow("/nowhere/at/all");
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);

test("bulkOutputOf() lets this process go on while the program is silent", async () => {
  const go = join(folder, "go");
  const read = sizeOf(run(`until [ -e ${go} ]; do sleep 0.02; done; printf done`));
  // The program ends only after this timer has come, and it comes only in a process that goes on.
  setTimeout(() => writeFileSync(go, ""), 10);
  expect(await read).toBe(4);
  rmSync(go);
}, 60_000);

test("bulkOutputOf() ends a silent program at its signal", async () => {
  const over = new AbortController();
  const begun = join(folder, "begun");
  const command = ["/bin/sh", "-c", `echo $$ > ${begun}; exec sleep 1000`] as const;
  const read = sizeOf(bulkOutputOf({ command, ...given, folder, signal: over.signal }));
  await until("the program has begun", () => existsSync(begun));
  over.abort(new Error("it was interrupted"));
  await expect(read).rejects.toThrow("it was interrupted");
  rmSync(begun);
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);
