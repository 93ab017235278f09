/** The daemon's journal: numbers entries, writes them, and hands them to whoever follows (`events -f`). */
import { JOURNAL_VERSION, type JournalEntry, type JournalInput } from "../../core/journal-entry.ts";
import type { Clock } from "../../platform/clock.ts";
import { AppendLog } from "../../platform/append-log.ts";
import { makeRoom } from "./quarantine.ts";

/** Size of one journal file: some 20 000 entries, small enough to read whole. */
const FILE_BYTES = 8 * 1024 ** 2;
/** Files kept: with the size above the journal never takes more than 128 MiB. */
const FILES_KEPT = 16;
/** Entries kept in memory for followers that reconnect with `Last-Event-ID`. */
const RECENT_ENTRIES = 1_000;

export class Journal {
  readonly #log: AppendLog;
  readonly #clock: Clock;
  readonly #recent: JournalEntry[] = [];
  readonly #followers = new Set<(entry: JournalEntry) => void>();
  #seq = 0;
  /** Lines that were lost before the failure that lasts; `undefined`: the last line was written. */
  #lostBefore: number | undefined;

  /** What is in the folder's place and is none is set aside. */
  constructor(dir: string, clock: Clock) {
    this.#clock = clock;
    const move = makeRoom(dir, "folder");
    this.#log = new AppendLog({ dir, maxBytes: FILE_BYTES, keep: FILES_KEPT, clock });
    if (move !== undefined) this.write({ kind: "daemon", level: "alert", text: move });
  }

  /** Lines that a full or unwritable disk has cost so far. */
  get dropped(): number {
    return this.#log.dropped;
  }

  /** Why lines are lost now; null: the last one was written. */
  get trouble(): string | null {
    return this.#lostBefore === undefined ? null : `cannot write to the journal: ${this.#log.lastError ?? "not known"}`;
  }

  /** The newest entries, oldest first, at most 1 000. */
  get recent(): readonly JournalEntry[] {
    return this.#recent;
  }

  /**
   * Writes one entry before the caller acts on it. `sync` also forces it to the disk, for what must outlive the machine.
   * Never throws: a full disk costs the line, not the supervision.
   */
  write(input: JournalInput, { sync = false }: { sync?: boolean } = {}): void {
    const entry = this.#stamp(input);
    const written = this.#log.append(JSON.stringify(entry), { sync });
    this.#tell(entry);
    if (written === (this.#lostBefore === undefined)) return;
    // Noted first: what is said of it may come here again.
    const { dropped, lastError } = this.#log;
    const missing = dropped - (this.#lostBefore ?? dropped);
    this.#lostBefore = written ? undefined : dropped - 1;
    if (written) this.write(writtenAgain(missing));
    else this.#tell(this.#stamp({ kind: "daemon", level: "alert", text: `cannot write to the journal: ${lastError}` }));
  }

  /** Each second: whether lines are written again, so that `trouble` does not last until something happens. Never throws. */
  look(): void {
    if (this.#lostBefore === undefined) return;
    const entry = this.#entryOf(writtenAgain(this.#log.dropped - this.#lostBefore), this.#seq + 1);
    if (!this.#log.append(JSON.stringify(entry), { counted: false })) return;
    this.#seq = entry.seq;
    this.#lostBefore = undefined;
    this.#tell(entry);
  }

  #stamp(input: JournalInput): JournalEntry {
    this.#seq += 1;
    return this.#entryOf(input, this.#seq);
  }

  #entryOf(input: JournalInput, seq: number): JournalEntry {
    // Safe: input is an entry without its stamp, kind by kind.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return { v: JOURNAL_VERSION, seq, at: this.#clock.wallTime().toISOString(), ...input } as JournalEntry;
  }

  #tell(entry: JournalEntry): void {
    this.#recent.push(entry);
    if (this.#recent.length > RECENT_ENTRIES) this.#recent.shift();
    for (const follower of this.#followers) follower(entry);
  }

  /** Calls `follower` for each new entry until the returned function is called. */
  follow(follower: (entry: JournalEntry) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  close(): void {
    this.#log.close();
  }
}

function writtenAgain(missing: number): JournalInput {
  return { kind: "daemon", level: "warn", text: `the journal is written again; it misses ${missing} lines` };
}
