/** `supervisor backup list`: what is stored in the directories and in the buckets, how far each is proven, and why it is kept. */
import { asKept, damagedOf } from "../../actions/backup/kept.ts";
import { BACKUP_EXIT, type RemoteSummary } from "../../core/backup-job.ts";
import { provenLevel } from "../../core/backup-manifest.ts";
import { planRetention, type Kept, type Retention, type Verdict } from "../../core/backup-retention.ts";
import { sizesOf } from "../../core/pgbackrest.ts";
import { formatSize } from "../../core/size.ts";
import { systemClock } from "../../platform/clock.ts";
import { layOut, painter, type Cell } from "../../report/text-table.ts";
import type { Place } from "../runtime/backup-run.ts";
import { lookAtCopies, retentionOf } from "../runtime/copies.ts";
import type { LoadedConfig } from "../runtime/config/load.ts";
import { lookInto } from "../runtime/stores.ts";
import type { CliIo } from "./verb.ts";

type Row = Place & { readonly id: string; readonly damage: string | null; readonly backup: Shown | null };

interface Shown extends Pick<Verdict, "keep" | "reason" | "tiers"> {
  readonly kind: string;
  readonly snapshotAt: string;
  /** When the source was last seen to hold the same; `null`: not since. */
  readonly unchangedAt: string | null;
  readonly createdAt: string;
  /** When it was sent to the bucket that it lies in; `null`: it was made where it lies, or an older release has sent it. */
  readonly copiedAt: string | null;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly encrypted: boolean;
  readonly proven: string | null;
  readonly pinned: string | null;
  readonly trigger: string;
}

/** A copy of a backup; `ok`: it is whole and proven. */
interface Copy {
  readonly store: string;
  readonly copiedAt: string | null;
  readonly ok: boolean;
}

interface Listed extends Place, Shown {
  readonly id: string;
  /** What a verification found wrong; `null`: nothing. */
  readonly damage: string | null;
  readonly state: "stored" | "verified" | "replicated";
  /** Where else it lies; `null`: nobody has looked, or it is a copy itself. */
  readonly copies: readonly Copy[] | null;
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
  const looked = new Set(
    places.filter((place, index) => isBucket(place) && looks[index]?.fault === null).map(({ target }) => target),
  );
  const copies = copiesOf(rows.filter(isBucket));
  const shown = rows.map(({ backup, ...row }) => {
    if (backup === null) return row;
    const own = isBucket(row) || !looked.has(row.target) ? null : (copies.get(row.id) ?? []);
    const listed: Listed = {
      ...row,
      ...backup,
      state: stateOf(row.damage === null ? backup.proven : null, own ?? []),
      copies: own,
    };
    return listed;
  });
  if (json === true) return io.out(JSON.stringify({ version: 1, backups: shown, faults }));
  for (const fault of faults) io.err(fault);
  if (shown.length === 0 && faults.length === 0) return io.out("there are no backups");
  const { colour, columns } = io;
  if (shown.length > 0) io.out(layOut({ ...TABLE, rows: shown.map(rowOf) }, columns, painter(colour)));
}

const TABLE = {
  header: ["BACKUP", "STORE", "SNAPSHOT", "SIZE", "STORED", "PROVEN", "KEPT", "NOTES"],
  dispensable: ["SIZE", "STORED", "STORE"],
} as const;

function rowOf(row: Listed | Omit<Row, "backup">): readonly Cell[] {
  const { id, store, damage } = row;
  const mark: Cell = damage === null ? ["NOT PROVEN", "yellow"] : ["DAMAGED", "red"];
  if (!("kind" in row)) return [[id], [store], ["?"], ["?"], ["?"], mark, ["-"], [damage ?? ""]];
  const { snapshotAt, rawBytes, storedBytes, proven, keep, reason } = row;
  return [
    [id],
    [store],
    [snapshotAt],
    [formatSize(rawBytes)],
    [formatSize(storedBytes)],
    damage !== null || proven === null ? mark : [proven],
    [keep ? keptText(row) : `until the next prune: ${reason}`],
    [notesOf(row).join("; ")],
  ];
}

function notesOf({ damage, unchangedAt, copies, copiedAt, encrypted, pinned, trigger }: Listed): readonly string[] {
  return [
    ...(damage === null ? [] : [damage]),
    ...(unchangedAt === null ? [] : [`unchanged until ${unchangedAt}`]),
    ...(copies ?? []).flatMap(({ ok, store: to, copiedAt: at }) =>
      ok ? [`copied to ${to}${at === null ? "" : ` at ${at}`}`] : [],
    ),
    ...(copiedAt === null ? [] : [`copied at ${copiedAt}`]),
    ...(encrypted ? ["encrypted"] : []),
    ...(pinned === null ? [] : [`pinned: ${pinned}`]),
    ...(trigger === "pre-restore" ? ["made before a restore"] : []),
  ];
}

