/**
 * Puts a dump where a Redis server reads it at its start. With the append-only file on, a server never looks at `dump.rdb`, and
 * starts empty: the dump must then be the base of that file (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Manifest } from "../../core/backup-manifest.ts";
import { syncDir, writeFileAtomic } from "../../platform/files.ts";

/** Redis' own modes. */
const FILE_MODE = 0o640;
const FOLDER_MODE = 0o750;
/** The first version whose append-only file is several. */
const MIN_AOF_VERSION = 7;

export interface RedisLayout {
  /** Whether the server that will read it has `appendonly yes`. */
  readonly appendonly: boolean;
  /** Version of that server; asked with `appendonly` only. Default: 7. */
  readonly version?: string | undefined;
  /** Settings of that server, by its names for them. Default: Redis' own. */
  readonly dbfilename?: string | undefined;
  readonly appenddirname?: string | undefined;
  readonly appendfilename?: string | undefined;
}

/** The layout of the server that a backup was made of. */
export function layoutOf({ engine }: Pick<Manifest, "engine">): RedisLayout {
  const text = (key: string): string | undefined => (typeof engine[key] === "string" ? engine[key] : undefined);
  return {
    appendonly: engine["appendonly"] === true,
    version: engine.version,
    dbfilename: text("dbfilename"),
    appenddirname: text("appenddirname"),
    appendfilename: text("appendfilename"),
  };
}

/**
 * Copies the dump `rdb` into a server's data folder, which has none and whose server does not run: flushed, with the owner
 * of the folder. Returns what was made, files first. Throws when something is in its place, since that would be lost.
 */
export function installRdb(folder: string, rdb: string, layout: RedisLayout): readonly string[] {
  const { appendonly, version = String(MIN_AOF_VERSION), dbfilename = "dump.rdb" } = layout;
  if (!appendonly) {
    const file = join(folder, dbfilename);
    refuse(file);
    place(rdb, file);
    return [file];
  }
  if (Number.parseInt(version, 10) < MIN_AOF_VERSION)
    throw new Error(`cannot restore into Redis ${version} with appendonly yes: switch it off for the first start`);
  const { appenddirname = "appendonlydir", appendfilename = "appendonly.aof" } = layout;
  const aof = join(folder, appenddirname);
  refuse(aof);
  mkdirSync(aof, { mode: FOLDER_MODE });
  dress(aof, FOLDER_MODE);
  const base = `${appendfilename}.1.base.rdb`;
  // Before the data: a server that finds the list without its files refuses to start, one that finds no list starts empty.
  const manifest = join(aof, `${appendfilename}.manifest`);
  writeFileAtomic(manifest, `file ${base} seq 1 type b\n`, FILE_MODE);
  dress(manifest, FILE_MODE);
  syncDir(folder);
  place(rdb, join(aof, base));
  return [join(aof, base), manifest, aof];
}

function refuse(path: string): void {
  if (existsSync(path)) throw new Error(`cannot put a dump in ${path}: it exists; move it away first`);
}

/** Under another name until it is whole and flushed. */
function place(from: string, to: string): void {
  const temporary = `${to}.restoring`;
  copyFileSync(from, temporary);
  dress(temporary, FILE_MODE);
  const fd = openSync(temporary, constants.O_RDWR);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, to);
  syncDir(dirname(to));
}

/** The owner of what is around it: the server does not run as root. */
function dress(path: string, mode: number): void {
  const { uid, gid } = statSync(dirname(path));
  const own = statSync(path);
  if (own.uid !== uid || own.gid !== gid) chownSync(path, uid, gid);
  chmodSync(path, mode);
}
