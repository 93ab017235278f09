/** Proves a stored backup up to a level, always on the bytes that are stored. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { summarizeChecks, type BackupCheck, type CheckResult } from "../../core/backup-checks.ts";
import type { Level, Manifest, Part, Verification } from "../../core/backup-manifest.ts";
import { bytesUnpacked, filesUnpacked } from "../../core/backup-unpacked.ts";
import { untilMs } from "../../core/backup-retention.ts";
import { keptElsewhere } from "../../core/pgbackrest.ts";
import type { Clock } from "../../platform/clock.ts";
import { releaseProgramPages } from "../../platform/memory.ts";
import { removeTree } from "../../platform/remove-tree.ts";
import { baseOf, tableFault } from "./basis.ts";
import { checked, decodeStream, drain } from "./encode.ts";
import { Failure } from "./failure.ts";
import { readPart, scanPart } from "./repository.ts";
import { refuseLittleRoom } from "./room.ts";
import { proverOf } from "./sources.ts";

const ROOM_HINT = "make room for what is unpacked, or prove it to L1 only";

/** A stored backup and how its files are read. */
export interface Readable {
  readonly manifest: Manifest;
  readonly read: (part: Part) => AsyncIterable<Uint8Array>;
}

export interface VerifyOptions {
  /** Folder of the stored files, or how they are read where there is none. */
  readonly folder: string | { readonly read: Readable["read"]; readonly base: () => Readable | undefined };
  readonly manifest: Manifest;
  readonly level: Level;
  /** Of the target, for L3. */
  readonly checks?: readonly BackupCheck[] | undefined;
  /** When the source was last seen to hold the same: what is fresh is judged from there. `undefined`: not since the snapshot. */
  readonly unchangedAt?: string | undefined;
  /** Folder on a disk with room for the unpacked data, for L2. */
  readonly scratch: string;
  readonly identity: string | undefined;
  readonly clock: Clock;
}

/**
 * What the verification found. Throws `Failure` when it could not be made, since its disk is full or a program is missing:
 * that refutes no backup. L3 says L2 when it is the backup that does not stand, and not what it holds.
 */
export async function verifyBackup(options: VerifyOptions): Promise<Verification> {
  const { level, clock } = options;
  const startedMs = clock.monotonicMs();
  // What the start has read of our own program is not needed again, and all that follows comes on top of it.
  releaseProgramPages();
  const results: CheckResult[] = [];
  const fault = await findFault(options, (found) => void results.push(...found));
  const durationMs = Math.round(clock.monotonicMs() - startedMs);
  const common = { at: clock.wallTime().toISOString(), durationMs };
  if (fault !== null) return { ...common, level: level === "L3" ? "L2" : level, ok: false, detail: fault };
  const { ok, text } = summarizeChecks(results);
  // Hashes that are damaged cost the next incremental backup, never this one.
  const detail = ok ? tableFaultOf(options) : text;
  return { ...common, level, ok, detail, ...(level === "L3" ? { checks: results } : {}) };
}

/** Only where there is a folder: no copy has the hashes. */
function tableFaultOf({ folder, manifest }: VerifyOptions): string | null {
  return typeof folder === "string" ? tableFault(folder, manifest) : null;
}

/** A bot that has written nothing since is as silent as if another backup had been made then. */
function asOfLastLook({ manifest, unchangedAt, clock }: VerifyOptions): Manifest {
  const snapshotMs = Date.parse(manifest.snapshotAt);
  const unchangedMs = unchangedAt === undefined ? undefined : Date.parse(unchangedAt);
  const heldMs = untilMs({ snapshotMs, unchangedMs }, clock.wallTime().getTime());
  return heldMs === snapshotMs ? manifest : { ...manifest, snapshotAt: new Date(heldMs).toISOString() };
}

async function findFault(
  options: VerifyOptions,
  onChecked: (results: readonly CheckResult[]) => void,
): Promise<string | null> {
  const { folder, manifest, level, scratch, identity, checks = [] } = options;
  const [read, scan] =
    typeof folder === "string"
      ? [readPart.bind(undefined, folder), scanPart.bind(undefined, folder)]
      : [folder.read, folder.read];
  try {
    // Whoever keeps the data elsewhere proves its checksums there.
    if (level === "L0" && keptElsewhere(manifest) === undefined) await drain(checked(manifest.parts, scan));
    else {
      const raw = decodeStream(manifest, { read, identity });
      const prover = proverOf(manifest.type);
      if (level === "L0" || level === "L1") await prover.parse(raw, manifest);
      else {
        const base = typeof folder === "string" ? baseIn(folder, manifest) : folder.base();
        const whole = base && {
          manifest: base.manifest,
          raw: decodeStream(base.manifest, { read: base.read, identity }),
        };
        const asked = level === "L3" ? checks : undefined;
        const room = { bytes: bytesUnpacked(manifest), files: filesUnpacked(manifest) };
        refuseLittleRoom(scratch, { ...room, reserveShare: 0.5, hint: ROOM_HINT });
        await inScratch(scratch, async (place) =>
          onChecked((await prover.prove(raw, asOfLastLook(options), place, whole, asked)) ?? []),
        );
      }
    }
    return null;
  } catch (cause) {
    const unmade = Failure.ofProof(cause);
    if (unmade !== undefined) throw unmade;
    return cause instanceof Error ? cause.message : String(cause);
  }
}

function baseIn(folder: string, manifest: Manifest): Readable | undefined {
  const base = baseOf(folder, manifest);
  return base && { manifest: base.manifest, read: readPart.bind(undefined, base.folder) };
}

async function inScratch(parent: string, deed: (place: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(parent, ".tmp-verify-"));
  try {
    await deed(place);
  } finally {
    removeTree(place);
  }
}
