/**
 * The action `pack-dump`: puts what is left after a death beside what was captured before it, and makes one archive of both. The
 * archive appears under its name only when it is whole.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { create } from "tar";
import { orderEvents } from "../../core/blackbox.ts";
import { dumpManifestSchema, type DumpManifest } from "../../core/dump-manifest.ts";
import { packJobSchema, type PackJob, type PackLine } from "../../core/dump-job.ts";
import { roomWanted } from "../../core/dump.ts";
import { parseOutputMarks, rangeOfRun } from "../../core/output-marks.ts";
import { formatSize } from "../../core/size.ts";
import { readStart, recordedStarts } from "../../platform/blackbox-files.ts";
import { readTextIfExists, syncDir } from "../../platform/files.ts";
import { readOutput } from "../../platform/output-stream.ts";
import { viewOutput } from "../../platform/output-view.ts";
import { readProc } from "../../platform/proc.ts";
import { readSamples } from "../../platform/sample-file.ts";
import { defineAction } from "../contract.ts";
import { DumpFolder } from "./folder.ts";
import { addHost } from "./proc-set.ts";
import { stateSummary } from "./state-summary.ts";
import { pruneDumps } from "./store.ts";

/** The last of everything: events of the bot, bytes of its output, lines of the supervisor's journal. */
const EVENTS = 1_000;
const OUTPUT_BYTES = 1_048_576;
const JOURNAL_LINES = 200;
/** Bytes of the journal's last files that are looked through for them. */
const JOURNAL_BYTES = 8 * 1_048_576;
const MAX_RUNS_BYTES = 1_048_576;
/** A file of the journal has some 16 MiB at most. */
const MAX_JOURNAL_BYTES = 64 * 1_048_576;
const ZSTD_LEVEL = 3;

export const packAction = defineAction({
  jobSchema: packJobSchema,
  run: async (job, { write }) => {
    write(await pack(job));
    return 0;
  },
});

async function pack(job: PackJob): Promise<PackLine> {
  const folderPath = job.captured ?? join(job.dumps, `.dump-${job.manifest.id}`);
  try {
    const little = littleRoom(job);
    if (little !== undefined) return { kind: "skipped", reason: little };
    const folder = new DumpFolder(folderPath, job.secrets);
    for (const [path, text] of Object.entries(job.glance ?? {})) folder.add(path, () => text);
    if (job.captured === undefined) addHost(folder);
    await addRemains(folder, job);
    const manifest = dumpManifestSchema.parse({
      ...job.manifest,
      versions: { ...versionsOf(job), kernel: readProc("/proc/sys/kernel/osrelease")?.trim() ?? "unknown" },
      live: folder.entries.some(({ path }) => path.startsWith("proc/")),
      entries: folder.entries,
      missing: folder.missing,
    });
    const bytes = writeArchive(folder, manifest, join(job.dumps, job.file));
    const removed = pruneDumps(job.dumps, job.manifest.bot, job.policy).filter(({ remove }) => remove).length;
    return { kind: "dumped", file: job.file, bytes, entries: manifest.entries.length, removed };
  } finally {
    rmSync(folderPath, { recursive: true, force: true });
  }
}

function versionsOf({ manifest }: PackJob): object {
  const versions = manifest["versions"];
  return typeof versions === "object" && versions !== null ? versions : {};
}

function littleRoom({ dumps, policy }: PackJob): string | undefined {
  const { bsize, bavail, blocks } = statfsSync(dumps);
  const free = bsize * bavail;
  const wanted = roomWanted(policy, bsize * blocks);
  if (free >= wanted) return undefined;
  const rule = wanted === policy.minFree ? "minFree" : "minFreeRatio";
  return `${formatSize(free)} are free in ${dumps}, less than dump.${rule} wants (${formatSize(wanted)})`;
}

