/** The bot's hand on its instrument page: what it is doing right now, readable when it hangs or is dead. Never throws. */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import {
  layOutPage,
  noteLoop,
  PAGE_BYTES,
  PAGE_TEXT_BYTES,
  writePageText,
  type Operation,
} from "../core/instrument-page.ts";

export interface InstrumentPanel {
  /** An operation begins; the returned function ends it, in whatever order operations end. */
  begin(name: string, detail?: string): () => void;
  /** The degradation level that the bot is at. */
  setLevel(level: string): void;
  /** The last error. */
  setError(text: string): void;
}

/** Operations shown; of more, the innermost count. */
const MAX_OPS = 16;
/** Longest name, detail or error on the page, characters. */
const MAX_CHARS = 100;
/** Time between two notes that the loop turns, ms. */
const LOOP_MS = 100;

/** Opens the page at `path`: memory shared with the file under Bun, one small write per change elsewhere. */
export function openInstruments(path: string): InstrumentPanel & { close(): void } {
  const page = openPage(path);
  if (page === undefined)
    return {
      begin: () => () => undefined,
      setLevel: () => undefined,
      setError: () => undefined,
      close: () => undefined,
    };
  const encoder = new TextEncoder();
  const ops: Operation[] = [];
  let level: string | undefined;
  let lastError: string | undefined;
  const show = (): void => {
    const text = encoder.encode(JSON.stringify({ ops: ops.slice(-MAX_OPS), level, lastError }));
    if (text.byteLength > PAGE_TEXT_BYTES) return;
    writePageText(page.view, text);
    page.flush();
  };
  layOutPage(page.view);
  const loop = setInterval(() => {
    noteLoop(page.view, Date.now());
    page.flush();
  }, LOOP_MS);
  loop.unref();
  show();
  return {
    begin(name, detail) {
      const op = { name: short(name), since: Date.now(), ...(detail === undefined ? {} : { detail: short(detail) }) };
      ops.push(op);
      show();
      return () => {
        const at = ops.indexOf(op);
        if (at < 0) return;
        ops.splice(at, 1);
        show();
      };
    },
    setLevel(text) {
      level = short(text);
      show();
    },
    setError(text) {
      lastError = short(text);
      show();
    },
    close() {
      clearInterval(loop);
      page.close();
    },
  };
}

interface Page {
  readonly view: DataView;
  /** Brings the view to the file where it is not the file itself. */
  flush(): void;
  close(): void;
}

function openPage(path: string): Page | undefined {
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    // Written, not only made long enough: touching a hole of a mapped file while the disk is full is a SIGBUS.
    if (writeSync(fd, new Uint8Array(PAGE_BYTES), 0, PAGE_BYTES, 0) !== PAGE_BYTES) return undefined;
    return mapPage(path, fd) ?? writtenPage(fd);
  } catch {
    return undefined;
  }
}

/** Shared memory: a change costs no system call, and outlives the process as the file does. */
function mapPage(path: string, fd: number): Page | undefined {
  // Elsewhere than under Bun there is no such global.
  if (typeof Bun === "undefined") return undefined;
  const bytes = Bun.mmap(path, { shared: true });
  closeSync(fd);
  return {
    view: new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES),
    flush: () => undefined,
    close: () => undefined,
  };
}

function writtenPage(fd: number): Page {
  const bytes = new Uint8Array(PAGE_BYTES);
  let open = true;
  return {
    view: new DataView(bytes.buffer),
    flush() {
      if (!open) return;
      try {
        writeSync(fd, bytes, 0, PAGE_BYTES, 0);
      } catch {
        // The page is a help for the reader, never a reason to fail.
      }
    },
    close() {
      open = false;
      closeSync(fd);
    },
  };
}

function short(text: string): string {
  return text.length <= MAX_CHARS ? text : `${text.slice(0, MAX_CHARS - 1)}…`;
}
