/** The folder of all dumps: what is in it, what is read of one, and what goes. */
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { Parser, type ReadEntry } from "tar";
import { chooseDumps, parseDumpName, type DumpPolicy, type DumpVerdict, type StoredDump } from "../../core/dump.ts";
import { dumpManifestSchema, type DumpManifest } from "../../core/dump-manifest.ts";
import { systemClock } from "../../platform/clock.ts";

/** Names under which workers write; what a killed one has left is removed once it is older than any worker lives, ms. */
const UNFINISHED = /^\.(?:dump|capture)-|\.partial$/;
const UNFINISHED_MS = 3_600_000;

export interface DumpFile extends StoredDump {
  readonly file: string;
}

/** The dumps there are, oldest first. Throws when the folder may not be read. */
export function storedDumps(folder: string): readonly DumpFile[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((file) => {
      const name = parseDumpName(file, Date.parse);
      const stat = lstatSync(join(folder, file), { throwIfNoEntry: false });
      return name === undefined || stat?.isFile() !== true ? [] : [{ file, name, bytes: stat.size }];
    })
    .toSorted((a, b) => a.name.at - b.name.at || (a.file < b.file ? -1 : 1));
}

/** Removes what the policy does not keep of one bot, and what killed workers have left. With `dryRun` nothing. */
export function pruneDumps(
  folder: string,
  bot: string,
  policy: DumpPolicy,
  { dryRun = false }: { dryRun?: boolean } = {},
): readonly DumpVerdict<DumpFile>[] {
  const now = systemClock.wallTime().getTime();
  const own = storedDumps(folder).filter(({ name }) => name.bot === bot);
  const verdicts = chooseDumps(own, policy, now);
  if (dryRun) return verdicts;
  for (const { dump, remove } of verdicts) if (remove) rmSync(join(folder, dump.file), { force: true });
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const age = now - (lstatSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? now);
    if (UNFINISHED.test(name) && age > UNFINISHED_MS) rmSync(join(folder, name), { recursive: true, force: true });
  }
  return verdicts;
}

export interface OpenedDump {
  readonly manifest: DumpManifest;
  /** By path, the manifest not among them. */
  readonly entries: ReadonlyMap<string, Buffer>;
}

/** Reads a whole dump, at most some 20 MiB. Rejects, naming the file, when it is damaged or of a newer format. */
export async function openDump(path: string): Promise<OpenedDump> {
  try {
    const entries = await unpack(Buffer.from(Bun.zstdDecompressSync(readFileSync(path))));
    const text = entries.get("manifest.json")?.toString("utf8");
    if (text === undefined) throw new Error("it has no manifest");
    const manifest = dumpManifestSchema.safeParse(JSON.parse(text));
    if (!manifest.success) throw new Error("its manifest is damaged, or of a newer release");
    return { manifest: manifest.data, entries: new Map([...entries].filter(([name]) => name !== "manifest.json")) };
  } catch (cause) {
    throw new Error(`cannot read dump ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** What does not agree with the manifest; empty for a sound dump. */
export function flawsOf({ manifest, entries }: OpenedDump): readonly string[] {
  const listed = new Set(manifest.entries.map(({ path }) => path));
  const flaws = [...entries.keys()].filter((path) => !listed.has(path)).map((path) => `${path} is not in the manifest`);
  for (const { path, bytes, sha256 } of manifest.entries) {
    const content = entries.get(path);
    if (content === undefined) flaws.push(`${path} is missing`);
    else if (content.length !== bytes) flaws.push(`${path} has ${content.length} bytes, the manifest says ${bytes}`);
    else if (createHash("sha256").update(content).digest("hex") !== sha256) flaws.push(`${path} has another sha256`);
  }
  return flaws;
}

function unpack(bytes: Buffer): Promise<Map<string, Buffer>> {
  const { promise, resolve, reject } = Promise.withResolvers<Map<string, Buffer>>();
  const entries = new Map<string, Buffer>();
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry: ReadEntry) => {
      const chunks: Buffer[] = [];
      entry.on("data", (chunk: Buffer) => chunks.push(chunk));
      entry.on("end", () => entries.set(entry.path, Buffer.concat(chunks)));
    },
  });
  parser.on("end", () => resolve(entries));
  parser.on("error", reject);
  parser.end(bytes);
  return promise;
}
