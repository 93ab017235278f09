/**
 * Which server's WAL lies where. A server that is made anew (initdb) numbers its WAL from the beginning and so gives the names of
 * the old one's segments again: `TARGET/wal/` is of one server, whose system identifier it has in `system.json`, and what another
 * has left stays beside it, `TARGET/wal-IDENTIFIER/`, as long as there are bases of it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { Manifest } from "../../core/backup-manifest.ts";
import { readSegment, systemOfSegment, type WalSegment } from "../../core/wal.ts";
import { readTextIfExists, syncDir, writeFileAtomic } from "../../platform/files.ts";
import { tryLock, type Lock } from "../../platform/lock.ts";
import { Failure } from "./failure.ts";
import { systemOfFile, WAL_FOLDER, WalArchive } from "./wal-archive.ts";

const MARK = "system.json";
const MAX_MARK_BYTES = 4_096;
const FILE_MODE = 0o640;
/** Where a release that did not write the identifier has left WAL, and nothing tells whose it is. */
const UNKNOWN = "unknown";
const ASIDE = /^wal-(\d{1,20})$/;

const markSchema = z.looseObject({ version: z.literal(1), systemId: z.string().regex(/^\d{1,20}$/) });

/** Where the WAL of a base begins, and of which server it is; `undefined` of one that an older release has made. */
export interface BaseStart {
  readonly systemId: string | undefined;
  readonly start: WalSegment;
}

/** `undefined` for what is no base, or does not say it. */
export function startOfBase({ engine }: Pick<Manifest, "engine">, segmentBytes: number): BaseStart | undefined {
  const { walStart, systemId } = engine;
  const start = typeof walStart === "string" ? readSegment(walStart, segmentBytes) : undefined;
  return start && { systemId: typeof systemId === "string" ? systemId : undefined, start };
}

/** Where those begin that may need this server's WAL, the oldest first. */
export function startsFor(bases: readonly BaseStart[], systemId: string): readonly WalSegment[] {
  const own = bases.filter((base) => base.systemId === undefined || base.systemId === systemId);
  return own.map(({ start }) => start).toSorted((a, b) => a.number - b.number);
}

interface Claimed {
  readonly archive: WalArchive;
  readonly lock: Lock;
  /** Whose WAL was here until now and was moved aside; `undefined`: nobody else's. */
  readonly former: string | undefined;
}

/** The archive for this server's WAL, made where there is none, for us alone; `undefined` while another process holds it. Throws. */
export async function claimArchive(
  targetFolder: string,
  segmentBytes: number,
  systemId: string,
): Promise<Claimed | undefined> {
  const archive = new WalArchive(targetFolder, segmentBytes, { systemId });
  const [place, own] = [archive.folder, join(targetFolder, `${WAL_FOLDER}-${systemId}`)];
  // A kill between the two renames below has left it so.
  if (!existsSync(place) && existsSync(own)) renameSync(own, place);
  archive.make();
  const lock = lockOf(archive);
  if (lock === undefined) return undefined;
  const owner = await ownerOf(archive);
  if (owner === undefined || owner === systemId) {
    moveStrays(archive, targetFolder, systemId);
    mark(archive, systemId);
    return { archive, lock, former: undefined };
  }
  const aside = join(targetFolder, `${WAL_FOLDER}-${owner}`);
  if (existsSync(aside)) {
    lock.release();
    throw new Failure("store", `${place} is of another server (${owner}), and ${aside} is there already: move it away`);
  }
  mark(archive, owner);
  renameSync(place, aside);
  if (existsSync(own)) renameSync(own, place);
  syncDir(targetFolder);
  lock.release();
  archive.make();
  const second = lockOf(archive);
  if (second === undefined) return undefined;
  mark(archive, systemId);
  return { archive, lock: second, former: owner };
}

/** The archive that a base of this server is recovered from; `undefined`: the base does not say whose it is. */
export function archiveFor(targetFolder: string, segmentBytes: number, systemId: string | undefined): WalArchive {
  const names = [WAL_FOLDER, `${WAL_FOLDER}-${systemId ?? UNKNOWN}`, `${WAL_FOLDER}-${UNKNOWN}`];
  const there = names.filter((name) => existsSync(join(targetFolder, name)));
  const marked = there.find((name) => systemId !== undefined && markOf(join(targetFolder, name)) === systemId);
  const name = marked ?? there.find((each) => markOf(join(targetFolder, each)) === undefined) ?? names[1];
  return new WalArchive(targetFolder, segmentBytes, { name });
}

/** Deletes what was moved aside and no base needs any more. Nothing goes while this server has no base. */
export function pruneAside(
  targetFolder: string,
  segmentBytes: number,
  systemId: string,
  bases: readonly BaseStart[],
): void {
  if (!bases.some((base) => base.systemId === systemId)) return;
  for (const name of readdirSync(targetFolder)) {
    const other = ASIDE.exec(name)?.[1];
    if (other === undefined || other === systemId) continue;
    const [oldest] = startsFor(bases, other);
    if (oldest !== undefined) new WalArchive(targetFolder, segmentBytes, { name }).prune(oldest);
    else rmSync(join(targetFolder, name), { recursive: true, force: true });
  }
}

function lockOf({ folder }: WalArchive): Lock | undefined {
  return tryLock(join(folder, ".lock"));
}

function mark({ folder }: WalArchive, systemId: string): void {
  if (systemId !== UNKNOWN && markOf(folder) !== systemId)
    writeFileAtomic(join(folder, MARK), `${JSON.stringify({ version: 1, systemId })}\n`, FILE_MODE);
}

function markOf(folder: string): string | undefined {
  try {
    const text = readTextIfExists(join(folder, MARK), MAX_MARK_BYTES);
    return text === undefined ? undefined : markSchema.parse(JSON.parse(text)).systemId;
  } catch {
    return undefined;
  }
}

/** Whose WAL lies there; `undefined` where there is none. One that no mark names is told by what was received, or stored. */
async function ownerOf(archive: WalArchive): Promise<string | undefined> {
  const marked = markOf(archive.folder);
  if (marked !== undefined) return marked;
  const received = archive.received().map(({ path }) => systemOfFile(path));
  const known = received.find((each) => each !== undefined);
  if (known !== undefined) return known;
  const newest = archive.stored().at(-1);
  if (newest === undefined) return undefined;
  try {
    for await (const first of archive.read(newest.name, undefined)) return systemOfSegment(first) ?? UNKNOWN;
  } catch {
    // It is encrypted, or damaged.
  }
  return UNKNOWN;
}

/** What pg_receivewal has had of another server, which stood in at the address for a while, must not be taken for this one's. */
function moveStrays(archive: WalArchive, targetFolder: string, systemId: string): void {
  for (const { name, path } of archive.received()) {
    const system = systemOfFile(path);
    if (system === undefined || system === systemId) continue;
    const other = new WalArchive(targetFolder, 1, { name: `${WAL_FOLDER}-${system}` });
    other.make();
    mark(other, system);
    mkdirSync(other.incoming, { recursive: true });
    renameSync(path, join(other.incoming, name));
  }
}
