/**
 * Removes files of gigabytes without holding up whoever commits to the same disk: unlink(2) gives all of a file back in one
 * go, which takes 0.4 s for each 800 MB on ext4, and an fsync(2) of another process waits for it.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  rmSync,
  type Dirent,
} from "node:fs";
import { lstat, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { sleep, systemClock } from "./clock.ts";

/** Given back in one go, some 7 ms. */
const STEP_BYTES = 16 * 1_024 ** 2;
/** Between two of them others get the disk, ms. */
const PAUSE_MS = 2;

/**
 * Removes `path` and all below it; nothing when it is not there. Only for what is ours alone: whoever still has one of the files
 * open sees it become empty. A file with another name elsewhere loses this one only. Blocks; throws what cannot be removed.
 */
export function removeTree(path: string): void {
  for (const file of largeFiles(path)) shorten(file);
  rmSync(path, { recursive: true, force: true });
}

/**
 * As `removeTree`, for a process that has other things to do meanwhile: what is large may take minutes, and each step of it is done
 * beside them. Rejects with what cannot be removed.
 */
export async function removeTreeBeside(path: string): Promise<void> {
  for await (const file of filesBelow(path)) await shortenBeside(file);
  await rm(path, { recursive: true, force: true });
}

async function* filesBelow(path: string): AsyncGenerator<string> {
  const isFolder = await lstat(path).then(
    (stats) => stats.isDirectory(),
    () => undefined,
  );
  if (isFolder === false) yield path;
  if (isFolder !== true) return;
  for (const name of await readdir(path).catch(() => [])) yield* filesBelow(join(path, name));
}

async function shortenBeside(path: string): Promise<void> {
  try {
    const { size, nlink } = await lstat(path);
    if (size <= STEP_BYTES || nlink !== 1) return;
    const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      for (let bytes = size - STEP_BYTES; bytes > 0; bytes -= STEP_BYTES) {
        // oxlint-disable-next-line no-await-in-loop -- Safe: one step after the other, and between two of them others get the disk.
        await file.truncate(bytes);
        // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
        await sleep(systemClock, PAUSE_MS);
      }
    } finally {
      await file.close();
    }
  } catch {
    // It is only slower without.
  }
}

/** Links are not followed. What cannot be read is for the removal itself to name. */
function largeFiles(path: string): readonly string[] {
  const entries = entriesOf(path);
  if (entries === undefined) return [path];
  return entries.flatMap((entry) => {
    const below = join(path, entry.name);
    if (entry.isDirectory()) return largeFiles(below);
    return entry.isFile() ? [below] : [];
  });
}

/** `undefined` for what is no folder that can be read, and for a link to one: what lies there is not ours. */
function entriesOf(path: string): readonly Dirent[] | undefined {
  try {
    if (!lstatSync(path).isDirectory()) return undefined;
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return undefined;
  }
}

/** Takes it from the end; a file that is small, has another name or cannot be written to is left as it is. */
function shorten(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = fstatSync(fd);
    if (!stats.isFile() || stats.nlink !== 1) return;
    for (let bytes = stats.size; bytes > STEP_BYTES;) {
      bytes -= STEP_BYTES;
      ftruncateSync(fd, bytes);
      Bun.sleepSync(PAUSE_MS);
    }
  } catch {
    // It is only slower without.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
