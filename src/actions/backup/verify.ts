/** Proves a stored backup up to a level, always on the bytes that are stored. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Level, Manifest, Verification } from "../../core/backup-manifest.ts";
import type { Clock } from "../../platform/clock.ts";
import { baseOf, tableFault } from "./basis.ts";
import { checked, decodeStream } from "./encode.ts";
import { readPart } from "./repository.ts";
import { proverOf } from "./sources.ts";

export interface VerifyOptions {
  /** Folder of the stored files. */
  readonly folder: string;
  readonly manifest: Manifest;
  readonly level: Exclude<Level, "L3">;
  /** Folder on a disk with room for the unpacked data, for L2. */
  readonly scratch: string;
  readonly identity: string | undefined;
  readonly clock: Clock;
}

/** What the verification found; never throws. */
export async function verifyBackup(options: VerifyOptions): Promise<Verification> {
  const { level, clock } = options;
  const startedMs = clock.monotonicMs();
  const fault = await findFault(options);
  const durationMs = Math.round(clock.monotonicMs() - startedMs);
  // Hashes that are damaged cost the next incremental backup, never this one.
  const detail = fault ?? tableFault(options.folder, options.manifest);
  return { level, at: clock.wallTime().toISOString(), ok: fault === null, durationMs, detail };
}

async function findFault({ folder, manifest, level, scratch, identity }: VerifyOptions): Promise<string | null> {
  const read = readPart.bind(undefined, folder);
  try {
    if (level === "L0") await drain(checked(manifest.parts, read));
    else {
      const raw = decodeStream(manifest, { read, identity });
      const prover = proverOf(manifest.type);
      if (level === "L1") await prover.parse(raw, manifest);
      else {
        const base = baseOf(folder, manifest);
        const whole = base && {
          manifest: base.manifest,
          raw: decodeStream(base.manifest, { read: readPart.bind(undefined, base.folder), identity }),
        };
        await inScratch(scratch, (place) => prover.prove(raw, manifest, place, whole));
      }
    }
    return null;
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

async function inScratch(parent: string, deed: (place: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(parent, ".tmp-verify-"));
  try {
    await deed(place);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  // Safe: the pieces are read for their checksums alone.
  // oxlint-disable-next-line no-unused-vars
  for await (const _ of pieces);
}