async function addRemains(folder: DumpFolder, job: PackJob): Promise<void> {
  const { manifest, samples, journal, status, config } = job;
  const generation = dumpManifestSchema.shape.generation.parse(manifest["generation"]);
  folder.add("status.json", () => `${JSON.stringify(status, undefined, 2)}\n`);
  folder.add("config.json", () => config);
  folder.add("samples.ndjson", () => {
    const readings = readSamples(samples).filter((sample) => sample.generation === generation);
    return linesOf(readings);
  });
  folder.add("supervisor.ndjson", () => journalOf(journal, manifest.bot));
  addBlackbox(folder, job, generation);
  await folder.addLater("output.tail", () => outputOf(job, generation));
  await folder.addLater("state/summary.json", () => stateSummary(job.state, job.dumps));
}

function addBlackbox(folder: DumpFolder, { blackbox }: PackJob, generation: number): void {
  const starts = recordedStarts(blackbox).filter(({ name }) => {
    const of = Number.parseInt(name, 10);
    // A writer with names of its own does not say of which start it is.
    return of === generation || Number.isNaN(of);
  });
  const readings = starts.map((start) => readStart(start));
  folder.add("blackbox/events.ndjson", () =>
    linesOf(orderEvents(readings.flatMap(({ events }) => events)).slice(-EVENTS)),
  );
  folder.add("blackbox/instruments.json", () => {
    const page = readings.find((reading) => reading.page !== undefined)?.page;
    return page === undefined ? undefined : `${JSON.stringify(page, undefined, 2)}\n`;
  });
}

/** The end of what the start has said. */
async function outputOf({ output }: PackJob, generation: number): Promise<string | undefined> {
  const view = viewOutput(output);
  if (view.inode === undefined && view.end === 0) return undefined;
  const range = rangeOfRun(parseOutputMarks(readTextIfExists(output.runs, MAX_RUNS_BYTES) ?? ""), generation, view);
  const to = Math.min(range?.to ?? view.end, view.end);
  const from = Math.max(range?.from ?? 0, to - OUTPUT_BYTES);
  const chunks: Buffer[] = [];
  for await (const { chunk } of readOutput(output, { from, to, onLoss: () => undefined })) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** The last lines of the journal about the bot, and about the supervisor itself. */
function journalOf(folder: string, bot: string): string {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".ndjson"))
    .toSorted()
    .toReversed();
  const lines: string[] = [];
  let bytes = 0;
  for (const name of files) {
    const text = journalText(join(folder, name));
    bytes += text.length;
    const about = text.split("\n").filter((line) => line !== "" && isAbout(line, bot));
    lines.unshift(...about.slice(-(JOURNAL_LINES - lines.length)));
    if (lines.length >= JOURNAL_LINES || bytes >= JOURNAL_BYTES) break;
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** What is no file of ours, as a FIFO that would be waited for without end, says nothing. */
function journalText(path: string): string {
  try {
    return readTextIfExists(path, MAX_JOURNAL_BYTES) ?? "";
  } catch {
    return "";
  }
}

function isAbout(line: string, bot: string): boolean {
  return line.includes(`"bot":${JSON.stringify(bot)}`) || !line.includes(`"bot":`);
}

function linesOf(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join("");
}

/** The manifest first, so that a reader of the stream knows what follows. */
function writeArchive({ path }: DumpFolder, manifest: DumpManifest, target: string): number {
  writeFileSync(join(path, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`, { mode: 0o600 });
  const tarFile = `${path}.tar`;
  const partial = `${target}.partial`;
  try {
    const names = ["manifest.json", ...manifest.entries.map((entry) => entry.path)];
    create({ sync: true, cwd: path, file: tarFile, portable: true, noDirRecurse: true }, names);
    const fd = openSync(partial, "w", 0o600);
    try {
      writeFileSync(fd, Bun.zstdCompressSync(readFileSync(tarFile), { level: ZSTD_LEVEL }));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    const { size } = statSync(partial);
    renameSync(partial, target);
    syncDir(join(target, ".."));
    return size;
  } finally {
    rmSync(tarFile, { force: true });
    rmSync(partial, { force: true });
  }
}
