/** The drill of a whole PostgreSQL server: its base and the WAL since, played to the begin of the drill by a server on scratch, and asked there. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { summarizeChecks, type CheckResult } from "../../core/backup-checks.ts";
import type { BackupLine } from "../../core/backup-job.ts";
import type { Manifest } from "../../core/backup-manifest.ts";
import type { Drilled, DrillTarget } from "../../core/drill.ts";
import { recoverBase } from "./pg-recover.ts";
import { checkPgData } from "./postgres.ts";

interface InstantDrill {
  readonly target: DrillTarget & { readonly instant: NonNullable<DrillTarget["instant"]> };
  readonly manifest: Manifest;
  /** Folder of the store, where the base lies. */
  readonly store: string;
  /** Empty folder. */
  readonly place: string;
  /** Wanted instant: the begin of the drill. */
  readonly at: Date;
  readonly identity: string | undefined;
  readonly write: (line: BackupLine) => void;
}

export interface InstantDrilled {
  readonly snapshotAt: string;
  readonly wal: NonNullable<Drilled["wal"]>;
  readonly checks: readonly CheckResult[];
  /** What was shown, for people. */
  readonly text: string;
}

/** Throws what is wrong, also a check. */
export async function drillInstant(
  { target: drilled, manifest, store, place, at, identity, write }: InstantDrill,
  onChecked: (checks: readonly CheckResult[]) => void,
): Promise<InstantDrilled> {
  const { target: name, instant, checks: wanted } = drilled;
  const folder = join(place, "recovered");
  mkdirSync(folder, { mode: 0o700 });
  let checks: readonly CheckResult[] = [];
  const backup = { folder: join(store, name, manifest.id), manifest };
  const target = { name, pgbackrest: instant.pgbackrest };
  const { reached, rows, wal } = await recoverBase(
    {
      target,
      store,
      backup,
      identity,
      at: at.toISOString(),
      into: "scratch",
      ask: async (server) => {
        checks = await checkPgData(server, instant.database, wanted, at.getTime());
        onChecked(checks);
      },
    },
    folder,
    { write },
  );
  const { ok, text } = summarizeChecks(checks);
  if (!ok) throw new Error(text ?? "it does not answer its checks");
  // Nothing was committed between the two when the WAL was received until later.
  const upTo = Math.min(at.getTime(), Math.max(reached, wal.receivedAt ?? 0));
  const tables = Object.values(rows).flatMap((each) => Object.values(each));
  const count = tables.reduce((sum, each) => sum + each, 0);
  return {
    snapshotAt: new Date(upTo).toISOString(),
    wal: { wantedAt: at.toISOString(), reachedAt: new Date(reached).toISOString(), lastSegment: wal.upTo },
    checks,
    text: `the server starts and every row was read: databases: ${Object.keys(rows).length}, tables: ${tables.length}, rows: ${count}`,
  };
}
