/**
 * What is known of the folders that bots have in common, for as long as it takes to make bots together: each is made and listed
 * once, and not once for each of a hundred bots.
 */
import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { ensureDir } from "../../platform/files.ts";

export class SharedFolders {
  readonly #ready = new Set<string>();
  readonly #names = new Map<string, ReadonlySet<string> | undefined>();

  /** It was made or found before. */
  isReady(path: string): boolean {
    return this.#ready.has(path);
  }

  /** Makes the folder unless that was done before. Throws as `ensureDir`. */
  ensure(path: string, mode: number): void {
    if (this.#ready.has(path)) return;
    ensureDir(path, mode);
    this.#ready.add(path);
  }

  /** Whether nothing had this name when its folder was first asked of; false where that cannot be told. */
  lacks(path: string): boolean {
    const folder = dirname(path);
    if (!this.#names.has(folder)) this.#names.set(folder, namesIn(folder));
    return this.#names.get(folder)?.has(basename(path)) === false;
  }
}

function namesIn(folder: string): ReadonlySet<string> | undefined {
  try {
    return new Set(readdirSync(folder));
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ENOENT" ? new Set() : undefined;
  }
}
