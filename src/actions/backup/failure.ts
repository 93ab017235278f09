/** A failed backup: in which stage, why, and what the worker's exit code says. */
import { NotJudgedError } from "../../core/not-judged.ts";
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

  /** A full disk is one in whatever stage it shows, and what could not be judged is no fault of what was to be. */
  static of(stage: Stage, cause: unknown): Failure {
    const shown = isFullDisk(cause) ? "space" : isNotJudged(cause) ? "source" : stage;
    return new Failure(shown, wordsOf(cause), { cause });
  }

  /** Of a proof that could not be made; `undefined`: what was thrown is the outcome of one. */
  static ofProof(cause: unknown): Failure | undefined {
    if (cause instanceof Failure && cause.stage !== "verify") return cause;
    return isFullDisk(cause) || isNotJudged(cause) ? Failure.of("source", cause) : undefined;
  }
}

/** What is looked for and not there is named in words; whoever knows more says more. */
function wordsOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const path = "code" in cause && cause.code === "ENOENT" && "path" in cause ? cause.path : undefined;
  return typeof path === "string" ? `there is no ${path}` : cause.message;
}

const FULL_CODES: readonly unknown[] = ["ENOSPC", "EDQUOT", "SQLITE_FULL"];
/** As strerror(3) has it, in the words of a program that we ran. */
const FULL_WORDS = /No space left on device|Disk quota exceeded/;
/** A cause has one of its own, and so on. */
const MAX_CAUSES = 8;

function isFullDisk(cause: unknown): boolean {
  return causesOf(cause).some(
    (each) =>
      (each instanceof Failure && each.stage === "space") ||
      ("code" in each && FULL_CODES.includes(each.code)) ||
      FULL_WORDS.test(each.message),
  );
}

function isNotJudged(cause: unknown): boolean {
  return causesOf(cause).some((each) => each instanceof NotJudgedError);
}

function causesOf(cause: unknown): readonly Error[] {
  const causes: Error[] = [];
  for (let each = cause; each instanceof Error && causes.length < MAX_CAUSES; each = each.cause) causes.push(each);
  return causes;
}

/** Tells the failure and returns the exit code of its stage. */
export function failed(error: unknown, write: (line: BackupLine) => void): number {
  const failure = Failure.from(error);
  write({ kind: "failed", stage: failure.stage, reason: failure.message });
  return EXIT_OF_STAGE[failure.stage];
}
