/**
 * The bot's black box recorder: each event is one line, written by one system call at once, so that a SIGKILL right after
 * `record()` has returned loses nothing. It never throws and never waits for a disk; what cannot be written is counted.
 */
import { closeSync, constants, fdatasync, mkdirSync, openSync, readdirSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  BLACKBOX_VERSION,
  bootName,
  pageName,
  recorderOf,
  segmentName,
  segmentsOf,
  type Recorder,
  type Severity,
} from "../core/blackbox.ts";
import { openInstruments, type InstrumentPanel } from "./instruments.ts";

export interface RecordOptions {
  /** Default `info`; `warn` and `error` go to the protected recorder. */
  readonly sev?: Severity;
  /** Part of the bot that speaks, for example `exec`. */
  readonly comp?: string;
  /** For people. */
  readonly msg?: string;
  /** Forces the recorder instead of choosing it by type and severity. */
  readonly recorder?: Recorder;
}

export interface BlackboxOptions {
  /** Size from which on a segment is followed by the next, bytes; default 4 MiB. */
  readonly segmentBytes?: number;
  /** Segments that each recorder keeps; default 8. The oldest goes first. */
  readonly segments?: number;
}

export interface Blackbox extends InstrumentPanel {
  /** False where the environment names no folder or it cannot be used: then everything else does nothing. */
  readonly active: boolean;
  /** Events that could not be written, since the start. */
  readonly dropped: number;
  /** Records one event. `data` is whatever JSON can hold. */
  record(type: string, data?: unknown, options?: RecordOptions): void;
  /** Gives the files back; later events are dropped without being counted. */
  close(): void;
}

const SEGMENT_BYTES = 4 * 1_048_576;
const SEGMENTS = 8;
/** Longest line, bytes: an event is a note, not a dump. The data of a longer one is left out, and its size noted. */
const MAX_LINE_BYTES = 64 * 1_024;
/** Written events are forced to the disk this much later at the latest, ms; those of the protected recorder at once. */
const SYNC_MS = 1_000;
/** After a failed write it is tried again with the first event after this time, ms: a full disk lasts. */
const RETRY_MS = 1_000;

/** Opens the black box that the supervisor's environment names (`SUPERVISOR_BLACKBOX_DIR`); without one it does nothing. */
export function createBlackbox(
  env: Readonly<Record<string, string | undefined>>,
  options: BlackboxOptions = {},
): Blackbox {
  const folder = env["SUPERVISOR_BLACKBOX_DIR"];
  if (folder === undefined || folder === "") return inactive;
  const boot = bootName(Number(env["SUPERVISOR_GENERATION"] ?? 0), env["INVOCATION_ID"] ?? String(process.pid));
  return new Recording(folder, boot, options);
}

const inactive: Blackbox = {
  active: false,
  dropped: 0,
  record: () => undefined,
  begin: () => () => undefined,
  setLevel: () => undefined,
  setError: () => undefined,
  close: () => undefined,
};

class Recording implements Blackbox {
  readonly active = true;
  readonly #tracks: Readonly<Record<Recorder, Track>>;
  readonly #panel: InstrumentPanel & { close(): void };
  readonly #head: string;
  #seq = 0;
  #closed = false;

  constructor(folder: string, boot: string, options: BlackboxOptions) {
    try {
      // The supervisor has made it; a bot that runs by itself makes its own.
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch {
      // Each write then fails and is counted.
    }
    this.#tracks = {
      events: new Track(folder, boot, "events", options),
      kept: new Track(folder, boot, "kept", options),
    };
    this.#panel = openInstruments(join(folder, pageName(boot)));
    this.#head = `,"boot":${JSON.stringify(boot)},"type":`;
  }

  get dropped(): number {
    return this.#tracks.events.dropped + this.#tracks.kept.dropped;
  }

  record(type: string, data?: unknown, options: RecordOptions = {}): void {
    if (this.#closed) return;
    const { sev = "info", comp, msg, recorder = recorderOf(type, sev) } = options;
    this.#seq += 1;
    const start = `{"v":${BLACKBOX_VERSION},"seq":${this.#seq},"ts":${Date.now()},"mono":${Math.round(performance.now() * 1_000)}`;
    let text = `${start}${this.#head}${JSON.stringify(type)},"sev":"${sev}"`;
    if (comp !== undefined) text += `,"comp":${JSON.stringify(comp)}`;
    if (msg !== undefined) text += `,"msg":${JSON.stringify(msg)}`;
    const more = data === undefined ? "" : `,"data":${jsonOf(data)}`;
    const whole = text.length + more.length < MAX_LINE_BYTES;
    this.#tracks[recorder].write(`${text}${whole ? more : `,"data":{"omittedCharacters":${more.length}}`}}\n`);
    if (sev === "error") this.#panel.setError(msg ?? type);
  }

