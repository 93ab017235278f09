/** Notes where a bot's output stands, for people who look back: at each start, and each minute in which the bot has written. */
import { appendFileSync, existsSync, statSync } from "node:fs";
import { outputMarkLine, parseOutputMarks, thinMarks, type OutputMark, type RunMark } from "../../core/output-marks.ts";
import type { Clock } from "../../platform/clock.ts";
import { readTail, replaceFile } from "../../platform/files.ts";

/** Marks are some 80 bytes each; from this size on they are thinned. */
const MAX_NOTES_BYTES = 64 * 1024;
/** Marks between two looks at their size: they add 2 KiB. */
const NOTES_BETWEEN_LOOKS = 25;
/** Time between two marks, ms; `supervisor logs --since` is exact to that. */
const NOTE_EVERY_MS = 60_000;

export class OutputNotes {
  readonly #path: string;
  readonly #clock: Clock;
  /** The first mark is followed by a look: many daemons may have lived a short time each. */
  #untilLook = 1;
  #nextNoteMs = 0;
  /** Last change of the file that a mark knows of. */
  #notedChangeMs: number | undefined;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Throws when the disk refuses. */
  noteStart(mark: Omit<RunMark, "v">): void {
    this.#append(mark);
  }

  /** Once a second: notes where the stream ends, when a minute is over and the file was written to. Throws when the disk refuses. */
  look(changeMs: number, end: () => number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextNoteMs || changeMs === this.#notedChangeMs) return;
    this.#nextNoteMs = nowMs + NOTE_EVERY_MS;
    // The time comes after the look: by then the stream was at least that long.
    const offset = end();
    this.#append({ at: this.#clock.wallTime().toISOString(), offset });
    this.#notedChangeMs = changeMs;
  }

  /** The number of the last start that was noted; 0 when there is none. Throws when the marks cannot be read. */
  get lastGeneration(): number {
    return this.#starts.at(-1)?.generation ?? 0;
  }

  /** Where a start of an earlier daemon began; 0 when no mark of it is kept. */
  beginOf(generation: number): number {
    return this.#starts.findLast((mark) => mark.generation === generation)?.offset ?? 0;
  }

  get #starts(): readonly RunMark[] {
    return this.#marks.filter((mark) => "generation" in mark);
  }

  get #marks(): readonly OutputMark[] {
    // A bot that was never started has none; the look costs less than an exception. Of more than are kept the newest count.
    if (!existsSync(this.#path)) return [];
    return parseOutputMarks(readTail(this.#path, 2 * MAX_NOTES_BYTES));
  }

  #append(mark: Parameters<typeof outputMarkLine>[0]): void {
    appendFileSync(this.#path, outputMarkLine(mark), { mode: 0o644 });
    this.#untilLook -= 1;
    if (this.#untilLook > 0) return;
    this.#untilLook = NOTES_BETWEEN_LOOKS;
    if (statSync(this.#path).size > MAX_NOTES_BYTES)
      replaceFile(
        this.#path,
        thinMarks(this.#marks)
          .map((each) => outputMarkLine(each))
          .join(""),
        0o644,
      );
  }
}
