/** Files and folders as a source of backups: one tar stream with modes and owners, for configuration and, encrypted, for secrets. */
import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync, symlinkSync, type Stats } from "node:fs";
import { dirname, join, relative } from "node:path";
import { create, Parser, Unpack, type ReadEntry } from "tar";
import type { Manifest } from "../../core/backup-manifest.ts";
import type { CaptureContext, Prover, Source } from "./source.ts";
import { filesFacts } from "./source-mark.ts";

/** Files of one backup; configuration has some dozen, and a path like / is a mistake. */
const MAX_FILES = 100_000;
/** A tar header and the padding of a file, bytes. */
const TAR_OVERHEAD_BYTES = 1_024;
/** Types of a tar entry that are files; a second name of a file is a link. */
export const FILE_TYPES: readonly string[] = ["File", "OldFile", "ContiguousFile", "Link"];

/**
 * The files and folders at `paths`, absolute, with everything below; links are stored as links. A checksum of secrets would
 * let others try guesses of them: that they have not changed is judged by their times and sizes alone.
 */
export function filesSource(paths: readonly string[], { secret }: { readonly secret: boolean }): Source {
  return {
    origin: paths.join(", "),
    measure: async () => {
      let rawBytes = 0;
      let files = 0;
      for (const path of paths)
        for (const stats of walk(path)) {
          files += 1;
          rawBytes += TAR_OVERHEAD_BYTES + (stats.isFile() ? stats.size : 0);
          if (files > MAX_FILES) throw new Error(`there are more than ${MAX_FILES} files below ${paths.join(", ")}`);
        }
      return { rawBytes, temporaryBytes: 0, files };
    },
    facts: async (now) => filesFacts(paths, { now, contents: !secret, maxFiles: MAX_FILES }),
    capture: async (context) => {
      const snapshotAt = context.now();
      const tally = { files: 0 };
      return {
        kind: "full",
        base: null,
        snapshotAt,
        rawName: "files.tar",
        raw: archive(paths, context, tally),
        facts: async () => ({ content: { files: tally.files }, engine: { name: "tar", version: "pax" } }),
      };
    },
  };
}

/** Stored below the root without the first slash, so that unpacking never writes outside of the chosen folder. */
async function* archive(
  paths: readonly string[],
  { signal, onProgress }: CaptureContext,
  tally: { files: number },
): AsyncGenerator<Uint8Array> {
  const packer = create(
    {
      cwd: "/",
      // A file that goes or cannot be read meanwhile is an error, never a hole in the backup.
      strict: true,
      filter: (_path, entry) => {
        if ("isFile" in entry && entry.isFile()) tally.files += 1;
        return true;
      },
    },
    paths.map((path) => relative("/", path)),
  );
  let doneBytes = 0;
  for await (const chunk of packer) {
    signal.throwIfAborted();
    doneBytes += chunk.length;
    onProgress({ step: "reading", doneBytes, totalBytes: doneBytes });
    yield chunk;
  }
}

export const filesProver: Prover = {
  parse: async (raw, manifest) => {
    let files = 0;
    const onReadEntry = (entry: ReadEntry): void => {
      if (FILE_TYPES.includes(entry.type)) files += 1;
      entry.resume();
    };
    await feed(raw, new Parser({ strict: true, onReadEntry }));
    compare(manifest, files);
  },
  prove: async (raw, manifest, scratch) => {
    await unpackTar(raw, scratch, { preserveOwner: false });
    compare(manifest, [...walk(scratch)].filter((stats) => stats.isFile()).length);
  },
};

function compare({ content }: Manifest, found: number): void {
  if (content.files !== found) throw new Error(`it holds ${found} files instead of ${content.files ?? "none"}`);
}

export interface UnpackOptions {
  readonly preserveOwner: boolean;
  /** Says of a path in the archive, without its last slash, whether it is wanted; default: all. */
  readonly wanted?: (path: string) => boolean;
}

/**
 * Unpacks the stream into a folder with the modes of the archive. Links are made when all else is there, with whatever they
 * point to: so nothing is ever written through one, and a link to an absolute path is kept as it is. Throws for an entry
 * that leads out of the folder, and for one that is no file, folder or link.
 */
export async function unpackTar(
  raw: AsyncIterable<Uint8Array>,
  folder: string,
  { preserveOwner, wanted = () => true }: UnpackOptions,
): Promise<void> {
  const [files, links]: [ReadEntry[], ReadEntry[]] = [[], []];
  const filter = (path: string, given: object): boolean => {
    if (!wanted(pathInTar(path))) return false;
    // Safe: while unpacking, the library passes the entry that it has read.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const entry = given as ReadEntry;
    if (entry.type === "SymbolicLink") links.push(entry);
    else if (FILE_TYPES.includes(entry.type) && entry.type !== "Link") files.push(entry);
    return entry.type !== "SymbolicLink";
  };
  await feed(raw, new Unpack({ cwd: folder, strict: true, chmod: true, preserveOwner, filter }));
  // The library makes files as the umask lets it, and a new owner takes bits off; no link is there yet that could lead away.
  for (const { path, mode } of files) if (mode !== undefined) chmodSync(join(folder, pathInTar(path)), mode & 0o7777);
  for (const { path, linkpath, uid, gid } of links) {
    if (isOutside(path)) throw new Error(`${path} leads out of the folder`);
    const place = join(folder, pathInTar(path));
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(linkpath ?? "", place);
    if (preserveOwner && uid !== undefined && gid !== undefined) lchownSync(place, uid, gid);
  }
}

/** The path of an entry without the slash of a folder and the `./` of an archive of `.`. */
export function pathInTar(path: string): string {
  return path.replace(/\/+$/, "").replace(/^(\.\/)+/, "");
}

/** Whether the path of an entry leads out of the folder it is unpacked in. */
export function isOutside(path: string): boolean {
  return path.startsWith("/") || path.split("/").includes("..");
}

/** Writes the stream into a tar parser and waits until the parser has taken it in; throws what either of them throws. */
export async function feed(raw: AsyncIterable<Uint8Array>, parser: Parser): Promise<void> {
  const ended = Promise.withResolvers<void>();
  parser.on("close", () => ended.resolve());
  parser.on("error", (error: unknown) => ended.reject(error));
  // Its error is thrown by the wait at the end, or while we wait for room.
  ended.promise.catch(() => undefined);
  for await (const chunk of raw) {
    if (parser.write(Buffer.from(chunk))) continue;
    const room = Promise.withResolvers<void>();
    parser.once("drain", () => room.resolve());
    await Promise.race([room.promise, ended.promise]);
  }
  parser.end();
  await ended.promise;
}

/** Every file, link and folder at and below `path`, links not followed. Throws for what cannot be read. */
function* walk(path: string): Generator<Stats> {
  const stats = lstatSync(path);
  yield stats;
  if (!stats.isDirectory()) return;
  for (const name of readdirSync(path)) yield* walk(join(path, name));
}
