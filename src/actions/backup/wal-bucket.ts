/**
 * The archive of WAL in a bucket, `PREFIX/TARGET.wal/SYSTEM/`, where SYSTEM is the identifier that initdb gave the server: one that
 * is made anew gives the names of the old one's segments again. Each segment lies under its name with the stored parts and, last of
 * all, its manifest, so that a kill at any line leaves a whole one or none. What is still received lies under
 * `SEGMENT.partial/TIME/`, another time at each sending; nothing is ever written over.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { RemoteSettings } from "../../core/backup-remote.ts";
import type { Part } from "../../core/backup-manifest.ts";
import type { Bucket } from "./s3.ts";
import { segmentText, type SegmentManifest } from "./wal-archive.ts";
import { startOfBase, type BaseStart } from "./wal-systems.ts";

const MANIFEST = "manifest.json";
const HISTORY = /^[0-9A-F]{8}\.history$/;
const PARTIAL = /^([0-9A-F]{24})\.partial\/([^/]+)$/;
const SYSTEM = /^\d{1,20}(?=\/)/;
/** The system of what an older release has sent, which did not say it. */
export const UNNAMED = "";
/** A history is a line for each promotion. */
const MAX_HISTORY_BYTES = 65_536;

/** Of one server. */
export interface WalCopies {
  /** Stored bytes of each whole segment, by its name. */
  readonly segments: ReadonlyMap<string, number>;
  readonly histories: ReadonlySet<string>;
  /** Where the newest whole sending of each unfinished segment lies, by the segment's name. */
  readonly partials: ReadonlyMap<string, string>;
  /** Segments of which anything lies there that was sent while they were received. */
  readonly begun: ReadonlySet<string>;
}

export const NO_COPIES: WalCopies = {
  segments: new Map(),
  histories: new Set(),
  partials: new Map(),
  begun: new Set(),
};

/** Where something of this server lies in the archive. */
export function placeIn(system: string, name: string): string {
  return system === UNNAMED ? name : `${system}/${name}`;
}

export class WalBucket {
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #targetFolder: string;

  constructor(bucket: Bucket, { prefix }: Pick<RemoteSettings, "prefix">, target: string) {
    const root = prefix === "" ? "" : `${prefix}/`;
    this.#bucket = bucket;
    // A target's name has no dot: no listing of backups ever meets the segments, which may be a hundred thousand.
    this.#folder = `${root}${target}.wal/`;
    this.#targetFolder = `${root}${target}/`;
  }

