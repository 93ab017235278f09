/** The action `export-backup`: writes a backup as one plain file, packed by the file's name, readable without this program. */
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { exportJobSchema, formatOf, type ExportJob } from "../../core/restore-job.ts";
import { syncDir } from "../../platform/files.ts";
import { defineAction } from "../contract.ts";
import { inFrames, pack } from "./encode.ts";
import { failed, Failure } from "./failure.ts";
import { openReading, type Reading } from "./reading.ts";
import { isThere } from "./restore-journal.ts";

interface ExportIo {
  readonly write: (line: BackupLine) => void;
}

export const exportAction = defineAction({ jobSchema: exportJobSchema, run: exportBackup });

/** Returns the exit code; never throws. A file that is there is never replaced. */
export async function exportBackup(job: ExportJob, io: ExportIo): Promise<number> {
  const { file } = job;
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  try {
    const reading = openReading(job.from, job.target.name, job);
    const compress = compressionOf(file, reading);
    if (isThere(file)) throw new Failure("source", `${file} is there already; name another file`);
    try {
      const rawBytes = await writePacked(reading, temporary, compress);
      renameSync(temporary, file);
      syncDir(dirname(file));
      io.write({ kind: "exported", file, rawBytes });
    } finally {
      rmSync(temporary, { force: true });
    }
    return BACKUP_EXIT.done;
  } catch (error) {
    return failed(error, io.write);
  }
}

function compressionOf(file: string, { holds, label }: Reading): "gzip" | "zstd" | "none" {
  const format = formatOf(basename(file));
  const ending = holds === "sqlite" ? ".db" : ".tar";
  if (format === undefined || format.holds !== holds || format.openssl)
    throw new Failure(
      "source",
      `${label} is written to a file that ends in ${ending}, ${ending}.gz or ${ending}.zst, not to ${file}`,
    );
  return format.compress;
}

async function writePacked(reading: Reading, path: string, compress: "gzip" | "zstd" | "none"): Promise<number> {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  let rawBytes = 0;
  try {
    for await (const frame of inFrames(reading.open())) {
      rawBytes += frame.length;
      const packed = pack(frame, compress);
      for (let at = 0; at < packed.length;) at += writeSync(fd, packed, at);
    }
    fsyncSync(fd);
    return rawBytes;
  } catch (cause) {
    throw Failure.of("verify", cause);
  } finally {
    closeSync(fd);
  }
}
