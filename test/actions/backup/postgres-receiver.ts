/** The worker that archives WAL, in this process, for tests. */
import { archiveWal } from "../../../src/actions/backup/archive-wal.ts";
import type { BackupLine, JobTarget } from "../../../src/core/backup-job.ts";
import type { WalJob } from "../../../src/core/restore-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { until as untilIn } from "../../platform/until.ts";
import type { PgRig } from "./postgres-rig.ts";

const DEADLINE_MS = 120_000;

/** Waits for it: by looking, since it shows in the files of the archive and in what the server is asked, which tell nobody. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  await untilIn(what, holds, DEADLINE_MS);
}

/** Receives the WAL until it is disposed of. */
export class Receiver implements AsyncDisposable {
  readonly lines: BackupLine[] = [];
  readonly #over = new AbortController();
  readonly #done: Promise<number>;

  constructor(rig: PgRig, target: JobTarget, copies: WalJob["copies"] = []) {
    const job = { version: 1 as const, target, folder: rig.store, compress: "zstd" as const, recipients: [], copies };
    const write = (line: BackupLine): void => void this.lines.push(line);
    this.#done = archiveWal(job, {
      write,
      clock: systemClock,
      signal: this.#over.signal,
      roundMs: 100,
      partialMs: 500,
    });
  }

  get ended(): Promise<number> {
    return this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#done;
  }
}
