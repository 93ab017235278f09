/**
 * The action `archive-wal`: receives the WAL of a PostgreSQL server through its slot for as long as the daemon lives, and archives
 * each whole segment. The slot keeps at the server what has not been received, so a worker that dies loses nothing.
 */
import { writeSync } from "node:fs";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { walJobSchema, type WalJob } from "../../core/restore-job.ts";
import { gapsIn, type WalSegment } from "../../core/wal.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import type { PsqlSession } from "../../platform/psql.ts";
import { defineAction } from "../contract.ts";
import { failed, Failure } from "./failure.ts";
import { keepWal } from "./pg-base.ts";
import { openMaintenance } from "./pg-databases.ts";
import { openSession } from "./postgres.ts";
import { Repository } from "./repository.ts";
import { archivedBytes, type WalArchive } from "./wal-archive.ts";
import { WalCopier, type CopierOptions } from "./wal-copier.ts";
import { WalReceiver } from "./wal-receiver.ts";
import { newestOf, report, whenChanged } from "./wal-report.ts";
import { claimArchive, pruneAside, startOfBase, startsFor, type BaseStart } from "./wal-systems.ts";

/** Between two looks at what was received, and whether anybody still listens, ms. */
const ROUND_MS = 1_000;
/** Rounds between two reports of what the server keeps. */
const REPORT_ROUNDS = 5;
/** Rounds between two looks for segments that no base needs any more. */
const PRUNE_ROUNDS = 3_600;
/** The same where there is little room. */
const SHORT_PRUNE_ROUNDS = 60;
/** For the end of a request to a bucket, ms. */
const COPY_END_MS = 5_000;
/** Descriptor of our report: when nobody listens any more, the daemon is gone. */
const REPORT_FD = 3;

interface WalIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** Ends it in order; default: when nobody reads our report. */
  readonly signal?: AbortSignal;
  /** Default: 1 s. */
  readonly roundMs?: number;
  /** Between two sendings of what is still received; default: a minute. */
  readonly partialMs?: number;
}

export const walAction = defineAction({ jobSchema: walJobSchema, run: archiveWal });

/** Returns the exit code when the receiver or the server is gone, or nobody listens; never throws. */
export async function archiveWal(job: WalJob, io: WalIo): Promise<number> {
  const { target } = job;
  try {
    if (target.kind !== "postgres")
      throw new Failure("source", `${target.name} is of kind ${target.kind} and has no WAL`);
    const repository = new Repository(job.folder, target.name);
    if (!repository.isThere())
      throw new Failure(
        "source",
        `the folder ${repository.folder} is not there: make the first backup, or mount its disk`,
      );
    // Beside the target's database: a restore exchanges that one only while nobody is connected to it.
    const session = await openMaintenance(target).catch(() => openSession(target));
    try {
      const server = await serverOf(session);
      const { segmentBytes, systemId } = server;
      const claimed = await claimArchive(repository.folder, segmentBytes, systemId);
      if (claimed === undefined) throw new Failure("lock", `another process archives the WAL of ${target.name}`);
      try {
        const lost = (await keepWal(session, target.name)) === "lost";
        if (lost)
          io.write({
            kind: "walGap",
            text: "the server has thrown WAL away before it was received",
            needsBase: true,
          });
        const other = tellOther(claimed.former, basesOf(repository, segmentBytes), systemId, io);
        await receive(job, io, { session, archive: claimed.archive, repository, needsBase: lost || other, ...server });
      } finally {
        claimed.lock.release();
      }
    } finally {
      await session.close();
    }
    return BACKUP_EXIT.done;
  } catch (error) {
    return failed(error instanceof Failure ? error : Failure.of("source", error), io.write);
  }
}

interface ServerFacts {
  readonly version: string;
  readonly segmentBytes: number;
  /** As initdb gave it. */
  readonly systemId: string;
  /** Most WAL that it keeps for a slot, as its settings say it; `null`: as much as its disk takes. */
  readonly keeps: string | null;
}

async function serverOf(session: PsqlSession): Promise<ServerFacts> {
  const [facts] = await session.rows<ServerFacts>(
    `SELECT pg_catalog.current_setting('server_version') AS version,
     (SELECT setting::int8 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS "segmentBytes",
     (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS "systemId",
     NULLIF(pg_catalog.current_setting('max_slot_wal_keep_size', true), '-1') AS keeps`,
  );
  if (facts === undefined) throw new Error("the server tells nothing of itself");
  return facts;
}

interface Receiving extends ServerFacts {
  readonly session: PsqlSession;
  readonly archive: WalArchive;
  readonly repository: Repository;
  /** Nothing later can be recovered before there is another base. */
  readonly needsBase: boolean;
}

