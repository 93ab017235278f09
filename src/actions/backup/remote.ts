/**
 * Copies of backups in a bucket: `PREFIX/TARGET/ID/` with the stored files, `state.json`, `manifest.sha256` and, last of all,
 * `manifest.json`. Without its manifest nothing is a backup, so a kill at any line leaves a whole copy or none.
 *
 * A copy is deleted in the other direction: a mark `deleted`, the manifest, the rest, the mark; whoever finds a mark goes on.
 * A listing may lag behind what was written, so it is only a hint: what counts is what the store answers for a key.
 */
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { RemoteSettings } from "../../core/backup-remote.ts";
import {
  emptyState,
  manifestSchema,
  readBackupId,
  stateSchema,
  type BackupState,
  type Manifest,
  type Part,
} from "../../core/backup-manifest.ts";
import { Failure } from "./failure.ts";
import type { Bucket } from "./s3.ts";
import { manifestText, MANIFEST, MANIFEST_SUM, MAX_JSON_BYTES, STATE, sumOf, type StoredBackup } from "./repository.ts";

/** Mark of a copy that is being deleted. */
const DELETED = "deleted";
/** Requests at the same time: most of each is waiting. */
const PARALLEL = 8;
const CHUNK_BYTES = 1_024 ** 2;

export interface RemoteBackup {
  readonly id: string;
  readonly manifest: Manifest;
  /** Of the manifest as it is stored. */
  readonly manifestSha256: string;
  readonly state: BackupState;
}

export interface RemoteListing {
  /** Oldest first. */
  readonly backups: readonly RemoteBackup[];
  readonly damaged: readonly { readonly id: string; readonly reason: string }[];
  /** Copies whose deletion has begun. */
  readonly doomed: readonly string[];
  /** Copies without a manifest: somebody is sending them, or was broken off. */
  readonly unfinished: readonly string[];
}

/** A step that has just been done; tests end the process there. */
export type RemoteStep = "part" | "state" | "sum" | "manifest" | "marked" | "unmanifested" | "emptied" | "removed";

type Objects = ReadonlyMap<string, number>;

export class RemoteRepository {
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #onStep: (step: RemoteStep) => void;

  constructor(
    bucket: Bucket,
    { prefix }: RemoteSettings,
    target: string,
    onStep: (step: RemoteStep) => void = () => undefined,
  ) {
    this.#bucket = bucket;
    this.#folder = `${prefix === "" ? "" : `${prefix}/`}${target}/`;
    this.#onStep = onStep;
  }

