/** A stream as a new file: every byte in its place however it came, and no descriptor left when it breaks off. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { writeRawFile } from "../../../src/actions/backup/raw-file.ts";

const folder = mkdtempSync(join(tmpdir(), "raw-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PIECE_BYTES = 3 * 1_024 ** 2;
const PIECES = 12;

/** All pieces in one buffer, as they come from a backup; `broken`: it ends with an error. */
async function* inOneBuffer(broken: boolean): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(PIECE_BYTES);
  for (let index = 1; index <= PIECES; index += 1) yield buffer.fill(index);
  if (broken) throw new Error("it breaks off");
}

function isOpen(path: string): boolean {
  return readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  });
}

test("writeRawFile() writes each piece before it asks for the next, and tells how far it is", async () => {
  const path = join(folder, "whole");
  const told: number[] = [];
  await writeRawFile(inOneBuffer(false), path, {
    mode: 0o600,
    flush: true,
    onProgress: (bytes) => void told.push(bytes),
  });
  const wanted = Buffer.concat(Array.from({ length: PIECES }, (_, index) => Buffer.alloc(PIECE_BYTES, index + 1)));
  expect(readFileSync(path).equals(wanted)).toBe(true);
  expect(told).toEqual([6 * PIECE_BYTES, 12 * PIECE_BYTES]);
});

test("writeRawFile() throws what the stream throws, and leaves no file open", async () => {
  const path = join(folder, "broken");
  const writing = writeRawFile(inOneBuffer(true), path, { mode: 0o600, flush: true });
  await expect(writing).rejects.toThrow("it breaks off");
  expect(isOpen(path)).toBe(false);
});

test("writeRawFile() replaces no file", async () => {
  const path = join(folder, "once");
  await writeRawFile(inOneBuffer(false), path, { mode: 0o600, flush: false });
  await expect(writeRawFile(inOneBuffer(false), path, { mode: 0o600, flush: false })).rejects.toThrow("EEXIST");
});
