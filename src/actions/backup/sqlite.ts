/** SQLite as a source of backups: a copy as of one instant while the bot goes on writing, proven by SQLite itself. */
import { createReadStream, createWriteStream } from "node:fs";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Manifest } from "../../core/backup-manifest.ts";
import { checkDatabase, copyDatabase, databaseBytes, readContent } from "../../platform/sqlite.ts";
import type { Prover, Source } from "./source.ts";

/** Pieces in which files are read and handed on, bytes. */
const CHUNK_BYTES = 1_024 ** 2;
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
    capture: async ({ scratch, signal, now, onProgress }) => {
      const copy = join(scratch, basename(path));
      const { pageSize, pageCount, snapshotAt } = await copyDatabase(path, copy, {
        signal,
        now,
        onProgress: (at) => onProgress({ step: "reading", ...at }),
      });
      return {
        kind: "full",
        base: null,
        snapshotAt,
        rawName: basename(path),
        raw: createReadStream(copy, { highWaterMark: CHUNK_BYTES }),
        facts: async () => {
          const { schemaSha256, tables } = await readContent(copy);
          return { content: { schemaSha256, tables }, engine: { name: "SQLite", version: "3", pageSize, pageCount } };
        },
      };
    },
  };
}

export const sqliteProver: Prover = {
  parse: async (raw) => {
    let head = "";
    for await (const chunk of raw)
      if (head.length < MAGIC.length) head += Buffer.from(chunk.subarray(0, MAGIC.length)).toString("latin1");
    if (!head.startsWith(MAGIC)) throw new Error("it does not begin as a SQLite database does");
  },
  prove: async (raw, manifest, scratch) => {
    const path = join(scratch, manifest.raw.name);
    await pipeline(raw, createWriteStream(path, { mode: 0o600 }));
    const findings = await checkDatabase(path, { quick: false });
    if (findings.length > 0) throw new Error(findings.join("; "));
    compareContent(manifest, await readContent(path));
  },
};

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
