/** What a restore must know of each kind of target: where it lives, how it is unpacked beside that, and how it is proven there. */
import { lstatSync, readdirSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { BackupLine, JobTarget } from "../../core/backup-job.ts";
import { readContent } from "../../platform/sqlite.ts";
import { Failure } from "./failure.ts";
import type { Reading } from "./reading.ts";
import { isThere } from "./restore-journal.ts";
import { compareContent } from "./sqlite.ts";
import { dressLike, inArchive, isWithin, readArchive, unpackArchive, unpackDatabase } from "./unpack.ts";

/** Files whose users are looked for; a target with more is no configuration. */
const MAX_WATCHED = 100_000;
/** Files that SQLite keeps beside a database: a log of another database in their place would be played into it. */
const SIDECARS = ["-wal", "-shm", "-journal"];

interface RestorePlace {
  /** Its folder has no links in it. */
  readonly live: string;
  readonly sidecars: readonly string[];
}

export interface RestoreKind {
  readonly places: readonly RestorePlace[];
  /** Files that nobody may have open while they are replaced. */
  readonly watched: () => readonly string[];
  /** Unpacks into the scratch folders, proven and on the disk. Throws `Failure`. */
  readonly unpack: (
    reading: Reading,
    scratchOf: (live: string) => string,
    write: (line: BackupLine) => void,
  ) => Promise<void>;
  /** Where in its scratch folder the new file or folder of a place is. */
  readonly fresh: (live: string, scratch: string) => string;
  /** Proves what is in place now. Throws. */
  readonly check: (reading: Reading) => Promise<void>;
  /** Folder of the server that has the files, which is down while they are moved. */
  readonly folder?: string;
  /** Stops that server, when it runs. Throws. */
  readonly stop?: () => Promise<void>;
  /** Starts it again, when it was stopped. Throws. */
  readonly start?: () => Promise<void>;
  /** The same for who ends a restore that was killed; only of a server that is stopped. */
  readonly startCommand?: readonly string[];
}

/** Throws `Failure` for a kind that is not restored by files. */
export async function kindOf(target: JobTarget, reading: Reading): Promise<RestoreKind> {
  switch (target.kind) {
    case "sqlite":
      return sqliteKind(target.path);
    case "postgres":
      // Its databases are no files: pg-restore.ts.
      throw new Failure("source", "a database of PostgreSQL is not restored by files");
    case "redis":
      // Only here: the others need nothing of it.
      return (await import("./redis-restore.ts")).redisKind(target, reading);
    case "files":
    case "secrets":
      return filesKind(target.paths);
  }
}

/** SQLite names its logs after the file that a link leads to, so it is that file that is replaced. */
function sqliteKind(path: string): RestoreKind {
  const live = isThere(path) ? realpathSync(path) : inRealFolder(path);
  const sidecars = SIDECARS.map((suffix) => `${live}${suffix}`);
  const fresh = (_live: string, scratch: string): string => join(scratch, basename(live));
  return {
    places: [{ live, sidecars }],
    watched: () => [live, ...sidecars],
    unpack: async (reading, scratchOf, write) => {
      const file = fresh(live, scratchOf(live));
      await unpackDatabase(reading, file, write);
      dressLike(file, live);
    },
    fresh,
    check: async ({ content }) => {
      const found = await readContent(live);
      if (content !== undefined) compareContent({ content }, found);
    },
  };
}

function filesKind(paths: readonly string[]): RestoreKind {
  const roots = paths.filter((path) => !paths.some((other) => other !== path && isWithin(path, other)));
  const named = new Map(roots.map((path) => [inRealFolder(path), inArchive(path)]));
  const lives = [...named.keys()];
  const wanted = [...named.values()];
  return {
    places: lives.map((live) => ({ live, sidecars: [] })),
    watched: () => lives.flatMap((live) => filesIn(live)).slice(0, MAX_WATCHED),
    unpack: async (reading, scratchOf) => {
      const archive = await readArchive(reading);
      const absent = wanted.find((root) => !archive.paths.some((path) => isWithin(path, root)));
      if (absent !== undefined)
        throw new Failure("source", `${reading.label} does not hold /${absent}; look at it with --to FOLDER`);
      const other = archive.paths.find((path) => !wanted.some((root) => isWithin(path, root) || isWithin(root, path)));
      if (other !== undefined)
        throw new Failure(
          "source",
          `${reading.label} also holds /${other}, which is not of the target; use --to FOLDER`,
        );
      const scratches = Map.groupBy(lives, scratchOf);
      for (const [scratch, its] of scratches)
        // One after the other: they share a disk.
        // oxlint-disable-next-line no-await-in-loop
        await unpackArchive(
          reading,
          scratch,
          its.map((live) => named.get(live) ?? ""),
        );
    },
    fresh: (live, scratch) => join(scratch, named.get(live) ?? ""),
    check: async () => {
      const missing = lives.find((live) => !isThere(live));
      if (missing !== undefined) throw new Error(`${missing} is not there`);
    },
  };
}

/** The path with the links of its folder followed, but not itself. */
function inRealFolder(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    throw new Failure("source", `there is no folder ${dirname(path)} to restore into; make it first`);
  }
}

function filesIn(path: string): readonly string[] {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return [];
  if (!stats.isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesIn(join(path, name)));
}