/** What the notes say is not said again. */
function keptText({ reason, tiers, pinned, trigger }: Listed): string {
  if (tiers.length > 0) return tiers.join(", ");
  return pinned === null && trigger !== "pre-restore" ? reason : "yes";
}

function copiesOf(rows: readonly Row[]): ReadonlyMap<string, readonly Copy[]> {
  const copies = new Map<string, Copy[]>();
  for (const { id, store, damage, backup } of rows) {
    const copy = { store, copiedAt: backup?.copiedAt ?? null, ok: damage === null && backup?.proven != null };
    copies.set(id, [...(copies.get(id) ?? []), copy]);
  }
  return copies;
}

/** Only what is proven counts as a backup. */
function stateOf(proven: string | null, copies: readonly Copy[]): Listed["state"] {
  if (proven === null) return "stored";
  return copies.some(({ ok }) => ok) ? "replicated" : "verified";
}

async function lookHere(loaded: LoadedConfig, place: Place): Promise<Look> {
  const { backups, damaged, fault } = lookInto(loaded, place);
  const verdictOf = verdicts(backups.map(asKept), loaded.config.backups?.retention);
  const reasons = new Map(damagedOf(backups, damaged).map(({ id, reason }) => [id, reason]));
  const whole = backups.map(({ id, manifest, state }) => ({
    ...place,
    id,
    damage: reasons.get(id) ?? null,
    backup: {
      kind: manifest.type,
      snapshotAt: manifest.snapshotAt,
      unchangedAt: state.unchangedAt ?? null,
      createdAt: manifest.createdAt,
      copiedAt: null,
      ...sizesOf(manifest),
      encrypted: manifest.codec.encrypt !== null,
      proven: provenLevel(state) ?? null,
      pinned: state.pinned,
      trigger: manifest.trigger,
      ...verdictOf(id),
    },
  }));
  return {
    rows: [...whole, ...damaged.map(({ id, reason }) => ({ ...place, id, damage: reason, backup: null }))],
    fault,
  };
}

async function lookThere(loaded: LoadedConfig, place: Place): Promise<Look> {
  const { found, fault } = await lookAtCopies(loaded, place, systemClock);
  const kept = found.flatMap(({ id, backup }) => (backup === null ? [] : [keptOf(id, backup)]));
  const verdictOf = verdicts(kept, retentionOf(loaded, place));
  const rows = found.map(({ id, damage, backup }) => {
    if (backup === null) return { ...place, id, damage, backup };
    const {
      type: kind,
      base: _,
      tables: _tables,
      refuted: _refuted,
      damage: refuted = null,
      unchangedAt = null,
      copiedAt = null,
      ...facts
    } = backup;
    return {
      ...place,
      id,
      damage: damage ?? refuted,
      backup: { kind, unchangedAt, copiedAt, ...facts, ...verdictOf(id) },
    };
  });
  return { rows, fault };
}

/** What the next prune would say of each. */
function verdicts(
  kept: readonly Kept[],
  retention: Retention | undefined,
): (id: string) => Pick<Verdict, "keep" | "reason" | "tiers"> {
  const nowMs = systemClock.wallTime().getTime();
  const all = new Map(
    (retention === undefined ? [] : planRetention(kept, retention, nowMs)).map((each) => [each.id, each]),
  );
  return (id) => {
    const { keep = true, reason = "no rule says otherwise", tiers = [] } = all.get(id) ?? {};
    return { keep, reason, tiers };
  };
}

/** A copy as the retention judges it. */
function keptOf(id: string, backup: RemoteSummary): Kept {
  const { base, physical, snapshotAt, unchangedAt, createdAt, proven, refuted, trigger, pinned } = backup;
  return {
    id,
    kind: physical === true ? "base" : base === null ? "full" : "delta",
    base,
    snapshotMs: Date.parse(snapshotAt),
    unchangedMs: unchangedAt === undefined ? undefined : Date.parse(unchangedAt),
    createdMs: Date.parse(createdAt),
    verified: proven !== null,
    refuted,
    preRestore: trigger === "pre-restore",
    pinned,
    inUse: false,
  };
}
