/** The files of a state in its folder, and what it takes to make them durable. */
import {
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

export interface StateFiles {
  readonly folder: string;
  readonly database: string;
  readonly wal: string;
  readonly shm: string;
  /** Says that there is a state, and which: without it an empty file would look like a first start. */
  readonly sidecar: string;
  /** Second copy of what the bot owns and owes, one row a line; and the one before it, until a backup covers it. */
  readonly second: string;
  readonly secondOld: string;
  /** Copy of the database, page by page, that was read back and proven. */
  readonly backup: string;
  readonly quarantine: string;
}

export function stateFiles(folder: string): StateFiles {
  const database = join(folder, "state.db");
  return {
    folder,
    database,
    wal: `${database}-wal`,
    shm: `${database}-shm`,
    sidecar: `${database}.id`,
    second: join(folder, "intents.ndjson"),
    secondOld: join(folder, "intents.old.ndjson"),
    backup: join(folder, "state.backup.db"),
    quarantine: join(folder, "quarantine"),
  };
}

export interface Sidecar {
  readonly uuid: string;
  /** ms since 1970 UTC. */
  readonly created: number;
}

/** A sidecar is some 80 bytes. */
const MAX_SIDECAR_BYTES = 4_096;

/** `undefined` when there is none; one that cannot be read still says that there is a state. */
export function readSidecar(path: string): Sidecar | "unreadable" | undefined {
  if (!existsSync(path)) return undefined;
  try {
    if (statSync(path).size > MAX_SIDECAR_BYTES) return "unreadable";
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof value !== "object" || value === null) return "unreadable";
    const uuid: unknown = Reflect.get(value, "uuid");
    const created: unknown = Reflect.get(value, "created");
    return typeof uuid === "string" && typeof created === "number" ? { uuid, created } : "unreadable";
  } catch {
    return "unreadable";
  }
}

export function writeSidecar(path: string, sidecar: Sidecar): void {
  writeDurably(path, `${JSON.stringify(sidecar)}\n`);
}

/** Replaces the file; it and its name are on the disk when this returns. */
export function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const fd = openSync(temporary, flags, 0o600);
  try {
    writeAll(fd, Buffer.from(text));
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.byteLength;) at += writeSync(fd, bytes, at);
}

export function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function syncFile(path: string): void {
  const fd = openSync(path, constants.O_RDWR);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/**
 * A file that root has made here would be closed to the bot, which then could not open its own state. The bot may write to
 * this folder, so a link that it has put in the file's place is refused, and not followed to a file of somebody else.
 */
export function giveToOwner(path: string, { database }: StateFiles): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(database);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.nlink !== 1) throw new Error(`cannot give ${path} to the bot: it is no file of its own`);
    fchownSync(fd, uid, gid);
  } finally {
    closeSync(fd);
  }
}
