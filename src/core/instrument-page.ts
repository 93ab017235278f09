/**
 * The instrument page: 4 KiB that the bot keeps up to date in shared memory, so that whoever finds it dead or hung sees what it was
 * doing. Fixed numbers first, then JSON; a sequence that is odd while the bot writes tells a torn page from a whole one.
 */

export const PAGE_BYTES = 4_096;
const MAGIC = "SVBBPG1\n";
const SEQ_AT = 8;
const LOOPS_AT = 12;
const LOOP_TIME_AT = 16;
const LENGTH_AT = 24;
const TEXT_AT = 32;
/** Room for the JSON, bytes. */
export const PAGE_TEXT_BYTES = PAGE_BYTES - TEXT_AT;

/** An operation that has begun and not ended. */
export interface Operation {
  readonly name: string;
  /** Unix time at which it began, ms. */
  readonly since: number;
  /** What it works on, for example an order's client id. */
  readonly detail?: string;
}

/** What the page says in words. */
interface Instruments {
  /** Innermost last. */
  readonly ops: readonly Operation[];
  readonly level?: string;
  readonly lastError?: string;
}

export interface PageReading extends Instruments {
  /** Turns of the bot's event loop that were counted, and when the last one was, unix ms; 0 before the first. */
  readonly loops: number;
  readonly loopAt: number;
  /** The bot was stopped while it wrote: `ops` may be of the moment before. */
  readonly torn: boolean;
}

/** Writes an empty page into `view`, whose length is `PAGE_BYTES`. */
export function layOutPage(view: DataView): void {
  for (let at = 0; at < MAGIC.length; at += 1) view.setUint8(at, MAGIC.charCodeAt(at));
  view.setUint32(SEQ_AT, 0, true);
  view.setUint32(LENGTH_AT, 0, true);
}

/** Notes one more turn of the loop. */
export function noteLoop(view: DataView, atMs: number): void {
  view.setUint32(LOOPS_AT, (view.getUint32(LOOPS_AT, true) + 1) >>> 0, true);
  view.setFloat64(LOOP_TIME_AT, atMs, true);
}

/** Puts `text` (UTF-8, at most `PAGE_TEXT_BYTES`) on the page; the sequence is odd meanwhile. */
export function writePageText(view: DataView, text: Uint8Array): void {
  const seq = view.getUint32(SEQ_AT, true);
  view.setUint32(SEQ_AT, (seq | 1) >>> 0, true);
  const length = Math.min(text.byteLength, PAGE_TEXT_BYTES);
  new Uint8Array(view.buffer, view.byteOffset + TEXT_AT, length).set(text.subarray(0, length));
  view.setUint32(LENGTH_AT, length, true);
  view.setUint32(SEQ_AT, ((seq | 1) + 1) >>> 0, true);
}

/** Reads a page; `undefined` for what is none. Never throws, whatever the bytes are. */
export function readPage(view: DataView): PageReading | undefined {
  if (view.byteLength < PAGE_BYTES) return undefined;
  for (let at = 0; at < MAGIC.length; at += 1) if (view.getUint8(at) !== MAGIC.charCodeAt(at)) return undefined;
  const length = Math.min(view.getUint32(LENGTH_AT, true), PAGE_TEXT_BYTES);
  const text = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + TEXT_AT, length));
  return {
    ...parseInstruments(text),
    loops: view.getUint32(LOOPS_AT, true),
    loopAt: view.getFloat64(LOOP_TIME_AT, true),
    torn: view.getUint32(SEQ_AT, true) % 2 === 1,
  };
}

/** A reading that was kept as JSON; `undefined` for what is none. */
export function parseReading(text: string): PageReading | undefined {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null) return undefined;
  const [loops, loopAt, torn]: readonly unknown[] = ["loops", "loopAt", "torn"].map((key) => Reflect.get(value, key));
  return {
    ...parseInstruments(text),
    loops: typeof loops === "number" ? loops : 0,
    loopAt: typeof loopAt === "number" ? loopAt : 0,
    torn: torn === true,
  };
}

function parseInstruments(text: string): Instruments {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null) return { ops: [] };
  const ops: unknown = Reflect.get(value, "ops");
  const level: unknown = Reflect.get(value, "level");
  const lastError: unknown = Reflect.get(value, "lastError");
  return {
    ops: Array.isArray(ops) ? ops.flatMap(parseOperation) : [],
    ...(typeof level === "string" ? { level } : {}),
    ...(typeof lastError === "string" ? { lastError } : {}),
  };
}

function parseOperation(value: unknown): readonly Operation[] {
  if (typeof value !== "object" || value === null) return [];
  const name: unknown = Reflect.get(value, "name");
  const since: unknown = Reflect.get(value, "since");
  const detail: unknown = Reflect.get(value, "detail");
  if (typeof name !== "string" || typeof since !== "number") return [];
  return [{ name, since, ...(typeof detail === "string" ? { detail } : {}) }];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
