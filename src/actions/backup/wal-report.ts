/** What the worker that archives WAL tells each few seconds: what is not here yet, what is missing for good, and until when everything can be recovered. */
import { statSync } from "node:fs";
import type { BackupLine } from "../../core/backup-job.ts";
import { countGaps, type WalSegment, slotName } from "../../core/wal.ts";
import type { Clock } from "../../platform/clock.ts";
import { quoteText, type PsqlSession } from "../../platform/psql.ts";
import { Failure } from "./failure.ts";
import type { Repository } from "./repository.ts";
import type { WalArchive } from "./wal-archive.ts";

interface ReportIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

/** Where the newest base begins; `undefined`: there is none. */
type Newest = WalSegment | "lost" | undefined;

/** A change within so long of the last look may have come after it: the clock of a file system has steps. */
const SETTLED_MS = 1_000;

/** Where the bases begin, read again when something has come to the repository or gone: a listing reads every manifest. */
export function whenChanged(
  { folder }: Repository,
  starts: () => readonly WalSegment[],
  { clock }: ReportIo,
): () => readonly WalSegment[] {
  let settled: { readonly changedMs: number; readonly starts: readonly WalSegment[] } | undefined;
  return () => {
    const changedMs = statSync(folder, { throwIfNoEntry: false })?.mtimeMs;
    if (settled !== undefined && settled.changedMs === changedMs) return settled.starts;
    const found = starts();
    const isSettled = changedMs !== undefined && clock.wallTime().getTime() - changedMs > SETTLED_MS;
    settled = isSettled ? { changedMs, starts: found } : undefined;
    return found;
  };
}

/** "lost": what follows it is missing for good, before it is seen in the archive. `worthless`: name of one of which that is known, or null. */
export function newestOf(starts: readonly WalSegment[], worthless: string | null | undefined): Newest {
  const newest = starts.at(-1);
  return worthless !== null && newest?.name === worthless ? "lost" : newest;
}

interface Reported {
  readonly session: PsqlSession;
  readonly archive: WalArchive;
  readonly newest: Newest;
  /** Until when everything could be recovered by the report before; `null`: nobody knew. */
  readonly upTo: string | null;
  /** Nothing is received for want of room. */
  readonly paused: boolean;
}

/** Returns until when everything can be recovered now. Throws when the server has given the slot up. */
export async function report(
  { session, archive, newest, upTo, paused }: Reported,
  target: string,
  { segments: archived, heldBytes: archivedBytes }: { readonly segments: number; readonly heldBytes: number },
  io: ReportIo,
): Promise<string | null> {
  const askedAt = io.clock.wallTime().toISOString();
  const slot = await slotOf(session, target);
  const retainedBytes = Math.max(0, slot?.retained ?? 0);
  const lagBytes = slot?.lag == null ? null : Math.max(0, slot.lag);
  const segments = archive.segments();
  const gaps = newest === "lost" ? 1 : newest === undefined ? 0 : countGaps(archive.reached(), newest.number);
  // What was committed before we asked has been received where nothing is on its way. A standby may itself wait for its primary.
  const received = lagBytes === 0 && slot?.standby === false ? askedAt : laterOf(upTo, receivedAt(archive));
  const recoverableTo = gaps > 0 || newest === undefined ? null : received;
  const last = segments.at(-1)?.name ?? null;
  io.write({ kind: "wal", retainedBytes, lagBytes, archived, archivedBytes, last, gaps, recoverableTo, paused });
  if (slot === undefined || slot.status === "lost")
    throw new Failure("source", "the replication slot is gone or lost; it is made again");
  return recoverableTo;
}

/** Of two times as `toISOString` writes them. */
function laterOf(a: string | null, b: string | null): string | null {
  return a === null || (b !== null && b > a) ? b : a;
}

/** When something was last written to the segment that is being received. */
function receivedAt(archive: WalArchive): string | null {
  const receiving = archive.receiving();
  return receiving === undefined ? null : new Date(receiving.changedMs).toISOString();
}

interface Slot {
  readonly retained: number;
  readonly lag: number | null;
  readonly status: string | null;
  readonly standby: boolean;
}

async function slotOf(session: PsqlSession, target: string): Promise<Slot | undefined> {
  const [slot] = await session.rows<Slot>(
    `SELECT pg_catalog.pg_wal_lsn_diff(now.lsn, slot.restart_lsn)::int8 AS retained,
     pg_catalog.pg_wal_lsn_diff(now.lsn, COALESCE(receiver.flush_lsn, slot.restart_lsn))::int8 AS lag, slot.wal_status AS status,
     pg_catalog.pg_is_in_recovery() AS standby
     FROM pg_catalog.pg_replication_slots slot
     LEFT JOIN pg_catalog.pg_stat_replication receiver ON receiver.pid = slot.active_pid
     CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) now
     WHERE slot.slot_name = ${quoteText(slotName(target))}`,
  );
  return slot;
}