  /** Everything that is there. `known` are looked for even when the listing does not have them (yet). Throws `Failure`. */
  async list(known: readonly string[] = []): Promise<RemoteListing> {
    const found = new Map<string, Map<string, number>>();
    for (const { key, bytes } of await this.#bucket.list(this.#folder)) {
      const [id = "", name = "", ...deeper] = key.slice(this.#folder.length).split("/");
      if (readBackupId(id) === undefined || deeper.length > 0) continue;
      found.set(id, (found.get(id) ?? new Map<string, number>()).set(name, bytes));
    }
    const ids = [...new Set([...found.keys(), ...known])].toSorted();
    const backups: RemoteBackup[] = [];
    const damaged: { readonly id: string; readonly reason: string }[] = [];
    const [doomed, unfinished]: [string[], string[]] = [[], []];
    await eachOf(ids, async (id) => {
      const objects = found.get(id);
      if (objects?.has(DELETED) === true) return void doomed.push(id);
      const text = await this.#bucket.get(this.#key(id, MANIFEST), MAX_JSON_BYTES);
      if (text === undefined) {
        if (objects !== undefined) unfinished.push(id);
        return;
      }
      try {
        const manifest = await this.#manifest(id, text);
        await this.#refuseMissing(id, manifest, objects ?? new Map());
        backups.push({ id, manifest, manifestSha256: sumOf(text), state: await this.#state(id) });
      } catch (cause) {
        if (cause instanceof Failure) throw cause;
        damaged.push({ id, reason: cause instanceof Error ? cause.message : String(cause) });
      }
    });
    return {
      doomed,
      unfinished,
      backups: backups.toSorted((a, b) => timeOf(a) - timeOf(b) || (a.id < b.id ? -1 : 1)),
      damaged: damaged.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    };
  }

  /** Copies a backup; what is there already, in the right size and with the right checksum, is not sent again. Returns the bytes sent. */
  async send({ id, folder, manifest, state }: StoredBackup, onPart: (sentBytes: number) => void): Promise<number> {
    let sent = 0;
    for (const part of manifest.parts) {
      const path = join(folder, part.name);
      // One after the other: the line is the bottleneck, and memory holds one part.
      // oxlint-disable-next-line no-await-in-loop
      if (await this.#sendPart(id, part, path)) sent += part.bytes;
      this.#onStep("part");
      onPart(sent);
    }
    await this.writeState(id, state);
    this.#onStep("state");
    const text = manifestText(folder);
    await this.#put(id, MANIFEST_SUM, `${sumOf(text)}  ${MANIFEST}\n`);
    this.#onStep("sum");
    await this.#put(id, MANIFEST, text);
    this.#onStep("manifest");
    return sent;
  }

  /** Takes a copy away; also one that was never whole, or whose deletion was broken off. */
  async remove(id: string, parts: readonly Part[] = []): Promise<void> {
    await this.#put(id, DELETED, "");
    this.#onStep("marked");
    await this.#bucket.remove(this.#key(id, MANIFEST));
    this.#onStep("unmanifested");
    const listed = (await this.#bucket.list(this.#key(id, ""))).map(({ key }) => key);
    const named = [MANIFEST_SUM, STATE, ...parts.map(({ name }) => name)].map((name) => this.#key(id, name));
    const mark = this.#key(id, DELETED);
    await eachOf(
      [...new Set([...listed, ...named])].filter((key) => key !== mark),
      (key) => this.#bucket.remove(key),
    );
    this.#onStep("emptied");
    await this.#bucket.remove(mark);
    this.#onStep("removed");
  }

  /** Replaces what is known of a copy. */
  async writeState(id: string, state: BackupState): Promise<void> {
    await this.#put(id, STATE, `${JSON.stringify(state, null, 2)}\n`);
  }

  /** Pieces of a stored part. */
  read(id: string, { name, bytes }: Part): AsyncIterable<Uint8Array> {
    return this.#bucket.read(this.#key(id, name), bytes);
  }

  /** Returns whether it had to be sent. */
  async #sendPart(id: string, part: Part, path: string): Promise<boolean> {
    const key = this.#key(id, part.name);
    if (!existsSync(path)) throw new Error(`${path} is missing: the backup is damaged, and is not copied`);
    const { md5, sha256, bytes } = sumsOf(path);
    if (bytes !== part.bytes || sha256 !== part.sha256)
      throw new Error(`${path} is damaged: it is not what was stored; supervisor backup verify shows more`);
    const there = await this.#bucket.head(key);
    if (there?.bytes === part.bytes && there.etag === md5.toString("hex")) return false;
    const etag = await this.#bucket.put(key, Bun.file(path), { bytes, md5: md5.toString("base64") });
    // A store that encrypts with keys of its own has other ETags; it has compared the MD5 that went with the body.
    if (/^[0-9a-f]{32}$/.test(etag) && etag !== md5.toString("hex") && !(await this.#isWhole(key, bytes)))
      throw new Error(`${key} did not arrive as it was sent`);
    return true;
  }

  async #isWhole(key: string, bytes: number): Promise<boolean> {
    return (await this.#bucket.head(key))?.bytes === bytes;
  }

  async #put(id: string, name: string, text: string): Promise<void> {
    const bytes = Buffer.from(text);
    const md5 = createHash("md5").update(bytes).digest("base64");
    await this.#bucket.put(this.#key(id, name), bytes, { bytes: bytes.length, md5 });
  }

  /** Throws what is wrong with it. */
  async #manifest(id: string, text: string): Promise<Manifest> {
    const sum = (await this.#bucket.get(this.#key(id, MANIFEST_SUM), MAX_JSON_BYTES))?.split(/\s/)[0];
    if (sum !== sumOf(text)) throw new Error(`${MANIFEST} is not the one that was written: ${MANIFEST_SUM} differs`);
    const manifest = manifestSchema.parse(JSON.parse(text));
    if (manifest.id !== id) throw new Error(`it is ${manifest.id} under another name`);
    return manifest;
  }

  /** What was learnt may be learnt again. */
  async #state(id: string): Promise<BackupState> {
    const text = await this.#bucket.get(this.#key(id, STATE), MAX_JSON_BYTES);
    try {
      return text === undefined ? emptyState : stateSchema.parse(JSON.parse(text));
    } catch {
      return emptyState;
    }
  }

  /** Throws when a part is not there, or has another size. */
  async #refuseMissing(id: string, { parts }: Manifest, objects: Objects): Promise<void> {
    for (const { name, bytes } of parts) {
      if (objects.get(name) === bytes) continue;
      // The listing may be older than the part.
      // oxlint-disable-next-line no-await-in-loop
      const there = await this.#bucket.head(this.#key(id, name));
      if (there === undefined) throw new Error(`${name} is missing`);
      if (there.bytes !== bytes) throw new Error(`${name} has ${there.bytes} bytes instead of ${bytes}`);
    }
  }

  #key(id: string, name: string): string {
    return `${this.#folder}${id}/${name}`;
  }
}

/** Read with one buffer, so that memory does not grow with the file. */
function sumsOf(path: string): { readonly md5: Buffer; readonly sha256: string; readonly bytes: number } {
  const [md5, sha256] = [createHash("md5"), createHash("sha256")];
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const fd = openSync(path, "r");
  let bytes = 0;
  try {
    for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
      const piece = buffer.subarray(0, count);
      md5.update(piece);
      sha256.update(piece);
      bytes += count;
    }
  } finally {
    closeSync(fd);
  }
  return { md5: md5.digest(), sha256: sha256.digest("hex"), bytes };
}

/** Some at a time, in order of their begin; ends with the first error. */
async function eachOf<Item>(items: readonly Item[], deed: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values();
  const work = async (): Promise<void> => {
    for (const item of left) await deed(item);
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}

function timeOf({ manifest }: RemoteBackup): number {
  return Date.parse(manifest.snapshotAt);
}
