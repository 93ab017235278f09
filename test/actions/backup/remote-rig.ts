/** Backups on the rig and a bucket of its own: jobs on the copies, in this process or in one that is killed. */
import { join } from "node:path";
import { runRemote } from "../../../src/actions/backup/copies.ts";
import type { RemoteStep } from "../../../src/actions/backup/remote.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { remoteJobSchema, type RemoteJob, type RemoteSettings } from "../../../src/core/backup-remote.ts";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";
import { S3Server } from "../../harness/s3-server.ts";
import { Rig } from "./rig.ts";

const DIE = join(import.meta.dirname, "..", "..", "fixtures", "copy-and-die.ts");
export const RETENTION = { hourly: 7 * 86_400_000, daily: 30 * 86_400_000, weekly: 0, monthly: 0, minKeep: 3 };

/** Waits between tries are over at once. */
export const hasty: Clock = { ...systemClock, after: (_delay, callback) => systemClock.after(0, callback) };

export class RemoteRig extends Rig implements AsyncDisposable {
  readonly s3: S3Server;

  private constructor(s3: S3Server) {
    super();
    this.s3 = s3;
  }

  static async open(): Promise<RemoteRig> {
    return new RemoteRig(await S3Server.start());
  }

  /** A database with some orders, backed up once. */
  async backUpOrders(orders = 300): Promise<void> {
    this.fill(orders).close();
    await this.backUp(this.job(this.sqlite));
  }

  remoteJob(deed: RemoteJob["deed"], more: object = {}, remote: Partial<RemoteSettings> = {}): RemoteJob {
    const record = join(this.folder, "records", "state@offsite.json");
    const own = {
      copy: { record, folder: this.store, newest: null, retention: RETENTION },
      look: { known: [] },
      verify: { record, level: "L2", checks: [], ids: [], scratch: join(this.folder, "scratch") },
      prune: { record, retention: RETENTION, dryRun: false, force: false },
      fetch: { id: "none", into: join(this.folder, "fetched") },
      probe: {},
    }[deed];
    const common = { version: 1, target: "state", store: "offsite", remote: this.s3.settings(remote) };
    return remoteJobSchema.parse({ deed, ...common, ...own, ...more });
  }

  /** The exit code and what the worker said. */
  async remotely(job: RemoteJob): Promise<{ readonly code: number; readonly lines: readonly BackupLine[] }> {
    const lines: BackupLine[] = [];
    const code = await runRemote(job, { clock: hasty, write: (line) => void lines.push(line) });
    return { code, lines };
  }

  /** Ids of the copies that whoever looks would take for backups. */
  async copies(): Promise<readonly string[]> {
    const { lines } = await this.remotely(this.remoteJob("look"));
    return lines.flatMap((line) => (line.kind === "found" && line.backup !== null ? [line.id] : []));
  }

  /** Does the deed in a process that kills itself after the step. */
  async remotelyAndDie(job: RemoteJob, step: RemoteStep, nth = 1): Promise<string | number | null> {
    const child = Bun.spawn([process.execPath, DIE, step, String(nth)], {
      stdin: Buffer.from(JSON.stringify(job)),
      stdout: "ignore",
      stderr: "inherit",
    });
    await child.exited;
    return child.signalCode ?? child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    await this.s3[Symbol.asyncDispose]();
  }
}
