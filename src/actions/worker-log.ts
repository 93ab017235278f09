/** The diagnostic log of a worker: NDJSON by pino on standard error, which the daemon keeps as `incidents/ID.log`. */
import { fstatSync } from "node:fs";
import pino from "pino";

/** One request to a venue, without query, body, headers or key: nothing in it is secret. */
export interface VenueCall {
  readonly method: string;
  readonly path: string;
  /** HTTP status, or why there was none. */
  readonly outcome: number | string;
  readonly ms: number;
}

export interface WorkerLog {
  readonly call: (call: VenueCall) => void;
  readonly line: (text: string) => void;
}

/** Lines of one run, of about 130 bytes: some minutes of a close, or all of an ordinary one. */
const MAX_LINES = 2_000;
/** The runs of one incident share a file, and it is never emptied, for its beginning tells most: from this size on a run says only that it is full. */
const MAX_FILE_BYTES = 8 * 1_048_576;

/**
 * Opens the log on `fd`. At most 2 000 lines, and one that says so. Writing is synchronous, so that the last line before
 * a SIGKILL is there; errors are ignored.
 */
export function openWorkerLog(fd = 2): WorkerLog {
  const destination = pino.destination({ fd, sync: true });
  destination.on("error", () => undefined);
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  let left = isFull(fd) ? 0 : MAX_LINES;
  const admit = (): boolean => {
    left -= 1;
    if (left === -1) logger.info("further calls are not logged");
    return left >= 0;
  };
  return {
    call: (call) => void (admit() && logger.info(call, "venue call")),
    line: (text) => void (admit() && logger.info(text)),
  };
}

function isFull(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isFile() && stat.size >= MAX_FILE_BYTES;
  } catch {
    return false;
  }
}
