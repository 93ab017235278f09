/**
 * SQLite databases of others: a consistent copy while they are written, and what a copy holds
 * (https://sqlite.org/backup.html, https://sqlite.org/pragma.html). Only workers load it: the library is heavy.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fdatasyncSync, openSync, statSync } from "node:fs";

/** Wait for a lock of the writer before a step fails, ms. */
const BUSY_TIMEOUT_MS = 5_000;
/** Pages copied in one go: 4 MiB at the usual page size, some milliseconds. */
const STEP_PAGES = 1_000;
/** The writer waits for the disk together with us: a flush of more than this stalls its commits for hundreds of ms. */
const SYNC_BYTES = 16 * 1_024 ** 2;
type Database = BetterSqlite3.Database;

export interface CopyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface CopiedDatabase {
  readonly pageSize: number;
  readonly pageCount: number;
  /** Instant after which nothing that was committed is in the copy. */
  readonly snapshotAt: Date;
}

export interface DatabaseContent {
  /** SHA-256 of the schema's statements in order of name. */
  readonly schemaSha256: string;
  readonly tables: Readonly<Record<string, number>>;
}

/** Opens a database that exists, to read only. Throws `cannot open PATH: why`. */
export function openToRead(path: string): Promise<Database> {
  return openExisting(path, true);
}

/** The same to write. */
export function openToWrite(path: string): Promise<Database> {
  return openExisting(path, false);
}

async function openExisting(path: string, readonly: boolean): Promise<Database> {
  // The per-platform entries embed the addon; the package's main entry looks for it in node_modules.
  const { default: Constructor } =
    process.arch === "arm64" ? await import("better-sqlite3/linux-arm64") : await import("better-sqlite3/linux-x64");
  try {
    return new Constructor(path, { timeout: BUSY_TIMEOUT_MS, readonly, fileMustExist: true });
  } catch (cause) {
    throw new Error(`cannot open ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Bytes that a copy of the database would have, its write-ahead log included. Throws when it is not there. */
export function databaseBytes(path: string): number {
  const wal = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  return statSync(path).size + wal;
}

/**
 * Copies the database page by page into the new file `copy`, as of one instant, while others go on writing to it.
 *
 * A read transaction of our own pins that instant: without it each commit of another process starts the copy anew, and
 * under steady writing it never ends. Throws when the source cannot be read, when `signal` aborts, and when the copy does
 * not have the size that it must have: a locked source is otherwise reported as success without a file.
 */
export async function copyDatabase(
  path: string,
  copy: string,
  options: { readonly signal: AbortSignal; readonly now: () => Date; readonly onProgress?: (at: CopyProgress) => void },
): Promise<CopiedDatabase> {
  const source = await openToRead(path);
  try {
    source.exec("BEGIN");
    source.prepare("SELECT count(*) FROM sqlite_schema").all();
    const snapshotAt = options.now();
    const pageSize = numberPragma(source, "page_size");
    const syncer = new Syncer(copy);
    try {
      const { totalPages } = await source.backup(copy, {
        progress: ({ totalPages: total, remainingPages }) => {
          options.signal.throwIfAborted();
          const doneBytes = (total - remainingPages) * pageSize;
          syncer.reached(doneBytes);
          options.onProgress?.({ doneBytes, totalBytes: total * pageSize });
          return STEP_PAGES;
        },
      });
      syncer.end();
      const bytes = statSync(copy, { throwIfNoEntry: false })?.size ?? 0;
      if (totalPages === 0 || bytes !== totalPages * pageSize)
        throw new Error(
          `it is locked by another process, or changed while it was copied (${bytes} bytes of ${totalPages} pages)`,
        );
      return { pageSize, pageCount: totalPages, snapshotAt };
    } finally {
      syncer.close();
    }
  } catch (cause) {
    throw new Error(`cannot copy ${path}: ${messageOf(cause)}`, { cause });
  } finally {
    source.close();
  }
}

/** Flushes a growing file in small pieces. */
class Syncer {
  readonly #path: string;
  #fd: number | undefined;
  #syncedBytes = 0;

  constructor(path: string) {
    this.#path = path;
  }

  reached(bytes: number): void {
    if (bytes - this.#syncedBytes < SYNC_BYTES) return;
    this.#syncedBytes = bytes;
    this.#sync();
  }

  end(): void {
    this.#sync();
  }

  #sync(): void {
    this.#fd ??= openSync(this.#path, constants.O_RDWR);
    fdatasyncSync(this.#fd);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** What a database holds. Throws when it cannot be read. */
export async function readContent(path: string): Promise<DatabaseContent> {
  const database = await openToRead(path);
  try {
    const schema = database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").raw(true).all();
    const names = database
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name",
      )
      .raw(true)
      .all()
      .map((row) => (Array.isArray(row) ? String(row[0]) : ""));
    const tables = Object.fromEntries(names.map((name) => [name, countRows(database, name)]));
    return { schemaSha256: createHash("sha256").update(JSON.stringify(schema)).digest("hex"), tables };
  } catch (cause) {
    throw new Error(`cannot read ${path}: ${messageOf(cause)}`, { cause });
  } finally {
    database.close();
  }
}

function countRows(database: Database, table: string): number {
  const [row] = database
    .prepare(`SELECT count(*) FROM "${table.replaceAll('"', '""')}"`)
    .raw(true)
    .all();
  return Array.isArray(row) ? Number(row[0]) : 0;
}

function numberPragma(database: Database, name: string): number {
  return Number(database.pragma(name, { simple: true }));
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** All rows that a statement gives, each as the list of its values. */
export function rowsOf(database: Awaited<ReturnType<typeof openToRead>>, sql: string): readonly unknown[][] {
  const rows = database.prepare(sql).raw(true).all();
  return rows.map((row) => (Array.isArray(row) ? row : []));
}
