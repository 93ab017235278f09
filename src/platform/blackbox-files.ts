/**
 * The files of black boxes: taking those of an ended start out of the bot's reach, and reading them. The bot may put
 * whatever it likes into its folder, so only plain files with one name count, and everything read is bounded.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { isBlackboxFile, orderEvents, parseEvent, type BlackboxEvent } from "../core/blackbox.ts";
import { PAGE_BYTES, readPage, type PageReading } from "../core/instrument-page.ts";

/** Names looked at in one folder: both recorders make 17; a bot that makes more than this is not waited for. */
const MAX_NAMES = 1_024;
/** Bytes read of one segment, its end: four times what a recorder writes. */
const MAX_SEGMENT_BYTES = 16 * 1_048_576;
/** Sealed starts that are kept, and bytes of all of them together beyond which the oldest go; the newest stays. */
const MAX_STARTS = 10;
const MAX_SEALED_BYTES = 256 * 1_048_576;

export interface BlackboxFolders {
  /** The bot's own. */
  readonly blackbox: string;
  /** The supervisor's, with a folder for each ended start. */
  readonly sealed: string;
}

/** What one start of a bot has recorded. */
export interface RecordedStart {
  /** As in file names; of a sealed start the number under which it was sealed. */
  readonly name: string;
  /** The bot may go on with it. */
  readonly live: boolean;
  readonly paths: readonly string[];
}

export interface StartReading {
  readonly events: readonly BlackboxEvent[];
  /** Lines that are no event: torn, or somebody else's. */
  readonly damaged: number;
  readonly page: PageReading | undefined;
}

/**
 * Moves what an ended start has recorded to where the bot cannot reach it; by renames, so that it costs no copy. Returns
 * how many files were moved. Throws when the folder cannot be made or read; a file that will not move stays.
 */
export function sealBlackbox({ blackbox, sealed }: BlackboxFolders, generation: number): number {
  const names = namesIn(blackbox).filter((name) => isPlain(join(blackbox, name)));
  if (names.length === 0) return 0;
  const folder = join(sealed, String(generation).padStart(6, "0"));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let moved = 0;
  for (const name of names) {
    const target = freeName(folder, name);
    if (target === undefined) continue;
    renameSync(join(blackbox, name), target);
    moved += 1;
  }
  return moved;
}

/** Whether there is nothing at all in the folder. Throws when it cannot be read. */
export function isEmpty(folder: string): boolean {
  return readdirSync(folder).length === 0;
}

/** Removes the oldest sealed starts beyond what is kept. Throws when one cannot be removed. */
export function pruneSealed({ sealed }: Pick<BlackboxFolders, "sealed">): void {
  const starts = sealedStarts(sealed);
  let bytes = 0;
  for (const [index, { name, paths }] of starts.toReversed().entries()) {
    bytes += paths.reduce((sum, path) => sum + (lstatSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
    if (index > 0 && (index >= MAX_STARTS || bytes > MAX_SEALED_BYTES))
      rmSync(join(sealed, name), { recursive: true, force: true });
  }
}

/** Every start of which something is kept, oldest first. Throws when a folder may not be read. */
export function recordedStarts({ blackbox, sealed }: BlackboxFolders): readonly RecordedStart[] {
  const live = new Map<string, string[]>();
  for (const name of namesIn(blackbox)) {
    // A writer with names of its own has the whole name for its start.
    const start = /^(.+?)-(?:events|kept|page)\b/.exec(name)?.[1] ?? name;
    live.set(start, [...(live.get(start) ?? []), join(blackbox, name)]);
  }
  const open = [...live].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [...sealedStarts(sealed), ...open.map(([name, paths]) => ({ name, live: true, paths }))];
}

/** Reads one start. Throws when a file may not be read; one that vanished meanwhile is passed over. */
export function readStart({ name, paths }: RecordedStart): StartReading {
  let damaged = 0;
  let page: PageReading | undefined;
  const events: BlackboxEvent[] = [];
  for (const path of paths) {
    const bytes = readTail(path);
    if (bytes === undefined) continue;
    if (path.endsWith(".bin")) {
      page = readPage(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)) ?? page;
      continue;
    }
    for (const line of bytes.toString("utf8").split("\n")) {
      if (line === "") continue;
      const event = parseEvent(line, name);
      if (event === undefined) damaged += 1;
      else events.push(event);
    }
  }
  return { events: orderEvents(events), damaged, page };
}

function sealedStarts(sealed: string): readonly RecordedStart[] {
  if (!existsSync(sealed)) return [];
  const names = readdirSync(sealed)
    .filter((name) => /^\d{6,}$/.test(name))
    .toSorted((a, b) => Number(a) - Number(b));
  return names.map((name) => {
    const folder = join(sealed, name);
    return { name, live: false, paths: namesIn(folder).map((each) => join(folder, each)) };
  });
}

/** Names of black box files in `folder`, sorted; at most `MAX_NAMES` entries are looked at. A folder that is not there has none. */
function namesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).slice(0, MAX_NAMES).filter(isBlackboxFile).toSorted();
}

/** A regular file of one name: a link would lead the reader to files that the bot may not read itself. */
function isPlain(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.nlink === 1;
}

/** `name` in `folder`, or the same with a number where that is taken: nothing sealed is ever replaced. */
function freeName(folder: string, name: string): string | undefined {
  const dot = name.lastIndexOf(".");
  for (let n = 0; n < MAX_NAMES; n += 1) {
    const path = join(folder, n === 0 ? name : `${name.slice(0, dot)}.${n}${name.slice(dot)}`);
    if (!existsSync(path)) return path;
  }
  return undefined;
}

/** The end of a plain file; `undefined` for what is gone or is none. */
function readTail(path: string): Buffer | undefined {
  if (!isPlain(path)) return undefined;
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = fstatSync(fd);
    const limit = path.endsWith(".bin") ? PAGE_BYTES : MAX_SEGMENT_BYTES;
    const from = Math.max(0, size - limit);
    const bytes = Buffer.alloc(Math.min(size, limit));
    let at = 0;
    while (at < bytes.length) {
      const read = readSync(fd, bytes, at, bytes.length - at, from + at);
      if (read === 0) break;
      at += read;
    }
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}
