/** Proves copies in a bucket: what is there is read as a restore would read it. */
import type { BackupLine } from "../../core/backup-job.ts";
import { withVerification, type Part } from "../../core/backup-manifest.ts";
import type { Proof } from "../../core/backup-record.ts";
import type { RemoteDeed } from "../../core/backup-remote.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { Failure } from "./failure.ts";
import { damagedOf } from "./kept.ts";
import { writeProof } from "./record.ts";
import type { RemoteBackup, RemoteRepository } from "./remote.ts";
import { spanNow } from "./stock.ts";
import { verifyBackup, type Readable } from "./verify.ts";

interface VerifyIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
}

/** Proves the newest copy of a target, or those that are named; what it finds goes into their states and into the record. */
export async function verifyCopies(remote: RemoteRepository, job: RemoteDeed<"verify">, io: VerifyIo): Promise<void> {
  const { backups, damaged } = await remote.list(job.ids);
  const now = new Map(backups.map((each) => [each.id, each]));
  const missing = job.ids.filter((id) => ![...backups, ...damaged].some((each) => each.id === id));
  if (missing.length > 0) throw new Failure("source", `there is no copy of ${missing.join(", ")} in ${job.store}`);
  const named = ({ id }: { readonly id: string }): boolean => job.ids.length === 0 || job.ids.includes(id);
  const wanted = job.ids.length === 0 ? backups.slice(-1) : backups.filter(named);
  const rotten = damaged.filter(named);
  if (wanted.length + rotten.length === 0)
    throw new Failure("verify", `no copy of ${job.target} is stored in ${job.store}`);
  let faults = rotten.length;
  for (const { id, reason } of rotten) io.write({ kind: "verified", id, level: job.level, ok: false, detail: reason });
  const at = io.clock.wallTime().toISOString();
  const proofs: Proof[] = rotten.map(({ id, reason }) => ({ id, at, ok: false, detail: reason }));
  const note = (): void => {
    const there = [...now.values()];
    const seen = { damaged: damagedOf(there, damaged), span: spanNow(there, io.clock) };
    writeProof(job.record, job.level, proofs, seen);
  };
  if (proofs.length > 0) note();
  for (const each of wanted) {
    const { id, manifest, state } = each;
    const base = backups.find((other) => other.id === manifest.base);
    const lost: Failure[] = [];
    const read = (of: string, part: Part): AsyncIterable<Uint8Array> => watched(remote.read(of, part), lost);
    ensureDir(job.scratch);
    // One after the other: each takes the whole line.
    const verification = await verifyBackup({
      folder: { read: (part) => read(id, part), base: () => baseOf(manifest.base, base, read) },
      manifest,
      level: job.level,
      checks: job.checks,
      unchangedAt: state.unchangedAt,
      scratch: job.scratch,
      identity: job.identity,
      clock: io.clock,
    });
    // A store that went away says nothing of what it holds.
    if (lost[0] !== undefined) throw lost[0];
    const proven = withVerification(state, verification);
    await remote.writeState(id, proven);
    now.set(id, { ...each, state: proven });
    const { level, ok, detail, checks } = verification;
    if (!ok) faults += 1;
    proofs.push({ id, at: verification.at, ok, detail });
    note();
    io.write({ kind: "verified", id, level, ok, detail, ...(checks === undefined ? {} : { checks }) });
  }
  if (faults > 0) throw new Failure("verify", `${faults} of the copies in ${job.store} do not stand ${job.level}`);
}

/** The pieces; notes that the store went away, which whoever reads them takes for damage. */
async function* watched(pieces: AsyncIterable<Uint8Array>, lost: Failure[]): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
  } catch (cause) {
    if (cause instanceof Failure && cause.stage === "remote") lost.push(cause);
    throw cause;
  }
}

function baseOf(
  id: string | null,
  base: RemoteBackup | undefined,
  read: (of: string, part: Part) => AsyncIterable<Uint8Array>,
): Readable | undefined {
  if (id === null) return undefined;
  if (base === undefined) throw new Error(`the full backup ${id} that it needs is not there`);
  return { manifest: base.manifest, read: (part) => read(id, part) };
}
