/**
 * The archive of WAL in a store, `TARGET/wal/` (of one server: wal-systems.ts): each segment a folder of its name with the stored stream and its manifest, as a
 * backup has them; `incoming/` is what pg_receivewal writes. A segment appears by one rename, and leaves `incoming` afterwards.
 */
import {
  closeSync,
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { COMPRESSORS, manifestSchema } from "../../core/backup-manifest.ts";
import { LONG_HEADER_BYTES, readSegment, systemOfSegment, type WalSegment } from "../../core/wal.ts";
import { ensureDir, readTextIfExists, syncDir, syncFile, writeFileAtomic } from "../../platform/files.ts";
import { decodeStream, storeStream } from "./encode.ts";
import { readPart } from "./repository.ts";

/** Name of the archive in the folder of a target. */
export const WAL_FOLDER = "wal";

const INCOMING = "incoming";
const FOLDER_MODE = 0o750;
const FILE_MODE = 0o640;
const MAX_JSON_BYTES = 65_536;
const MANIFEST = "manifest.json";
const HISTORY = /^[0-9A-F]{8}\.history$/;
const PARTIAL = ".partial";
const RECEIVED = /^[0-9A-F]{24}(\.partial)?$/;

export const segmentSchema = z.looseObject({
  version: z.literal(1),
  segment: z.string(),
  /** Of the server, as initdb gave it; older releases did not write it. */
  systemId: z.string().optional(),
  archivedAt: z.iso.datetime(),
  raw: manifestSchema.shape.raw,
  codec: manifestSchema.shape.codec,
  parts: manifestSchema.shape.parts,
});

export type SegmentManifest = z.output<typeof segmentSchema>;

/** As it is stored. */
export function segmentText(manifest: z.input<typeof segmentSchema>): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** What a recovery plays besides whole segments. */
interface OtherWal {
  readonly name: string;
  /** Of a segment that is still received: what was committed until then is in it. */
  readonly receivedAt?: Date | undefined;
  readonly read: (identity: string | undefined) => AsyncIterable<Uint8Array>;
}

export interface WalOptions {
  readonly compress: (typeof COMPRESSORS)[number];
  readonly recipients: readonly string[];
  readonly now: () => Date;
}

export class WalArchive {
  readonly #folder: string;
  readonly #segmentBytes: number;
  readonly #systemId: string | undefined;

  /** With `systemId`, nothing of another server is archived. */
  constructor(
    targetFolder: string,
    segmentBytes: number,
    { name = WAL_FOLDER, systemId }: { readonly name?: string | undefined; readonly systemId?: string } = {},
  ) {
    this.#folder = join(targetFolder, name);
    this.#segmentBytes = segmentBytes;
    this.#systemId = systemId;
  }

  get folder(): string {
    return this.#folder;
  }

  /** What pg_receivewal writes into. */
  get incoming(): string {
    return join(this.#folder, INCOMING);
  }

  make(): void {
    ensureDir(this.#folder, FOLDER_MODE);
    ensureDir(this.incoming, 0o700);
    for (const name of namesIn(this.#folder))
      if (name.startsWith(".tmp-")) rmSync(join(this.#folder, name), { recursive: true, force: true });
  }

  /** Whole segments: those of the archive, and those that wait to be archived. */
  segments(): readonly WalSegment[] {
    const names = new Set([...namesIn(this.#folder), ...namesIn(this.incoming)]);
    return [...names].flatMap((name) => readSegment(name, this.#segmentBytes) ?? []).toSorted(byNumber);
  }

  /** As `segments`, with what is being received of the next one. */
  reached(): readonly WalSegment[] {
    const incoming = namesIn(this.incoming).map((name) => name.replace(/\.partial$/, ""));
    const names = new Set([...namesIn(this.#folder), ...incoming]);
    return [...names].flatMap((name) => readSegment(name, this.#segmentBytes) ?? []).toSorted(byNumber);
  }

  /** Segments as they were received, whole or not. */
  received(): readonly { readonly name: string; readonly path: string }[] {
    const names = namesIn(this.incoming).filter((name) => RECEIVED.test(name));
    return names.map((name) => ({ name, path: join(this.incoming, name) }));
  }

  /** Number of the segment that pg_receivewal goes on with; `undefined`: nothing was received yet, and its slot knows. */
  next(): number | undefined {
    const numbers = this.received().flatMap(({ name }) => {
      const isPartial = name.endsWith(PARTIAL);
      const segment = readSegment(isPartial ? name.slice(0, -PARTIAL.length) : name, this.#segmentBytes);
      return segment === undefined ? [] : segment.number + (isPartial ? 0 : 1);
    });
    return numbers.length === 0 ? undefined : Math.max(...numbers);
  }

  /** Whether a whole segment waits to be stored. */
  waits(): boolean {
    return namesIn(this.incoming).some(
      (name) => readSegment(name, this.#segmentBytes) !== undefined && !existsSync(join(this.#folder, name, MANIFEST)),
    );
  }

  /** Stores what is whole, oldest first; returns the names. The newest whole one stays in `incoming`: an older server's receiver goes on from it. */
  async archive(options: WalOptions): Promise<readonly string[]> {
    const names = namesIn(this.incoming);
    for (const name of names.filter((each) => HISTORY.test(each))) {
      copyFileSync(join(this.incoming, name), join(this.#folder, name));
      // oxlint-disable-next-line no-await-in-loop -- Safe: there are a few in years.
      await syncFile(join(this.#folder, name));
    }
    const whole = names.flatMap((name) => readSegment(name, this.#segmentBytes) ?? []).toSorted(byNumber);
    const stored: string[] = [];
    for (const { name } of whole) {
      if (this.#manifest(name) === undefined) {
        // oxlint-disable-next-line no-await-in-loop -- Safe: in order.
        await this.#store(name, options);
        stored.push(name);
      }
      // At once: many of them twice may fill the disk.
      if (name !== whole.at(-1)?.name) rmSync(join(this.incoming, name), { force: true });
    }
    return stored;
  }

  /** Whole segments that are stored, oldest first. */
  stored(): readonly WalSegment[] {
    return namesIn(this.#folder)
      .flatMap((name) => readSegment(name, this.#segmentBytes) ?? [])
      .toSorted(byNumber);
  }

  /** A stored segment; `undefined` when it is gone, or was never whole. */
  find(name: string): { readonly folder: string; readonly manifest: SegmentManifest } | undefined {
    const manifest = this.#manifest(name);
    return manifest && { folder: join(this.#folder, name), manifest };
  }

  /** The segment that is being received; `undefined` when there is none. */
  receiving(): { readonly segment: string; readonly changedMs: number } | undefined {
    const name = namesIn(this.incoming).find((each) => each.endsWith(PARTIAL));
    const stats = name === undefined ? undefined : statSync(join(this.incoming, name), { throwIfNoEntry: false });
    return name === undefined || stats === undefined
      ? undefined
      : { segment: name.slice(0, -PARTIAL.length), changedMs: stats.mtimeMs };
  }

  /** Packs what is received of a segment up to now into a folder for `deed`; what is written to it meanwhile may be missing. */
  async withPartial(
    segment: string,
    options: WalOptions,
    deed: (folder: string, manifest: SegmentManifest) => Promise<void>,
  ): Promise<void> {
    const temporary = join(this.#folder, `.tmp-sent-${segment}`);
    try {
      const manifest = await this.#pack(`${segment}${PARTIAL}`, segment, temporary, options);
      await deed(temporary, segmentSchema.parse(manifest));
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  }

  /** Bytes that these segments take as they are stored. */
  bytesOf(segments: readonly string[]): number {
    return segments.reduce((sum, name) => sum + bytesIn(join(this.#folder, name)), 0);
  }

  histories(): readonly { readonly name: string; readonly path: string }[] {
    const names = namesIn(this.#folder).filter((name) => HISTORY.test(name));
    return names.map((name) => ({ name, path: join(this.#folder, name) }));
  }

  async #store(segment: string, options: WalOptions): Promise<void> {
    const temporary = join(this.#folder, `.tmp-${segment}`);
    const manifest = await this.#pack(segment, segment, temporary, options);
    writeFileAtomic(join(temporary, MANIFEST), segmentText(manifest), FILE_MODE);
    const place = join(this.#folder, segment);
    // One without a manifest is what a crash of the machine has left.
    rmSync(place, { recursive: true, force: true });
    renameSync(temporary, place);
    syncDir(this.#folder);
  }

  async #pack(
    file: string,
    segment: string,
    temporary: string,
    { compress, recipients, now }: WalOptions,
  ): Promise<z.input<typeof segmentSchema>> {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { mode: FOLDER_MODE });
    const systemId = this.#refuseOther(join(this.incoming, file));
    // What comes while it is read may be missing.
    const archivedAt = now().toISOString();
    const raw = createReadStream(join(this.incoming, file), { highWaterMark: 1_024 ** 2 });
    const { signal } = new AbortController();
    const { bytes, crc32, parts } = await storeStream(raw, {
      folder: temporary,
      compress,
      recipients,
      signal,
      // Who receives WAL stays, and stays small.
      wide: false,
      onProgress: () => undefined,
    });
    return {
      version: 1,
      segment,
      ...(systemId === undefined ? {} : { systemId }),
      archivedAt,
      raw: { name: segment, bytes, crc32 },
      codec: { compress, encrypt: recipients.length > 0 ? "age" : null, recipients: [...recipients] },
      parts: [...parts],
    };
  }

  /** Throws for what was received of another server, which stands in at the address of this one. */
  #refuseOther(path: string): string | undefined {
    const [own, found] = [this.#systemId, systemOfFile(path)];
    if (own !== undefined && found !== undefined && found !== own)
      throw new Error(`${path} is of another server: its system identifier is ${found}, not ${own}`);
    return own ?? found;
  }

  /** The bytes of a segment; throws when one of them is not as it was stored. */
  read(name: string, identity: string | undefined): AsyncIterable<Uint8Array> {
    const manifest = this.#manifest(name);
    if (manifest === undefined) return createReadStream(join(this.incoming, name), { highWaterMark: 1_024 ** 2 });
    return decodeStream(manifest, { read: readPart.bind(undefined, join(this.#folder, name)), identity });
  }

  /** Files of timelines, and the segment that is being received, as it is now, by its name as a whole one. */
  others(): readonly OtherWal[] {
    const partial = namesIn(this.incoming).filter((name) => name.endsWith(PARTIAL));
    // A copy from a bucket is stored as it lay there.
    const fetched = namesIn(this.#folder).filter((name) => name.endsWith(PARTIAL));
    return [
      ...this.histories().map(({ name, path }) => ({ name, read: () => createReadStream(path) })),
      ...partial.map((name) => ({
        name: name.slice(0, -PARTIAL.length),
        receivedAt: statSync(join(this.incoming, name), { throwIfNoEntry: false })?.mtime,
        read: () => createReadStream(join(this.incoming, name), { highWaterMark: 1_024 ** 2 }),
      })),
      ...fetched.map((name) => ({
        name: name.slice(0, -PARTIAL.length),
        receivedAt: dateOf(this.#manifest(name)?.archivedAt),
        read: (identity: string | undefined) => this.read(name, identity),
      })),
    ];
  }

  /** Deletes archived segments before `from`; returns how many. */
  prune(from: WalSegment): number {
    const old = namesIn(this.#folder).filter((name) => {
      const segment = readSegment(name, this.#segmentBytes);
      return segment !== undefined && segment.number < from.number;
    });
    for (const name of old) {
      const doomed = join(this.#folder, `.tmp-${name}`);
      renameSync(join(this.#folder, name), doomed);
      rmSync(doomed, { recursive: true, force: true });
    }
    if (old.length > 0) syncDir(this.#folder);
    return old.length;
  }

  #manifest(name: string): z.output<typeof segmentSchema> | undefined {
    try {
      const text = readTextIfExists(join(this.#folder, name, MANIFEST), MAX_JSON_BYTES);
      return text === undefined ? undefined : segmentSchema.parse(JSON.parse(text));
    } catch {
      return undefined;
    }
  }
}

/** Bytes of all WAL that is archived for a target, of servers before this one too. */
export function archivedBytes(targetFolder: string): number {
  const archives = namesIn(targetFolder).filter((name) => name === WAL_FOLDER || name.startsWith(`${WAL_FOLDER}-`));
  return archives.reduce((sum, name) => {
    const folder = join(targetFolder, name);
    const stored = namesIn(folder).filter((segment) => segment !== INCOMING);
    return sum + stored.reduce((all, segment) => all + bytesIn(join(folder, segment)), 0);
  }, 0);
}

/** Of the files right in a folder; what has gone meanwhile has none. */
function bytesIn(folder: string): number {
  return namesIn(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** The server that the first page of a file of WAL names; `undefined`: it does not say. */
export function systemOfFile(path: string): string | undefined {
  const first = Buffer.alloc(LONG_HEADER_BYTES);
  const fd = openSync(path, "r");
  try {
    return systemOfSegment(first.subarray(0, readSync(fd, first)));
  } finally {
    closeSync(fd);
  }
}

function dateOf(text: string | undefined): Date | undefined {
  return text === undefined ? undefined : new Date(text);
}

function byNumber(a: WalSegment, b: WalSegment): number {
  return a.number - b.number || a.timeline - b.timeline;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
