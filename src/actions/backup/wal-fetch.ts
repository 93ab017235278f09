/**
 * Fetches the WAL of a base from a bucket into the archive beside the base that was fetched. All of it: when a segment was archived
 * says nothing of the instants in it, for the server keeps WAL as long as nobody is there to archive it.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { BackupLine } from "../../core/backup-job.ts";
import type { Manifest } from "../../core/backup-manifest.ts";
import { contiguousFrom, readSegment } from "../../core/wal.ts";
import { ensureDir, syncDir, writeFileAtomic } from "../../platform/files.ts";
import { Failure } from "./failure.ts";
import { FETCH_HINT, fetchPart } from "./fetch.ts";
import { refuseLittleRoom } from "./room.ts";
import { segmentSchema, WAL_FOLDER, type SegmentManifest } from "./wal-archive.ts";
import { NO_COPIES, placeIn, UNNAMED, type WalBucket, type WalCopies } from "./wal-bucket.ts";
import { startOfBase } from "./wal-systems.ts";

const FILE_MODE = 0o640;
/** A folder, its data and its manifest. */
const FILES_OF_SEGMENT = 3;

interface FetchWal {
  readonly bucket: WalBucket;
  /** The base. */
  readonly manifest: Manifest;
  /** Of the target, in the store that was made for what is fetched. */
  readonly folder: string;
  readonly write: (line: BackupLine) => void;
}

/** Returns how many segments are there then. Throws `Failure`; what was fetched whole until then stays. */
export async function fetchWal({ bucket, manifest, folder, write }: FetchWal): Promise<number> {
  const segmentBytes = manifest.engine["walSegmentBytes"];
  const base = typeof segmentBytes === "number" ? startOfBase(manifest, segmentBytes) : undefined;
  if (base === undefined || typeof segmentBytes !== "number")
    throw new Failure("verify", "the base does not say where its WAL begins");
  const { segments, histories } = usedBy(base.systemId, await bucket.look(), write);
  const { usable } = contiguousFrom(
    [...segments.keys()].flatMap((name) => readSegment(name, segmentBytes) ?? []),
    base.start.number,
  );
  const archive = join(folder, WAL_FOLDER);
  ensureDir(archive, 0o750);
  const totalBytes = usable.reduce((sum, { name }) => sum + (segments.get(name)?.bytes ?? 0), 0);
  const files = usable.length * FILES_OF_SEGMENT;
  refuseLittleRoom(folder, { bytes: totalBytes, files, reserveShare: 0.5, hint: FETCH_HINT });
  for (const [name, place] of histories) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: there are a few in years.
    const text = await bucket.text(place);
    if (text !== undefined) writeFileAtomic(join(archive, name), text, FILE_MODE);
  }
  let doneBytes = 0;
  for (const { name } of usable) {
    const found = segments.get(name);
    if (found === undefined) continue;
    // oxlint-disable-next-line no-await-in-loop -- Safe: in order, so that what is there has no gap.
    await fetchSegment(bucket, found.place, join(archive, found.whole ? name : `${name}.partial`));
    doneBytes += found.bytes;
    write({ kind: "progress", step: "fetching", doneBytes, totalBytes: Math.max(totalBytes, doneBytes) });
  }
  return usable.length;
}

interface Copied {
  readonly place: string;
  readonly bytes: number;
  readonly whole: boolean;
}

/** Where each segment and history lies that a base of this server may need: the server's own before what an older release has sent without saying whose it is. */
function usedBy(
  systemId: string | undefined,
  found: ReadonlyMap<string, WalCopies>,
  write: FetchWal["write"],
): { readonly segments: ReadonlyMap<string, Copied>; readonly histories: ReadonlyMap<string, string> } {
  const named = [...found.keys()].filter((system) => system !== UNNAMED);
  // A base of an older release does not say it either; its recovery refuses what is of another server.
  const own = systemId ?? (named.length === 1 ? named[0] : undefined);
  if (own === undefined && named.length > 1)
    write({
      kind: "note",
      text: `the base does not say of which server it is, and there is WAL of ${named.length}: only what is not named either is fetched`,
    });
  const segments = new Map<string, Copied>();
  const histories = new Map<string, string>();
  const rising = own === undefined ? [UNNAMED] : [UNNAMED, own];
  // What is whole takes the place of what was still received, and the server's own that of the rest.
  for (const system of rising)
    for (const [name, place] of (found.get(system) ?? NO_COPIES).partials)
      segments.set(name, { place, bytes: 0, whole: false });
  for (const system of rising) {
    const copies = found.get(system) ?? NO_COPIES;
    for (const [name, bytes] of copies.segments)
      segments.set(name, { place: placeIn(system, name), bytes, whole: true });
    for (const name of copies.histories) histories.set(name, placeIn(system, name));
  }
  return { segments, histories };
}

async function fetchSegment(bucket: WalBucket, place: string, folder: string): Promise<void> {
  const text = await bucket.manifest(place);
  if (text === undefined) throw new Failure("remote", `the segment ${place} has gone while it was fetched; try again`);
  const manifest = segmentOf(text, place);
  if (existsSync(folder)) return;
  const temporary = `${folder}.fetching`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { mode: 0o750 });
  for (const part of manifest.parts)
    // oxlint-disable-next-line no-await-in-loop -- Safe: they share a line.
    await fetchPart(part, bucket.read(place, part), { folder: temporary }, () => undefined);
  writeFileAtomic(join(temporary, "manifest.json"), text, FILE_MODE);
  renameSync(temporary, folder);
  syncDir(join(folder, ".."));
}

function segmentOf(text: string, place: string): SegmentManifest {
  try {
    return segmentSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new Failure("verify", `the manifest of the segment ${place} cannot be read`, { cause });
  }
}
