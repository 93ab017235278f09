/**
 * Replication slots at which nobody receives any more by the config: their servers keep all WAL from there on, until their disks are
 * full, and only a person ends that. What was received is on file, as the config may be changed while no daemon runs.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { later } from "../../core/later.ts";
import { slotName } from "../../core/wal.ts";
import { NoteFile } from "./note-file.ts";

const slotsSchema = later(() =>
  z.strictObject({ version: z.literal(1), slots: z.array(z.strictObject({ target: z.string(), url: z.string() })) }),
);
type Slot = z.output<typeof slotsSchema>["slots"][number];

export class LeftSlots {
  readonly #path: string;
  readonly #say: (level: "alert", text: string) => void;

  constructor(stateDir: string, say: (level: "alert", text: string) => void) {
    this.#path = join(stateDir, "backups", "wal-slots.json");
    this.#say = say;
  }

  /** WAL of the target is received from now on. Never throws: the folder is there since its first backup. */
  began({ target, url }: Slot): void {
    const slots = this.#read();
    if (!slots.some((each) => isSame(each, { target, url }))) this.#write([...slots, { target, url }]);
  }

  /** `wanted`: those of the config. Each other one that was received is said, once. */
  adopt(wanted: readonly Slot[]): void {
    const slots = this.#read();
    const left = slots.filter((slot) => !wanted.some((each) => isSame(each, slot)));
    if (left.length === 0) return;
    for (const { target, url } of left)
      this.#say(
        "alert",
        `the WAL of ${target} is received no more from ${url}, whose server keeps it for the slot ${slotName(target)} until its disk is full; unless that is the server of now under another address, end it there: SELECT pg_drop_replication_slot('${slotName(target)}')`,
      );
    this.#write(slots.filter((slot) => !left.includes(slot)));
  }

  #read(): readonly Slot[] {
    return existsSync(this.#path) ? (this.#file.note?.slots ?? []) : [];
  }

  #write(slots: readonly Slot[]): void {
    this.#file.write({ version: 1, slots: [...slots] });
  }

  get #file(): NoteFile<z.output<typeof slotsSchema>> {
    return new NoteFile({ path: this.#path, schema: slotsSchema, foreign: undefined });
  }
}

function isSame(one: Slot, other: Slot): boolean {
  return one.target === other.target && one.url === other.url;
}
