/** The action `export-backup`: writes a backup as one plain file, packed by the file's name, readable without this program. */
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { exportJobSchema, formatOf, type ExportJob } from "../../core/restore-job.ts";
import { syncDir } from "../../platform/files.ts";
import { newestProgram } from "../../platform/postgres-tools.ts";
import { outputOf } from "../../platform/program-pipe.ts";
import { defineAction } from "../contract.ts";
import { release } from "./collect.ts";
import { packedFrames } from "./encode.ts";
import { failed, Failure } from "./failure.ts";
import { AOF_NAME } from "./redis-aof.ts";
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
    if (!isThere(dirname(file)))
      throw new Failure("store", `there is no folder ${dirname(file)}; make it, or name another file`);
    try {
      const rawBytes = await writePacked(plainStream(reading, file), temporary, compress);
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

function compressionOf(file: string, { holds: kind, label, rawName }: Reading): "gzip" | "zstd" | "none" {
  const format = formatOf(basename(file));
  // An append-only file is several: a dump's name would lead whoever reads it astray.
  const holds = rawName === AOF_NAME ? "tar" : kind;
  const ending = ENDINGS[holds];
  if (format === undefined || format.holds !== holds || format.openssl)
    throw new Failure(
      "source",
      `${label} is written to a file that ends in ${ending}, then .gz or .zst to pack it, not to ${file}`,
    );
  return format.compress;
}

const ENDINGS: Readonly<Record<Reading["holds"], string>> = {
  sqlite: ".db",
  tar: ".tar",
  postgres: ".dump or .sql",
  redis: ".rdb",
};

/** A dump as the statements that it makes, where the file's name ends so. */
function plainStream({ holds, open }: Reading, file: string): AsyncIterable<Uint8Array> {
  if (holds !== "postgres" || !/\.sql(\.|$)/.test(basename(file))) return open();
  return outputOf({ command: [newestProgram("pg_restore"), "-f", "-"], env: { LC_ALL: "C" } }, open());
}

async function writePacked(
  raw: AsyncIterable<Uint8Array>,
  path: string,
  compress: "gzip" | "zstd" | "none",
): Promise<number> {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  let rawBytes = 0;
  try {
    const frames = packedFrames(raw, compress, (frame) => {
      rawBytes += frame.length;
    });
    for await (const packed of frames) {
      for (let at = 0; at < packed.length;) at += writeSync(fd, packed, at);
      release(packed);
    }
    fsyncSync(fd);
    return rawBytes;
  } catch (cause) {
    throw Failure.of("verify", cause);
  } finally {
    closeSync(fd);
  }
}