async function receive(
  job: WalJob,
  io: WalIo,
  { session, archive, repository, needsBase, version, segmentBytes, systemId, keeps }: Receiving,
): Promise<void> {
  const { target } = job;
  if (target.kind !== "postgres") return;
  const over = new AbortController();
  const receiver = new WalReceiver({
    target,
    archive,
    segmentBytes,
    version,
    keeps,
    write: io.write,
    clock: io.clock,
    onGone: () => over.abort(),
  });
  const ended = new AbortController();
  const stop = AbortSignal.any([over.signal, ended.signal, ...(io.signal === undefined ? [] : [io.signal])]);
  const copying = copyTo(job, io, { archive, segmentBytes, systemId, signal: stop });
  const reported = new Set<string>();
  const starts = (): readonly WalSegment[] => startsFor(basesOf(repository, segmentBytes), systemId);
  const known = whenChanged(repository, starts, io);
  // Until there is another one.
  const worthless = needsBase ? known().at(-1)?.name : null;
  let upTo: string | null = null;
  let heldBytes = archivedBytes(repository.folder);
  const watching = receiver.watch(stop);
  try {
    for (let round = 0; !stop.aborted && (io.signal !== undefined || isHeard()); round += 1) {
      // Safe: one round after the other, for as long as it lives.
      // oxlint-disable-next-line no-await-in-loop
      const archived = await archive.archive({
        compress: job.compress,
        recipients: job.recipients,
        now: () => io.clock.wallTime(),
      });
      // A base that cannot be read now may need any of it.
      heldBytes += archive.bytesOf(archived);
      if (
        round % (receiver.hasRoom ? PRUNE_ROUNDS : SHORT_PRUNE_ROUNDS) === 0 &&
        repository.list().damaged.length === 0
      ) {
        pruneOld(archive, starts());
        pruneAside(repository.folder, segmentBytes, systemId, basesOf(repository, segmentBytes));
        heldBytes = archivedBytes(repository.folder);
      }
      for (const [before, after] of gapsIn(archive.segments())) tellGap({ before, after }, starts, reported, io);
      if (archived.length > 0 || round % REPORT_ROUNDS === 0)
        upTo = await report(
          { session, archive, newest: newestOf(known(), worthless), upTo, paused: receiver.paused },
          target.name,
          { segments: archived.length, heldBytes },
          io,
        );
      await sleep(io.clock, io.roundMs ?? ROUND_MS, stop);
    }
    if (over.signal.aborted) throw new Failure("source", `pg_receivewal has ended: ${receiver.words}`);
  } finally {
    ended.abort();
    await watching;
    await receiver.end();
    // A request that waits for its store is left behind: it is tried again by whoever comes next.
    await Promise.race([copying, sleep(io.clock, COPY_END_MS)]);
  }
}

/** One for each bucket, side by side. */
async function copyTo(
  { target, copies, compress, recipients }: WalJob,
  { clock, write, roundMs, partialMs }: WalIo,
  common: Pick<CopierOptions, "archive" | "segmentBytes" | "systemId" | "signal">,
): Promise<void> {
  const packing = { compress, recipients, now: () => clock.wallTime() };
  const copiers = copies.map(
    (copy) => new WalCopier({ ...common, ...packing, ...copy, target: target.name, clock, write, roundMs, partialMs }),
  );
  await Promise.all(copiers.map((copier) => copier.run()));
}

interface Gap {
  readonly before: WalSegment;
  readonly after: WalSegment;
}

/** One that lies before the newest base is history: another base has closed it. */
function tellGap({ before, after }: Gap, starts: () => readonly WalSegment[], reported: Set<string>, io: WalIo): void {
  const key = `${before.name} ${after.name}`;
  if (reported.has(key)) return;
  reported.add(key);
  const newest = starts().at(-1);
  if (newest !== undefined && newest.number >= after.number) return;
  io.write({
    kind: "walGap",
    text: `the archive has no WAL between ${before.name} and ${after.name}: no instant between them can be restored, nor any later one from a base before`,
    needsBase: false,
  });
}

function basesOf(repository: Repository, segmentBytes: number): readonly BaseStart[] {
  const bases = repository.list().backups.filter(({ manifest }) => manifest.kind === "base");
  return bases.flatMap(({ manifest }) => startOfBase(manifest, segmentBytes) ?? []);
}

/** Whether a server was made anew at this address: what leads on from older bases ends here, and nothing of the new one can be recovered yet. */
function tellOther(
  former: string | undefined,
  bases: readonly BaseStart[],
  systemId: string,
  { write }: WalIo,
): boolean {
  const others = bases.length > 0 && bases.every((base) => base.systemId !== undefined && base.systemId !== systemId);
  if (former === undefined && !others) return false;
  const who = former ?? bases.at(-1)?.systemId ?? "";
  const text = `the server is another one than before (its system identifier is ${systemId}, it was ${who}): its WAL is kept apart, and the old one's stays as long as there are bases of it`;
  write({ kind: "walGap", text, needsBase: true });
  return true;
}

/** WAL before the oldest base leads nowhere. Nothing goes while there is no base. */
function pruneOld(archive: WalArchive, starts: readonly WalSegment[]): void {
  const [oldest] = starts;
  if (oldest !== undefined) archive.prune(oldest);
}

function isHeard(): boolean {
  try {
    writeSync(REPORT_FD, "\n");
    return true;
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "EAGAIN";
  }
}
