/** `supervisor backup list`: what is stored in the directories and in the buckets, and how far each is proven. */
import { BACKUP_EXIT } from "../../core/backup-job.ts";
import { provenLevel } from "../../core/backup-manifest.ts";
import { sizesOf } from "../../core/pgbackrest.ts";
import { formatSize } from "../../core/size.ts";
import { systemClock } from "../../platform/clock.ts";
import type { Place } from "../runtime/backup-run.ts";
import { lookAtCopies } from "../runtime/copies.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { lookInto } from "../runtime/stores.ts";
import type { CliIo } from "./verb.ts";

type Row = Place & { readonly id: string; readonly damage: string | null; readonly backup: Shown | null };

interface Shown {
  readonly kind: string;
  readonly snapshotAt: string;
  /** When the source was last seen to hold the same; `null`: not since. */
  readonly unchangedAt: string | null;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly encrypted: boolean;
  readonly proven: string | null;
  readonly pinned: string | null;
  readonly trigger: string;
}

interface Look {
  readonly rows: readonly Row[];
  readonly fault: string | null;
}

export async function listBackups(
  loaded: LoadedConfig,
  places: readonly Place[],
  { json }: { readonly json?: true },
  io: CliIo,
): Promise<void> {
  const isBucket = ({ store }: Place): boolean => loaded.config.backups?.stores[store]?.kind === "s3";
  const looks = await Promise.all(
    places.map((place) => (isBucket(place) ? lookThere(loaded, place) : lookHere(loaded, place))),
  );
  const rows = looks.flatMap((look) => look.rows);
  const faults = looks.flatMap(({ fault }) => fault ?? []);
  const lost = looks.some(
    ({ fault }, index) => fault !== null && !isBucket(places[index] ?? { target: "", store: "" }),
  );
  if (faults.length > 0) io.setExitCode(lost ? BACKUP_EXIT.source : BACKUP_EXIT.remote);
  const copied = new Set(rows.filter((row) => isBucket(row) && row.damage === null).map(({ id }) => id));
  const shown = rows.map(({ backup, ...row }) =>
    backup === null ? row : { ...row, ...backup, state: stateOf(backup.proven, !isBucket(row) && copied.has(row.id)) },
  );
  if (json === true) return io.out(JSON.stringify({ version: 1, backups: shown, faults }));
  for (const fault of faults) io.err(fault);
  if (shown.length === 0 && faults.length === 0) return io.out("there are no backups");
  for (const row of shown)
    io.out(
      "kind" in row
        ? `${row.id}  ${row.store}  ${row.snapshotAt}${row.unchangedAt === null ? "" : `, unchanged until ${row.unchangedAt}`}  ${formatSize(row.rawBytes)} as ${formatSize(row.storedBytes)}  ${row.proven ?? "NOT PROVEN"}${row.state === "replicated" ? "  copied" : ""}${row.encrypted ? "  encrypted" : ""}${row.pinned === null ? "" : `  pinned: ${row.pinned}`}${row.trigger === "pre-restore" ? "  made before a restore" : ""}`
        : `${row.id}  ${row.store}  DAMAGED: ${row.damage}`,
    );
}

/** Only what is proven counts as a backup. */
function stateOf(proven: string | null, copied: boolean): "stored" | "verified" | "replicated" {
  if (proven === null) return "stored";
  return copied ? "replicated" : "verified";
}

async function lookHere(loaded: LoadedConfig, place: Place): Promise<Look> {
  const { backups, damaged, fault } = lookInto(loaded, place);
  const whole = backups.map(({ id, manifest, state }) => ({
    ...place,
    id,
    damage: null,
    backup: {
      kind: manifest.type,
      snapshotAt: manifest.snapshotAt,
      unchangedAt: state.unchangedAt ?? null,
      ...sizesOf(manifest),
      encrypted: manifest.codec.encrypt !== null,
      proven: provenLevel(state) ?? null,
      pinned: state.pinned,
      trigger: manifest.trigger,
    },
  }));
  return {
    rows: [...whole, ...damaged.map(({ id, reason }) => ({ ...place, id, damage: reason, backup: null }))],
    fault,
  };
}

async function lookThere(loaded: LoadedConfig, place: Place): Promise<Look> {
  const { found, fault } = await lookAtCopies(loaded, place, systemClock);
  const rows = found.map(({ id, damage, backup }) => {
    if (backup === null) return { ...place, id, damage, backup };
    const { type: kind, base: _base, tables: _tables, unchangedAt = null, ...facts } = backup;
    return { ...place, id, damage, backup: { kind, unchangedAt, ...facts } };
  });
  return { rows, fault };
}
