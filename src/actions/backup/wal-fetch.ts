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
import { fetchPart, refuseFull } from "./fetch.ts";
import { segmentSchema, type SegmentManifest } from "./wal-archive.ts";
import type { WalBucket } from "./wal-bucket.ts";

const FILE_MODE = 0o640;

interface FetchWal {
  readonly bucket: WalBucket;
  /** The base. */
  readonly manifest: Manifest;
  /** Of the target, in the store that was made for what is fetched. */
  readonly folder: string;
  readonly write: (line: BackupLine) => void;
}

/** Throws `Failure`; what was fetched whole until then stays. */
export async function fetchWal({ bucket, manifest, folder, write }: FetchWal): Promise<void> {
  const [segmentBytes, first] = [manifest.engine["walSegmentBytes"], manifest.engine["walStart"]];
  const start =
    typeof first === "string" && typeof segmentBytes === "number" ? readSegment(first, segmentBytes) : undefined;
  if (start === undefined || typeof segmentBytes !== "number")
    throw new Failure("verify", "the base does not say where its WAL begins");
  const { segments, histories, partials } = await bucket.look();
  const named = [...segments.keys(), ...partials.keys()];
  const { usable } = contiguousFrom(
    [...new Set(named)].flatMap((name) => readSegment(name, segmentBytes) ?? []),
    start.number,
  );
  const archive = join(folder, "wal");
  ensureDir(archive, 0o750);
  const totalBytes = usable.reduce((sum, { name }) => sum + (segments.get(name) ?? 0), 0);
  refuseFull(folder, totalBytes);
  for (const name of histories) {
    // oxlint-disable-next-line no-await-in-loop -- Safe: there are a few in years.
    const text = await bucket.text(name);
    if (text !== undefined) writeFileAtomic(join(archive, name), text, FILE_MODE);
  }
  let doneBytes = 0;
  for (const { name } of usable) {
    const partial = segments.has(name) ? undefined : partials.get(name);
    const place = partial ?? name;
    // oxlint-disable-next-line no-await-in-loop -- Safe: in order, so that what is there has no gap.
    await fetchSegment(bucket, place, join(archive, partial === undefined ? name : `${name}.partial`));
    doneBytes += segments.get(name) ?? 0;
    write({ kind: "progress", step: "fetching", doneBytes, totalBytes: Math.max(totalBytes, doneBytes) });
  }
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
