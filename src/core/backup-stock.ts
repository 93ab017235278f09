/** What a store has of the backups of one target, as the last run left it: for metrics, which never look into a store themselves. */
import * as z from "zod";
import { later } from "./later.ts";
import { planRetention, TIERS, untilMs, type Kept, type Retention } from "./backup-retention.ts";

const time = () => z.iso.datetime();

export const stockSchema = later(() =>
  z.object({
    /** Backups by the first rule that keeps them; other: by none of the tiers, as pinned ones. */
    tiers: z.record(z.enum(TIERS), z.int().min(0)),
    /** Of all of them; of those at pgBackRest what its repository has of them. */
    storedBytes: z.int().min(0),
    /** Of archived WAL, of older servers too; absent where there is none. */
    walBytes: z.int().min(0).optional(),
    /**
     * Instants of the oldest and the newest backup that is proven and has what it needs; `null`: there is none. Of the newest
     * it is the last at which the source held the same.
     */
    oldestAt: time().nullable(),
    newestAt: time().nullable(),
    /** Of the store's disk; absent of a bucket. */
    disk: z.object({ freeBytes: z.number().min(0), reserveBytes: z.number().min(0) }).optional(),
  }),
);
export type Stock = z.output<typeof stockSchema>;

/** A backup that is there, with what it takes. */
export interface Stocked extends Kept {
  readonly storedBytes: number;
  /** `snapshotMs` as the manifest has it. */
  readonly snapshotAt: string;
  /** The same of `unchangedMs`. */
  readonly unchangedAt?: string | undefined;
}

/** Counts what is there; `policy` is that of the store. */
export function stockOf(
  backups: readonly Stocked[],
  policy: Retention,
  nowMs: number,
): Omit<Stock, "disk" | "walBytes"> {
  const tiers = { hourly: 0, daily: 0, weekly: 0, monthly: 0, other: 0 };
  for (const { tier } of planRetention(backups, policy, nowMs)) tiers[tier ?? "other"] += 1;
  return {
    tiers,
    storedBytes: backups.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
    ...spanOf(backups, nowMs),
  };
}

type Dated = Omit<Stocked, "storedBytes">;
export type Span = Pick<Stock, "oldestAt" | "newestAt">;

/** Between which instants there is a recovery: one that does not stand counts no more, nor what needs it. */
export function spanOf(backups: readonly Dated[], nowMs: number): Span {
  const whole = new Set(backups.filter(({ verified }) => verified).map(({ id }) => id));
  const usable = backups
    .filter(({ id, preRestore, base }) => whole.has(id) && !preRestore && (base === null || whole.has(base)))
    .toSorted((a, b) => a.snapshotMs - b.snapshotMs);
  const newest = usable.at(-1);
  return {
    oldestAt: usable[0]?.snapshotAt ?? null,
    newestAt: newest === undefined ? null : latestOf(newest, nowMs),
  };
}

function latestOf(backup: Dated, nowMs: number): string {
  const { snapshotMs, snapshotAt, unchangedAt = snapshotAt } = backup;
  return untilMs(backup, nowMs) === snapshotMs ? snapshotAt : unchangedAt;
}

/** Less is free than backups leave alone. */
export function isLow({ disk }: Pick<Stock, "disk">): boolean {
  return disk !== undefined && disk.freeBytes < disk.reserveBytes;
}
