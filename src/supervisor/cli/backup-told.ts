/** What the worker of a backup, a proof or a copy tells, as lines for people. */
import type { BackupLine } from "../../core/backup-job.ts";
import { formatSize } from "../../core/size.ts";
import type { Place } from "../runtime/backup-run.ts";
import type { CliIo } from "./verb.ts";

export function tellLine({ target, store }: Place, line: BackupLine, io: CliIo): void {
  switch (line.kind) {
    case "stored":
      io.out(
        `${target}: ${line.id} in ${store}, ${formatSize(line.rawBytes)} stored as ${formatSize(line.storedBytes)} in ${(line.durationMs / 1_000).toFixed(1)} s, stands ${line.level}`,
      );
      break;
    case "verified":
      io.out(
        `${line.id}: ${line.ok ? `stands ${line.level}${line.detail === null ? "" : `, but ${line.detail}`}` : `DOES NOT STAND ${line.level}: ${line.detail}`}`,
      );
      for (const { name, ok, text } of line.checks ?? []) io.out(`  ${ok ? "ok  " : "FAIL"}  ${name}: ${text}`);
      break;
    case "verdict":
      io.out(`${line.keep ? "keep  " : "delete"}  ${line.id}  ${line.reason}`);
      break;
    case "pruned":
      io.out(`${target}: ${line.ids.length} deleted in ${store}`);
      break;
    case "copied":
      io.out(
        `${target}: ${line.id} is copied to ${store}, ${formatSize(line.sentBytes)} sent in ${(line.durationMs / 1_000).toFixed(1)} s`,
      );
      break;
    case "note":
    case "alarm":
      io.out(`${target}: ${line.text}`);
      break;
    case "unchanged": // of the schedule alone
    case "progress":
    case "failed":
    case "step":
    case "restored":
    case "exported":
    case "found":
    case "fetched":
    case "settled":
    case "drilled":
    case "wal":
    case "walGap":
    case "walCopied":
      break;
  }
}
