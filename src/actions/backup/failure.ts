/** A failed backup: in which stage, why, and what the worker's exit code says. */
import { BACKUP_EXIT, type BackupLine, type STAGES } from "../../core/backup-job.ts";

export type Stage = (typeof STAGES)[number];

const EXIT_OF_STAGE: Readonly<Record<Stage, number>> = {
  lock: BACKUP_EXIT.busy,
  source: BACKUP_EXIT.source,
  space: BACKUP_EXIT.space,
  store: BACKUP_EXIT.space,
  verify: BACKUP_EXIT.verification,
  publish: BACKUP_EXIT.space,
  prune: BACKUP_EXIT.space,
  bots: BACKUP_EXIT.source,
  swap: BACKUP_EXIT.rolledBack,
  remote: BACKUP_EXIT.remote,
};

export class Failure extends Error {
  readonly stage: Stage;

  constructor(stage: Stage, message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.stage = stage;
  }

  /** What was thrown where no stage is known: while the backup was being stored. */
  static from(error: unknown): Failure {
    return error instanceof Failure ? error : Failure.of("store", error);
  }

  /** A full disk is one in whatever stage it shows. */
  static of(stage: Stage, cause: unknown): Failure {
    const full = cause instanceof Error && "code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT");
    return new Failure(full ? "space" : stage, cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** Tells the failure and returns the exit code of its stage. */
export function failed(error: unknown, write: (line: BackupLine) => void): number {
  const failure = Failure.from(error);
  write({ kind: "failed", stage: failure.stage, reason: failure.message });
  return EXIT_OF_STAGE[failure.stage];
}
