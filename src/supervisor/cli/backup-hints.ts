/** What is said of a deed on backups that failed, beside its reason: how much does not stand, and what a person does next. */
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { EXIT } from "../../core/exit-code.ts";

interface Where {
  readonly target: string;
  readonly store: string;
  /** Copies lie there. */
  readonly bucket: boolean;
}

/** `undefined`: the reason says it. */
export function nextStep(code: number, { target, store, bucket }: Where): string | undefined {
  const list = `supervisor backup list ${target}`;
  switch (code) {
    case BACKUP_EXIT.source:
      return `mend what the reason names, and try again; supervisor doctor looks at disks and tools, ${list} at what is stored`;
    case BACKUP_EXIT.verification:
      return bucket
        ? `${list} shows which are whole; supervisor backup copy ${target} sends again what is damaged in ${store}`
        : `${list} shows which are whole, also in other stores; supervisor backup run ${target} makes another`;
    case BACKUP_EXIT.space:
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

/** How many of the backups that were looked at do not stand; `undefined`: it was something else that failed. */
export function unprovenText(lines: readonly BackupLine[]): string | undefined {
  const looked = lines.filter((line) => line.kind === "verified");
  const bad = looked.filter(({ ok }) => !ok).length;
  if (bad === 0 || lines.some(({ kind }) => kind === "failed")) return undefined;
  if (looked.length === 1) return "the backup does not stand its verification";
  return `${bad} of ${looked.length} backups ${bad === 1 ? "does not stand its" : "do not stand their"} verification`;
}
