/** Fetches a copy, with the full backup that it needs, from a bucket into a folder that is then a store like any other. */
import { createHash } from "node:crypto";
import { closeSync, constants, fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { BackupLine } from "../../core/backup-job.ts";
import type { Part } from "../../core/backup-manifest.ts";
import type { RemoteDeed } from "../../core/backup-remote.ts";
import { filesOfBackup } from "../../core/backup-room.ts";
import { Failure } from "./failure.ts";
import type { RemoteBackup, RemoteRepository } from "./remote.ts";
import { Repository, type Draft } from "./repository.ts";
import { refuseLittleRoom } from "./room.ts";

/** A flush of more than this stalls whoever else writes to the disk. */
const SYNC_BYTES = 16 * 1_024 ** 2;
/** Where there is no room for what is fetched. */
export const FETCH_HINT = "make room, or set backups.scratch to a larger disk";

/** Throws `Failure`; what was fetched whole until then stays, and is not fetched again. */
export async function fetchCopy(
  { id, into, target, store }: Pick<RemoteDeed<"fetch">, "id" | "into" | "target" | "store">,
  remote: RemoteRepository,
  { write }: { readonly write: (line: BackupLine) => void },
): Promise<void> {
  const { backups, damaged } = await remote.list([id]);
  const chain = chainOf(id, backups);
  const reason = damaged.find((each) => each.id === id)?.reason;
  if (reason !== undefined) throw new Failure("verify", `the copy ${id} in ${store} is damaged: ${reason}`);
  if (chain === undefined) throw new Failure("source", `there is no whole copy of ${id} in ${store}`);
  const repository = new Repository(into, target);
  repository.make();
  const there = new Set(repository.list().backups.map((each) => each.id));
  const missing = chain.filter((each) => !there.has(each.id));
  const totalBytes = missing.reduce((sum, each) => sum + bytesOf(each), 0);
  const files = missing.reduce((sum, each) => sum + filesOfBackup(bytesOf(each)), 0);
  refuseLittleRoom(into, { bytes: totalBytes, files, reserveShare: 0.5, hint: FETCH_HINT });
  let doneBytes = 0;
  for (const backup of missing) {
    const draft = repository.begin(backup.id);
    try {
      for (const part of backup.manifest.parts)
        await fetchPart(part, remote.read(backup.id, part), draft, (bytes) => {
          doneBytes += bytes;
          write({ kind: "progress", step: "fetching", doneBytes, totalBytes });
        });
      draft.publish(backup.manifest, backup.state);
      write({ kind: "fetched", id: backup.id, storedBytes: bytesOf(backup) });
    } finally {
      draft.discard();
    }
  }
}

/** The full backup first; `undefined` when one of them is not there. */
function chainOf(id: string, backups: readonly RemoteBackup[]): readonly RemoteBackup[] | undefined {
  const found = backups.find((each) => each.id === id);
  if (found === undefined || found.manifest.base === null) return found && [found];
  const base = backups.find((each) => each.id === found.manifest.base);
  return base && [base, found];
}

/** Throws `Failure` when it is not what was stored. */
export async function fetchPart(
  { name, bytes, sha256 }: Part,
  pieces: AsyncIterable<Uint8Array>,
  { folder }: Pick<Draft, "folder">,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const hash = createHash("sha256");
  const fd = openSync(join(folder, name), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  let got = 0;
  let unsynced = 0;
  try {
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) at += writeSync(fd, piece, at);
      hash.update(piece);
      got += piece.length;
      unsynced += piece.length;
      if (unsynced < SYNC_BYTES) continue;
      fdatasyncSync(fd);
      onBytes(unsynced);
      unsynced = 0;
    }
    fsyncSync(fd);
    onBytes(unsynced);
  } catch (cause) {
    throw cause instanceof Failure ? cause : Failure.of("store", cause);
  } finally {
    closeSync(fd);
  }
  if (got !== bytes) throw new Failure("verify", `${name} came with ${got} bytes instead of ${bytes}`);
  if (hash.digest("hex") !== sha256)
    throw new Failure("verify", `${name} has another checksum than when it was stored`);
}

function bytesOf({ manifest }: RemoteBackup): number {
  return manifest.parts.reduce((sum, { bytes }) => sum + bytes, 0);
}
