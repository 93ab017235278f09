/**
 * Writes every file that is generated from the code; `--check` writes nothing and exits 1 naming the stale ones.
 * test/docs.test.ts runs the same comparison.
 */
import { join } from "node:path";
import { backupLineSchema } from "../src/core/backup-job.ts";
import { backupRecordSchema } from "../src/core/backup-record.ts";
import { drillRecordSchema } from "../src/core/drill.ts";
import { real } from "../src/core/later.ts";
import { lifecycleMarkdown } from "../src/report/lifecycle-table.ts";
import { metricsMarkdown } from "../src/report/metrics-table.ts";
import { configJsonSchema, configReferenceMarkdown } from "../src/supervisor/runtime/config/reference.ts";
import { exchangeIdsSource, exchangesMarkdown, exchangesSource } from "./generate-exchanges.ts";
import { configSchema } from "../src/supervisor/runtime/config/schema.ts";
import { shapeOf } from "../src/supervisor/runtime/config/shape.ts";

const root = join(import.meta.dirname, "..");
/** One formatter run takes 0.1 s; a hung one must not hang the check, ms. */
const FORMAT_TIMEOUT_MS = 20_000;

/** The schema of the config without zod, for the start of the daemon. */
function plainTableSource(): string {
  return [
    "/** What a config must be, printed from its schema by scripts/generate.ts; plain.ts reads it. */",
    'import type { Shape } from "./plain.ts";',
    "",
    `export const PLAIN_TABLE: Shape = ${JSON.stringify(shapeOf(configSchema))};`,
  ].join("\n");
}

function backupTablesSource(): string {
  return [
    "/** What a record of backups or of drills and a line of a worker must be, printed from their schemas by scripts/generate.ts; backup-lines.ts reads them. */",
    'import type { Shape } from "./config/plain.ts";',
    "",
    `export const RECORD_TABLE: Shape = ${JSON.stringify(shapeOf(real(backupRecordSchema)))};`,
    "",
    `export const DRILL_TABLE: Shape = ${JSON.stringify(shapeOf(real(drillRecordSchema)))};`,
    "",
    `export const LINE_TABLE: Shape = ${JSON.stringify(shapeOf(real(backupLineSchema)))};`,
  ].join("\n");
}

/** Every generated file, by its path in the repository. */
const sources: { readonly [path: string]: () => string } = {
  "docs/lifecycle.md": lifecycleMarkdown,
  "docs/metrics.md": metricsMarkdown,
  "docs/config.md": configReferenceMarkdown,
  "docs/exchanges.md": exchangesMarkdown,
  "config/supervisor.schema.json": () => JSON.stringify(configJsonSchema(), null, 2),
  "src/supervisor/runtime/config/plain-table.ts": plainTableSource,
  "src/supervisor/runtime/backup-tables.ts": backupTablesSource,
  "src/core/exchange-ids.ts": exchangeIdsSource,
  "src/actions/venue/exchanges.ts": exchangesSource,
};

export interface GeneratedFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
}

/** All generated files as they should be on disk, formatted. Throws when the formatter refuses one. */
export function generatedFiles(): Promise<GeneratedFile[]> {
  return Promise.all(
    Object.entries(sources).map(async ([path, text]) => ({ path, text: await formatted(path, text()) })),
  );
}

/** The paths of `files` whose text on disk is another, or that do not exist. */
export async function staleFiles(files: readonly GeneratedFile[]): Promise<string[]> {
  const stale: string[] = [];
  for (const { path, text } of files) {
    const file = Bun.file(join(root, path));
    if (!(await file.exists()) || (await file.text()) !== text) stale.push(path);
  }
  return stale;
}

/** `text` as `oxfmt` leaves a file of that name. */
async function formatted(path: string, text: string): Promise<string> {
  const oxfmt = Bun.spawn([join(root, "node_modules/.bin/oxfmt"), "--stdin-filepath", path], {
    cwd: root,
    stdin: new Blob([text]),
    stdout: "pipe",
    stderr: "pipe",
    timeout: FORMAT_TIMEOUT_MS,
  });
  const [output, complaint, code] = await Promise.all([
    new Response(oxfmt.stdout).text(),
    new Response(oxfmt.stderr).text(),
    oxfmt.exited,
  ]);
  if (code !== 0) throw new Error(`cannot format ${path}: ${complaint.trim()}`);
  return output;
}

async function main(args: readonly string[]): Promise<number> {
  const files = await generatedFiles();
  const stale = await staleFiles(files);
  if (args.includes("--check")) {
    for (const path of stale) console.error(`${path} is stale; run: bun run generate`);
    return stale.length === 0 ? 0 : 1;
  }
  for (const { path, text } of files.filter((file) => stale.includes(file.path))) {
    await Bun.write(join(root, path), text);
    console.log(`wrote ${path}`);
  }
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
