/** A run that need not copy its source: the newest backup holds what the source has, and is proven again instead. */
import type { BackupJob, BackupLine } from "../../core/backup-job.ts";
import { withVerification } from "../../core/backup-manifest.ts";
import type { BackupRecord } from "../../core/backup-record.ts";
import { backupOfNow } from "../../core/backup-unchanged.ts";
import { sizesOf } from "../../core/pgbackrest.ts";
import type { Clock } from "../../platform/clock.ts";
import { findBasis } from "./basis.ts";
import type { Repository, StoredBackup } from "./repository.ts";
import { verifyBackup } from "./verify.ts";

/** A step of such a run that has just been done; tests end the process there. */
export const UNCHANGED_STEPS = ["seen", "proven", "noted"] as const;
export type UnchangedStep = (typeof UNCHANGED_STEPS)[number];

interface UnchangedIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  readonly onStep?: (step: UnchangedStep) => void;
}

interface Marked {
  /** Of the source; `undefined`: none could be taken. */
  readonly mark: string | undefined;
  /** Just before it was taken. */
  readonly at: Date;
  readonly startedMs: number;
}

/**
 * The success of a run that found its source unchanged; `undefined`: a backup must be made, since there is another mark, or the
 * one that is there does not stand its verification and is remembered as damaged. Throws `Failure` when it cannot be verified.
 */
export async function proveUnchanged(
  job: BackupJob,
  repository: Repository,
  { mark, at, startedMs }: Marked,
  io: UnchangedIo,
): Promise<NonNullable<BackupRecord["lastSuccess"]> | undefined> {
  const { incremental, verify: level } = job;
  const found = backupOfNow(repository.list().backups, { mark, incremental, now: at.toISOString() });
  if (found === undefined || !isComplete(found, repository)) return undefined;
  const { id, folder, manifest, state } = found;
  io.onStep?.("seen");
  const { identity } = job;
  const scratch = repository.folder;
  const verification = await verifyBackup({ folder, manifest, level, scratch, identity, clock: io.clock });
  io.onStep?.("proven");
  const now = withVerification(state, verification);
  if (!verification.ok) {
    repository.writeState(id, now);
    const { detail } = verification;
    io.write({ kind: "alarm", text: `${id} does not stand ${level} any more (${detail}): another backup is made` });
    return undefined;
  }
  const unchangedAt = at.toISOString();
  repository.writeState(id, { ...now, unchangedAt });
  io.onStep?.("noted");
  const { snapshotAt } = manifest;
  const durationMs = Math.round(io.clock.monotonicMs() - startedMs);
  io.write({ kind: "unchanged", id, snapshotAt, unchangedAt, durationMs, level });
  return {
    at: io.clock.wallTime().toISOString(),
    id,
    snapshotAt,
    unchangedAt,
    durationMs,
    ...sizesOf(manifest),
    level,
  };
}

/** The verification of a delta reads its own bytes alone: what it was made against must be as another one would need it. */
function isComplete({ manifest }: StoredBackup, repository: Repository): boolean {
  if (manifest.base === null) return true;
  const basis = findBasis(repository);
  return typeof basis !== "string" && basis.id === manifest.base;
}
