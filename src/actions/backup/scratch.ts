/**
 * A folder of our own for what is fetched and restored for a while. Its lock is held by the process that made it, so that
 * whoever comes later can tell one in use from one that a killed process has left.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { ensureDir } from "../../platform/files.ts";
import { tryLock } from "../../platform/lock.ts";
import { removeTree, removeTreeBeside } from "../../platform/remove-tree.ts";

const NAME = /^supervisor-scratch-[0-9a-f]{12}$/;

export interface Scratch {
  readonly folder: string;
  /** Removes it. */
  readonly release: () => void;
}

/** Makes one in `parent`, for us alone, and removes what killed processes have left there. Throws when it cannot be made. */
export function openScratch(parent: string): Scratch {
  ensureDir(parent);
  sweepScratch(parent);
  const folder = join(parent, `supervisor-scratch-${crypto.getRandomValues(Buffer.alloc(6)).toString("hex")}`);
  // The lock first: a folder that nobody holds is swept up.
  const lock = tryLock(`${folder}.lock`);
  mkdirSync(folder, { mode: 0o700 });
  return {
    folder,
    release: () => {
      removeTree(folder);
      rmSync(`${folder}.lock`, { force: true });
      lock?.release();
    },
  };
}

/** Removes the folders whose process is gone, beside whatever the process has to do. Never rejects: what cannot be removed now is in nobody's way. */
export async function sweepScratchBeside(parent: string): Promise<void> {
  // Before anything that blocks: the disk may not answer.
  const names = await readdir(parent).catch(() => []);
  // oxlint-disable-next-line no-await-in-loop -- Safe: one after the other, they share a disk.
  for (const name of names) await withLeft(parent, name, removeTreeBeside);
}

/** The same at once. */
function sweepScratch(parent: string): void {
  for (const name of namesIn(parent)) void withLeft(parent, name, removeTree);
}

/** Does the deed to a folder of ours that nobody holds; before the first wait of the deed all is done at once. */
async function withLeft(parent: string, name: string, deed: (folder: string) => Promise<void> | void): Promise<void> {
  if (!NAME.test(name)) return;
  try {
    const folder = join(parent, name);
    const lock = tryLock(`${folder}.lock`);
    if (lock === undefined) return;
    try {
      const pending = deed(folder);
      if (pending !== undefined) await pending;
      rmSync(`${folder}.lock`, { force: true });
    } finally {
      lock.release();
    }
  } catch {
    // The next one tries again.
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
