/** How a close speaks to whoever started it. */
import type { Unwritten, WorkerLine } from "../core/close-job.ts";
import { waitsText } from "../core/venue-error.ts";
import type { VenueFailure } from "../core/venue-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { VenueCall } from "./worker-log.ts";

/** 200 lines stay below the 64 KiB that a pipe holds when nobody reads. */
const MAX_PROGRESS_LINES = 200;
const MAX_PROGRESS_CHARS = 200;

export interface CloseIo {
  /** Gets `progress` lines; the result is returned. At most 200, each below 300 bytes, so that a reader that sleeps fills no pipe. */
  readonly progress: (line: WorkerLine) => void;
  readonly clock: Clock;
  /** Told of each request to the venue, for the worker's log. */
  readonly onCall?: (call: VenueCall) => void;
  /** Told at the end of a run that had a journal what the disk has not taken of it. */
  readonly onUnwritten?: (unwritten: Unwritten) => void;
  /** Aborted: the round that runs is finished, then the close reports what is left. */
  readonly signal?: AbortSignal;
}

export type Teller = (state: "fencing" | "closing" | "quiet", text: string) => void;

/** Progress lines, bounded in number and length. */
export function createTeller(io: CloseIo): Teller {
  let left = MAX_PROGRESS_LINES;
  return (state, text) => {
    if (left === 0) return;
    left -= 1;
    io.progress({ kind: "progress", state, text: text.slice(0, MAX_PROGRESS_CHARS) });
  };
}

/** Characters of journal lines in one line to whoever started the close: well below the longest that is read, quotes escaped. */
const MAX_HANDED_CHARS = 262_144;

/** What the disk has not taken, in pieces that a reader takes; at least one, which says that it has taken all. */
export function piecesOf({ lines, report }: Unwritten): Unwritten[] {
  const pieces: { lines: string[]; report: boolean }[] = [{ lines: [], report }];
  let chars = 0;
  for (const line of lines) {
    if (chars > 0 && chars + line.length > MAX_HANDED_CHARS) {
      pieces.push({ lines: [], report });
      chars = 0;
    }
    pieces.at(-1)?.lines.push(line);
    chars += line.length;
  }
  return pieces;
}

/** Of the lines above: a venue that answers every other call must not take those of the orders. */
const MAX_REACH_LINES = 50;

/** Says that the venue cannot be read: once for each reason, and again after it was read in between. */
export function createReachTeller(
  tell: (state: "closing", text: string) => void,
): (failures: readonly VenueFailure[]) => void {
  let last: string | undefined;
  let left = MAX_REACH_LINES;
  return (failures) => {
    const text = waitsText(failures);
    if (text !== undefined && text !== last && left > 0) {
      left -= 1;
      tell("closing", `${text}; trying again`);
    }
    last = text;
  };
}
