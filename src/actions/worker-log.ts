/** The diagnostic log of a worker: NDJSON by pino on standard error, which the daemon keeps as `incidents/ID.log`. */
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

/** Opens the log on descriptor 2. Writing is synchronous, so that the last line before a SIGKILL is there; errors are ignored. */
export function openWorkerLog(): WorkerLog {
  const destination = pino.destination({ fd: 2, sync: true });
  destination.on("error", () => undefined);
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  return {
    call: (call) => logger.info(call, "venue call"),
    line: (text) => logger.info(text),
  };
}
