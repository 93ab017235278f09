/**
 * Lockouts of other bots, which had this one's account before, that a person has ended for this one: their files lock those bots still, so
 * that they are not this one's to remove, and are not to lock it again at the next start.
 */
import { join } from "node:path";
import * as z from "zod";
import { later } from "../../core/later.ts";
import type { Lockout } from "../../core/lockout.ts";
import { NoteFile } from "./note-file.ts";

/** An account has few bots one after the other. */
const MAX_ENDED = 64;

const endedSchema = later(() => z.strictObject({ version: z.literal(1), ended: z.array(z.string()) }));

export class EndedElsewhere {
  readonly #file: NoteFile<z.output<typeof endedSchema>>;

  constructor(folder: string, foreign: (() => boolean) | undefined) {
    this.#file = new NoteFile({ path: join(folder, "ended.json"), schema: endedSchema, foreign });
  }

  has(lockout: Lockout): boolean {
    return this.#ended.includes(nameOf(lockout));
  }

  /** Never throws: what cannot be written locks again. */
  add(lockouts: readonly Lockout[]): void {
    if (lockouts.length === 0) return;
    const ended = [...new Set([...this.#ended, ...lockouts.map(nameOf)])].slice(-MAX_ENDED);
    this.#file.write({ version: 1, ended });
  }

  get #ended(): readonly string[] {
    return this.#file.note?.ended ?? [];
  }
}

/** One that was opened again since is another one. */
function nameOf({ incident, endedAt }: Lockout): string {
  return `${incident} ${endedAt ?? "open"}`;
}