  /** What is there whole, by the server's system identifier. Throws `Failure`. */
  async look(): Promise<ReadonlyMap<string, WalCopies>> {
    const listed = (await this.#bucket.list(this.#folder)).map(({ key, bytes }) => ({
      name: key.slice(this.#folder.length),
      bytes,
    }));
    const bySystem = Map.groupBy(listed, ({ name }) => SYSTEM.exec(name)?.[0] ?? UNNAMED);
    return new Map([...bySystem].map(([system, objects]) => [system, copiesIn(system, objects)]));
  }

  /** Sends what lies in the folder. Returns the bytes sent. */
  async send(place: string, folder: string, manifest: SegmentManifest): Promise<number> {
    let sent = 0;
    for (const { name, bytes, sha256 } of manifest.parts) {
      const path = join(folder, name);
      const content = readFileSync(path);
      if (content.length !== bytes || createHash("sha256").update(content).digest("hex") !== sha256)
        throw new Error(`${path} is damaged: it is not what was stored`);
      // oxlint-disable-next-line no-await-in-loop -- Safe: memory holds one part, which has 64 MiB at most.
      await this.#put(`${place}/${name}`, content);
      sent += bytes;
    }
    await this.#put(`${place}/${MANIFEST}`, Buffer.from(segmentText(manifest)));
    return sent;
  }

  async sendHistory(name: string, text: string): Promise<void> {
    await this.#put(name, Buffer.from(text));
  }

  /** The text of a manifest or history; `undefined` when it is not there. */
  text(name: string): Promise<string | undefined> {
    return this.#bucket.get(`${this.#folder}${name}`, MAX_HISTORY_BYTES);
  }

  manifest(place: string): Promise<string | undefined> {
    return this.text(`${place}/${MANIFEST}`);
  }

  read(place: string, { name, bytes }: Part): AsyncIterable<Uint8Array> {
    return this.#bucket.read(`${this.#folder}${place}/${name}`, bytes);
  }

  /** Takes a segment away, or every sending of an unfinished one but `keep`: the manifest first. */
  async remove(place: string, keep?: string): Promise<void> {
    const listed = (await this.#bucket.list(`${this.#folder}${place}/`)).map(({ key }) => key);
    const doomed = listed.filter((key) => keep === undefined || !key.startsWith(`${this.#folder}${keep}/`));
    for (const key of doomed.toSorted((a, b) => Number(b.endsWith(MANIFEST)) - Number(a.endsWith(MANIFEST))))
      // oxlint-disable-next-line no-await-in-loop -- Safe: in order, or a kill leaves one that looks whole.
      await this.#bucket.remove(key);
  }

  /** Where the WAL of each base in the bucket begins; `undefined`: one does not say, and may be the oldest. */
  async bases(target: string, segmentBytes: number): Promise<readonly BaseStart[] | undefined> {
    const listed = await this.#bucket.list(`${this.#targetFolder}${target}-base-`);
    const bases: BaseStart[] = [];
    for (const { key } of listed.filter((each) => each.key.endsWith(`/${MANIFEST}`))) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: some dozen, once an hour.
      const text = await this.#bucket.get(key, MAX_MANIFEST_BYTES);
      const base = text === undefined ? undefined : baseIn(text, segmentBytes);
      if (base === undefined) return undefined;
      bases.push(base);
    }
    return bases;
  }

  async #put(name: string, content: Buffer<ArrayBuffer>): Promise<void> {
    const md5 = createHash("md5").update(content).digest("base64");
    await this.#bucket.put(`${this.#folder}${name}`, content, { bytes: content.length, md5 });
  }
}

function copiesIn(system: string, objects: readonly { readonly name: string; readonly bytes: number }[]): WalCopies {
  const [sizes, whole, histories] = [new Map<string, number>(), new Set<string>(), new Set<string>()];
  for (const object of objects) {
    const name = system === UNNAMED ? object.name : object.name.slice(system.length + 1);
    const [place, file] = [name.slice(0, name.lastIndexOf("/")), name.slice(name.lastIndexOf("/") + 1)];
    if (HISTORY.test(name)) histories.add(name);
    else if (file === MANIFEST) whole.add(place);
    else sizes.set(place, (sizes.get(place) ?? 0) + object.bytes);
  }
  const partials = new Map<string, string>();
  for (const place of [...whole].toSorted()) {
    const segment = PARTIAL.exec(place)?.[1];
    if (segment !== undefined) partials.set(segment, placeIn(system, place));
  }
  const begun = new Set([...sizes.keys(), ...whole].flatMap((place) => PARTIAL.exec(place)?.[1] ?? []));
  const names = [...whole].filter((place) => !place.includes("/"));
  return { segments: new Map(names.map((name) => [name, sizes.get(name) ?? 0])), histories, partials, begun };
}

const baseOutline = z.looseObject({ engine: z.looseObject({ name: z.string(), version: z.string() }) });
/** A manifest of a base names no tables. */
const MAX_MANIFEST_BYTES = 1_024 ** 2;

/** `undefined` for one that says it not, or cannot be read. */
function baseIn(text: string, segmentBytes: number): BaseStart | undefined {
  try {
    return startOfBase(baseOutline.parse(JSON.parse(text)), segmentBytes);
  } catch {
    return undefined;
  }
}
