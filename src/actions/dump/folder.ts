/**
 * The folder in which a dump grows: entries with secrets taken out, cut to their bound, each noted as soon as it is there, so
 * that a worker that is killed at the next one leaves what it has.
 */
import { createHash } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as z from "zod";
import { dumpEntrySchema, type DumpEntry } from "../../core/dump-manifest.ts";
import { MAX_DUMP_BYTES, MAX_ENTRY_BYTES } from "../../core/dump.ts";
import { redactor, type Redacted } from "../../core/redact.ts";
import { readTextIfExists } from "../../platform/files.ts";
import { systemClock } from "../../platform/clock.ts";

/** Notes of entries, and of what could not be read; not part of the archive. */
const NOTES = ".entries.ndjson";
const MAX_NOTES_BYTES = 4 * 1_048_576;
/** Largest file of secrets, bytes. */
const MAX_SECRETS_BYTES = 65_536;

const noteSchema = z.union([
  z.object({ entry: dumpEntrySchema }),
  z.object({ missing: z.object({ path: z.string(), why: z.string() }) }),
]);

export interface Secrets {
  readonly values: readonly string[];
  readonly files: readonly string[];
}

export class DumpFolder {
  readonly path: string;
  readonly entries: DumpEntry[] = [];
  readonly missing: { path: string; why: string }[] = [];
  readonly #redact: (text: string) => Redacted;

  /** Makes the folder, or goes on with one that another worker has left. */
  constructor(path: string, secrets: Secrets, more: readonly string[] = []) {
    this.path = path;
    this.#redact = redactor([...secrets.values, ...secrets.files.flatMap(wordsIn), ...more]);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    for (const line of (readTextIfExists(join(path, NOTES), MAX_NOTES_BYTES) ?? "").split("\n")) this.#recall(line);
  }

  /** Adds what `read` says; what it throws is noted as missing. `undefined`: there is no such thing here. */
  add(path: string, read: () => string | undefined): void {
    const startMs = systemClock.monotonicMs();
    try {
      const text = read();
      if (text !== undefined) this.#write(path, text, startMs);
    } catch (error) {
      this.note(path, error);
    }
  }

  async addLater(path: string, read: () => Promise<string | undefined>): Promise<void> {
    try {
      const text = await read();
      if (text !== undefined) this.add(path, () => text);
    } catch (error) {
      this.note(path, error);
    }
  }

  /** Something that could not be read. */
  note(path: string, error: unknown): void {
    const missing = { path, why: error instanceof Error ? error.message : String(error) };
    this.missing.push(missing);
    this.#remember({ missing });
  }

  /** The text with everything secret taken out. */
  redacted(text: string): string {
    return this.#redact(text).text;
  }

  #write(path: string, text: string, startMs: number): void {
    const { text: clean, count } = this.#redact(text);
    const used = this.entries.reduce((sum, { bytes }) => sum + bytes, 0);
    const room = Math.max(0, Math.min(MAX_ENTRY_BYTES, MAX_DUMP_BYTES - used));
    const whole = Buffer.from(clean);
    // The end of a log says more than its beginning, and everything else is far below the bound.
    const bytes = whole.length <= room ? whole : whole.subarray(whole.length - room);
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, bytes, { mode: 0o600 });
    const entry: DumpEntry = {
      path,
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      truncated: bytes.length < whole.length,
      redactions: count,
      tookMs: Math.round(systemClock.monotonicMs() - startMs),
    };
    this.entries.push(entry);
    this.#remember({ entry });
  }

  #remember(note: z.output<typeof noteSchema>): void {
    appendFileSync(join(this.path, NOTES), `${JSON.stringify(note)}\n`, { mode: 0o600 });
  }

  #recall(line: string): void {
    if (line === "") return;
    const note = noteSchema.safeParse(parseJson(line)).data;
    if (note === undefined) return;
    if ("entry" in note) this.entries.push(note.entry);
    else this.missing.push(note.missing);
  }
}

/** The words of a file that holds secrets; one that cannot be read hides nothing that we could know. */
function wordsIn(path: string): readonly string[] {
  try {
    return readFileSync(path, "utf8").slice(0, MAX_SECRETS_BYTES).split(/\s+/).filter(Boolean);
  } catch {
    return [];
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
