/** SQLite as a source of backups: a copy as of one instant while the bot goes on writing, proven by SQLite itself. */
import { basename, join } from "node:path";
import type { Manifest } from "../../core/backup-manifest.ts";
import { copyDatabase, databaseBytes, readContent } from "../../platform/sqlite.ts";
import { askDatabase } from "../../platform/sqlite-ask.ts";
import { checkDatabase } from "../../platform/sqlite-check.ts";
import type { BackupCheck, CheckResult } from "../../core/backup-checks.ts";
import type { Basis } from "./basis.ts";
import { askChecks } from "./checks.ts";
import { differ, pageStream, parsePages, readHashed, rebuilt, type FileSums } from "./pages.ts";
import { writeRawFile } from "./raw-file.ts";
import type { Captured, Prover, Source } from "./source.ts";
import { sqliteFacts } from "./source-mark.ts";

/** First bytes of every database file (https://sqlite.org/fileformat.html). */
const MAGIC = "SQLite format 3\0";

/** The database file at `path`, written by whomever. */
export function sqliteSource(path: string): Source {
  return {
    origin: path,
    measure: async () => {
      const rawBytes = databaseBytes(path);
      return { rawBytes, temporaryBytes: rawBytes };
    },
    facts: async (now) => sqliteFacts(path, now),
    capture: async ({ scratch, signal, now, onProgress, basis }) => {
      const copy = join(scratch, basename(path));
      const { pageSize, pageCount, snapshotAt } = await copyDatabase(path, copy, {
        signal,
        now,
        onProgress: (at) => onProgress({ step: "reading", ...at }),
      });
      const file = { path: copy, pageSize, pageCount };
      const facts = async (): ReturnType<Captured["facts"]> => {
        const { schemaSha256, tables } = await readContent(copy);
        return { content: { schemaSha256, tables }, engine: { name: "SQLite", version: "3", pageSize, pageCount } };
      };
      return { snapshotAt, ...captureFrom(file, basename(path), basis, facts) };
    },
  };
}

/** The pages that differ from the basis when they are few; else all of them. */
function captureFrom(
  file: { readonly path: string; readonly pageSize: number; readonly pageCount: number },
  name: string,
  basis: Basis | undefined,
  facts: Captured["facts"],
): Omit<Captured, "snapshotAt"> {
  const found = basis === undefined ? undefined : differenceTo(file, basis);
  if (found === undefined || typeof found === "string") {
    const { blocks, hashes } = readHashed(file);
    const whole = {
      kind: "full",
      base: null,
      rawName: name,
      raw: { frames: blocks },
      facts,
      pageTable: hashes,
    } as const;
    return found === undefined ? whole : { ...whole, instead: found };
  }
  return {
    kind: "delta",
    base: found.base,
    rawName: `${name}.pages`,
    raw: pageStream(file, found.changed),
    facts: async () => {
      const { content, engine } = await facts();
      const { sha256: fileSha256, crc32: fileCrc32 } = found.sums;
      return { content: { ...content, fileSha256, fileCrc32 }, engine };
    },
  };
}

/** Says why it is of no use. */
function differenceTo(
  file: { readonly path: string; readonly pageSize: number; readonly pageCount: number },
  { id, table }: Basis,
): { readonly base: string; readonly changed: readonly number[]; readonly sums: FileSums } | string {
  if (table.pageSize !== file.pageSize)
    return `the database has pages of ${file.pageSize} bytes now, and had such of ${table.pageSize} in ${id}`;
  const difference = differ(file, table);
  if (difference.kind === "tooMuch") return `more than half of the database differs from ${id}`;
  return { base: id, changed: difference.changed, sums: difference.sums };
}

export const sqliteProver: Prover = {
  parse: async (raw, { kind, engine }) => {
    if (kind === "delta") {
      const { pageSize, pageCount } = await parsePages(raw);
      if (pageSize !== engine.pageSize || pageCount !== engine.pageCount)
        throw new Error(`it is of a database of ${pageCount} pages of ${pageSize} bytes`);
      return;
    }
    let head = "";
    for await (const chunk of raw)
      if (head.length < MAGIC.length) head += Buffer.from(chunk.subarray(0, MAGIC.length)).toString("latin1");
    if (!head.startsWith(MAGIC)) throw new Error("it does not begin as a SQLite database does");
  },
  prove: async (raw, manifest, scratch, base, checks) => {
    const path = join(scratch, base?.manifest.raw.name ?? manifest.raw.name);
    const database = base === undefined ? raw : rebuiltDatabase({ manifest, raw }, base);
    await writeRawFile(database, path, { mode: 0o600, flush: false });
    const findings = await checkDatabase(path, { quick: false });
    if (findings.length > 0) throw new Error(findings.join("; "));
    compareContent(manifest, await readContent(path));
    return checks === undefined ? [] : checkData(path, checks, Date.parse(manifest.snapshotAt));
  },
};

/** What a restored database answers to the checks of its target. */
export function checkData(
  path: string,
  checks: readonly BackupCheck[],
  snapshotMs: number,
): Promise<readonly CheckResult[]> {
  return askDatabase(path, ({ catalogue, ask }) =>
    askChecks({ dialect: "sqlite", catalogue, checks, snapshotMs }, async (sql) => ask(sql)),
  );
}

/** One stored backup as a restore reads it. */
interface StoredStream {
  readonly manifest: Manifest;
  /** Its raw stream (`decodeStream`). */
  readonly raw: AsyncIterable<Uint8Array>;
}

/**
 * The database of an incremental backup as one stream, from its own raw stream and that of the full backup which it names as
 * its base, in pieces of which each is gone when the next is asked for. It throws at its end, or before, unless it is the very
 * file that was copied: use nothing of it before.
 */
export function rebuiltDatabase(delta: StoredStream, base: StoredStream): AsyncGenerator<Uint8Array> {
  const { id, content } = delta.manifest;
  const { fileSha256: sha256, fileCrc32: crc32 } = content;
  if (delta.manifest.kind !== "delta" || sha256 === undefined) throw new Error(`${id} is no incremental backup`);
  if (delta.manifest.base !== base.manifest.id)
    throw new Error(`${id} is made against ${delta.manifest.base}, not against ${base.manifest.id}`);
  return rebuilt({ base: base.raw, delta: delta.raw, sums: { sha256, crc32 } });
}

/** Throws when a database does not hold what the manifest says. */
export function compareContent(
  { content }: Pick<Manifest, "content">,
  found: { readonly schemaSha256: string; readonly tables: Readonly<Record<string, number>> },
): void {
  if (content.schemaSha256 !== found.schemaSha256) throw new Error("its schema is not the one that was backed up");
  const wanted = content.tables ?? {};
  const wrong = [...new Set([...Object.keys(wanted), ...Object.keys(found.tables)])].filter(
    (table) => wanted[table] !== found.tables[table],
  );
  if (wrong.length > 0)
    throw new Error(
      wrong
        .map((table) => `table ${table} has ${found.tables[table] ?? "no"} rows instead of ${wanted[table] ?? "none"}`)
        .join("; "),
    );
}
