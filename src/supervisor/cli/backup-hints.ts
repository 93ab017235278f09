/** What is said of a deed on backups that failed, beside its reason: how much does not stand, and what a person does next. */
import { BACKUP_EXIT, type BackupLine, type STAGES } from "../../core/backup-job.ts";
import { EXIT } from "../../core/exit-code.ts";

interface Where {
  readonly target: string;
  readonly store: string;
  /** Copies lie there. */
  readonly bucket: boolean;
  /** In which it failed; `undefined`: the worker did not say. */
  readonly stage: (typeof STAGES)[number] | undefined;
}

/** `undefined`: the reason says it. */
export function nextStep(code: number, { target, store, bucket, stage }: Where): string | undefined {
  const list = `supervisor backup list ${target}`;
  switch (code) {
    case BACKUP_EXIT.source:
      return `mend what the reason names, and try again; supervisor doctor looks at disks and tools, ${list} at what is stored`;
    case BACKUP_EXIT.verification:
      return bucket
        ? `${list} shows which are whole; supervisor backup copy ${target} sends again what is damaged in ${store}`
        : `${list} shows which are whole, also in other stores; supervisor backup run ${target} makes another`;
    case BACKUP_EXIT.space:
      // The store did not take it, for another reason than want of room.
      if (stage !== undefined && stage !== "space")
        return `the folder of ${store} must be there, its disk mounted, and this user allowed to write to it; supervisor doctor looks at them`;
      return `make room; supervisor backup prune ${target} --dry-run shows what could go`;
    case BACKUP_EXIT.remote:
      return `what lies in the directories is good; supervisor backup copy ${target} tries it again`;
    case BACKUP_EXIT.busy:
      return "try again when that has ended";
    case EXIT.usage:
      return "supervisor config check shows what is missing";
    default:
      return undefined;
  }
}

export function stageOf(lines: readonly BackupLine[]): Where["stage"] {
  return lines.findLast((line) => line.kind === "failed")?.stage;
}

/** How many of the backups that were looked at do not stand; `undefined`: it was something else that failed. */
export function unprovenText(lines: readonly BackupLine[]): string | undefined {
  const looked = lines.filter((line) => line.kind === "verified");
  const bad = looked.filter(({ ok }) => !ok).length;
  if (bad === 0 || lines.some(({ kind }) => kind === "failed")) return undefined;
  if (looked.length === 1) return "the backup does not stand its verification";
  return `${bad} of ${looked.length} backups ${bad === 1 ? "does not stand its" : "do not stand their"} verification`;
}