  begin(name: string, detail?: string): () => void {
    return this.#panel.begin(name, detail);
  }

  setLevel(level: string): void {
    this.#panel.setLevel(level);
  }

  setError(text: string): void {
    this.#panel.setError(text);
  }

  close(): void {
    this.#closed = true;
    this.#tracks.events.close();
    this.#tracks.kept.close();
    this.#panel.close();
  }
}

/** The segments of one recorder. */
class Track {
  readonly #folder: string;
  readonly #boot: string;
  readonly #recorder: Recorder;
  readonly #segmentBytes: number;
  readonly #segments: number;
  #fd: number | undefined;
  #bytes = 0;
  #index = 0;
  #retryAt = 0;
  #unsaid = 0;
  #syncing = false;
  #dirty = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  dropped = 0;

  constructor(folder: string, boot: string, recorder: Recorder, options: BlackboxOptions) {
    this.#folder = folder;
    this.#boot = boot;
    this.#recorder = recorder;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#segments = Math.max(2, options.segments ?? SEGMENTS);
  }

  write(line: string): void {
    try {
      if (this.#fd === undefined || this.#bytes >= this.#segmentBytes) this.#next();
      if (this.#unsaid > 0) this.#sayDropped();
      this.#append(line);
      this.#syncSoon();
    } catch {
      this.dropped += 1;
      this.#unsaid += 1;
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
  }

  #append(line: string): void {
    if (this.#fd === undefined) throw new Error("no segment is open");
    const written = writeSync(this.#fd, line);
    this.#bytes += written;
    // A disk that is full in the middle of a line: the next line begins on one of its own, and the reader skips the torn one.
    if (written === Buffer.byteLength(line)) return;
    this.#bytes = Number.POSITIVE_INFINITY;
    throw new Error("the disk took a part of the line");
  }

  /** The next segment; the oldest of this recorder make room, also those that earlier starts have left. */
  #next(): void {
    const now = Date.now();
    if (now < this.#retryAt) throw new Error("a write has just failed");
    this.#retryAt = now + RETRY_MS;
    if (this.#fd !== undefined) {
      closeQuietly(this.#fd);
      this.#fd = undefined;
    }
    const present = segmentsOf(readdirSync(this.#folder), this.#recorder);
    for (const old of present.slice(0, Math.max(0, present.length - this.#segments + 1)))
      unlinkSync(join(this.#folder, old));
    this.#index += 1;
    const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
    this.#fd = openSync(join(this.#folder, segmentName(this.#boot, this.#recorder, this.#index)), flags, 0o600);
    this.#bytes = 0;
    this.#retryAt = 0;
  }

  #sayDropped(): void {
    const at = `"ts":${Date.now()},"boot":${JSON.stringify(this.#boot)}`;
    this.#append(
      `{"v":${BLACKBOX_VERSION},${at},"type":"blackbox.dropped","sev":"warn","data":{"n":${this.#unsaid}}}\n`,
    );
    this.#unsaid = 0;
  }

  /** In a thread of the runtime: the bot's loop never waits for the disk. */
  #syncSoon(): void {
    this.#dirty = true;
    if (this.#recorder === "kept") return this.#sync();
    if (this.#timer !== undefined) return undefined;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sync();
    }, SYNC_MS);
    this.#timer.unref();
    return undefined;
  }

  #sync(): void {
    if (this.#syncing || this.#fd === undefined) return;
    this.#syncing = true;
    this.#dirty = false;
    fdatasync(this.#fd, () => {
      this.#syncing = false;
      // What was written meanwhile is not part of it.
      if (this.#dirty && this.#recorder === "kept") this.#sync();
    });
  }
}

function jsonOf(data: unknown): string {
  try {
    // What JSON has no word for, as a function, is `undefined`.
    return JSON.stringify(data) ?? "null";
  } catch (error) {
    return JSON.stringify({ unserializable: error instanceof Error ? error.message : String(error) });
  }
}

function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // Nothing more can be done for a descriptor that does not close.
  }
}
