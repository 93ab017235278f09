/**
 * Lockouts of other bots, which had this one's account before, that a person has ended for this one: their files lock those bots still, so
 * that they are not this one's to remove, and are not to lock it again at the next start.
 */
import { lstatSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { later } from "../../core/later.ts";
import type { LockoutCopy } from "./lockout-file.ts";
import { NoteFile } from "./note-file.ts";

/** An account has few bots one after the other. */
const MAX_ENDED = 64;

const endedSchema = later(() => z.strictObject({ version: z.literal(1), ended: z.array(z.string()) }));

export class EndedElsewhere {
  readonly #file: NoteFile<z.output<typeof endedSchema>>;

  constructor(folder: string, foreign: (() => boolean) | undefined) {
    this.#file = new NoteFile({ path: join(folder, "ended.json"), schema: endedSchema, foreign });
  }

  has(copy: LockoutCopy): boolean {
    const name = nameOf(copy);
    return name !== undefined && this.#ended.includes(name);
  }

  /** Never throws: what cannot be written locks again. */
  add(copies: readonly LockoutCopy[]): void {
    const names = copies.flatMap((copy) => nameOf(copy) ?? []);
    if (names.length === 0) return;
    this.#file.write({ version: 1, ended: [...new Set([...this.#ended, ...names])].slice(-MAX_ENDED) });
  }

  get #ended(): readonly string[] {
    return this.#file.note?.ended ?? [];
  }
}

/** One that was opened again since is another one, and so is one that cannot be read and was written since; `undefined`: it locks nobody, or nobody can tell it again. */
function nameOf({ path, reading }: LockoutCopy): string | undefined {
  if (reading.kind === "absent") return undefined;
  if (reading.kind === "locked") return `${reading.lockout.incident} ${reading.lockout.endedAt ?? "open"}`;
  try {
    const { ino, size, mtimeMs } = lstatSync(path);
    return `unread ${ino} ${size} ${mtimeMs} ${path}`;
  } catch {
    return undefined;
  }
}
