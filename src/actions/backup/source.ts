/** What a source of backups is: how its data is read as one stream, and how a stored stream is proven. */
import type { Basis } from "./basis.ts";
import type { BackupCheck, CheckResult } from "../../core/backup-checks.ts";
import type { BackupKind, Manifest } from "../../core/backup-manifest.ts";
import type { Raw } from "./encode.ts";

export interface Room {
  /** Data before compression, bytes. */
  readonly rawBytes: number;
  /** Bytes of it that lie in the scratch folder while it is stored. */
  readonly temporaryBytes: number;
  /** Files and folders of what is backed up, where L2 unpacks as many. */
  readonly files?: number;
  /** Bytes that L2 unpacks, where they are not `rawBytes`. */
  readonly unpackedBytes?: number;
  /** What the source itself writes for a while, in a folder of its own. */
  readonly beside?: { readonly folder: string; readonly bytes: number };
}

interface Progress {
  readonly step: "reading" | "storing" | "verifying" | "restoring";
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface CaptureContext {
  /** Folder on the repository's disk for what the source needs meanwhile; removed by the caller. */
  readonly scratch: string;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly onProgress: (progress: Progress) => void;
  /** The full backup to store the difference to, where the source can; `undefined`: everything is wanted. */
  readonly basis?: Basis | undefined;
}

/** One consistent reading of a source. */
export interface Captured {
  readonly kind: BackupKind;
  readonly base: string | null;
  /** Instant whose data it holds. */
  readonly snapshotAt: Date;
  /** File name of the stream when it is unpacked by hand. */
  readonly rawName: string;
  readonly raw: Raw;
  /** What the manifest says of it; asked when `raw` has been read to its end. */
  readonly facts: () => Promise<Pick<Manifest, "content" | "engine">>;
  /** The hashes of its pages, for later incremental backups; asked when `raw` has been read to its end. */
  readonly pageTable?: () => Uint8Array | undefined;
  /** Why everything is stored although there was a basis. */
  readonly instead?: string;
}

/** A configured source. */
export interface Source {
  /** Where the data comes from, for people; without passwords. */
  readonly origin: string;
  /** What a backup will need. Throws when the source is not there or cannot be read. */
  readonly measure: () => Promise<Room>;
  readonly capture: (context: CaptureContext) => Promise<Captured>;
  /**
   * What changes whenever the source does, as values for JSON: read before a capture, and equal to an earlier reading only if
   * nothing was written between the two. `undefined`: that is not sure now. A source without it is copied by each run.
   */
  readonly facts?: (now: Date) => Promise<object | undefined>;
  /** Those of these backups whose data another program keeps, as far as it can be asked. */
  readonly keptElsewhere?: (manifests: readonly Manifest[]) => Promise<readonly Elsewhere[]>;
}

export interface Elsewhere {
  readonly id: string;
  /** Of the other program's repository: the same for all that lie in the same. */
  readonly place: string;
  /** other: that repository is of another server. */
  readonly is: "there" | "gone" | "other";
}

/** Proves stored streams of one type; needs nothing of the source. */
export interface Prover {
  /** L1 beyond the stream's checksum: reads it to its end by its format. Throws what is wrong. */
  readonly parse: (raw: AsyncIterable<Uint8Array>, manifest: Manifest) => Promise<void>;
  /**
   * L2: unpacks the stream below `scratch`, proves it by its engine and compares it with the manifest. Throws what is wrong.
   * L3: answers `checks` too, where its engine can be asked.
   */
  readonly prove: (
    raw: AsyncIterable<Uint8Array>,
    manifest: Manifest,
    scratch: string,
    /** The full backup that a delta needs, as it is stored. */
    base: { readonly manifest: Manifest; readonly raw: AsyncIterable<Uint8Array> } | undefined,
    /** `undefined`: nothing is asked. */
    checks?: readonly BackupCheck[],
    // Safe: an engine that cannot be asked answers nothing.
    // oxlint-disable-next-line typescript/no-invalid-void-type
  ) => Promise<readonly CheckResult[] | void>;
}
