/**
 * Which backups are kept: tiers of calendar buckets in UTC, anchored at the newest verified backup instead of now, so that
 * a schedule that stopped working never ages the last good ones out. A backup of what stood before a restore holds the damage
 * that was undone: it stays for a week by a rule of its own, and counts for no other. A backup whose source was seen unchanged
 * later stands for the whole time until then, as if one had been made at each moment of it. Pure; the words of each reason are for people.
 */
import * as z from "zod";
import { later } from "./later.ts";
import { duration } from "./quantities.ts";
import type { BackupKind } from "./backup-manifest.ts";

const span = (standard: string) => duration().prefault(standard);

export const retentionSchema = later(() =>
  z.strictObject({
    hourly: span("7d").describe("Time for which the newest backup of each hour is kept; deltas are kept here only."),
    daily: span("30d").describe("Time for which the newest backup of each day is kept."),
    weekly: span("90d").describe("Time for which the newest backup of each week is kept."),
    monthly: span("365d").describe("Time for which the newest backup of each month is kept."),
    minKeep: z.int().min(1).default(3).describe("Verified backups that are kept whatever their age."),
  }),
);
export type Retention = z.output<typeof retentionSchema>;

const spanMs = () => z.number().min(0);
/** The same as a worker gets it: durations in ms. */
export const retentionJobSchema: z.ZodType<Retention> = later(() =>
  z.strictObject({
    hourly: spanMs(),
    daily: spanMs(),
    weekly: spanMs(),
    monthly: spanMs(),
    minKeep: z.int().min(1),
  }),
);

export interface Kept {
  readonly id: string;
  readonly kind: BackupKind;
  readonly base: string | null;
  /** Instant whose data it holds, ms since 1970. */
  readonly snapshotMs: number;
  /** When the source was last seen to hold the same, ms since 1970; `undefined`: not since. */
  readonly unchangedMs?: number | undefined;
  readonly createdMs: number;
  readonly verified: boolean;
  /** Its last verification failed. */
  readonly refuted: boolean;
  /** Made of what stood before a restore. */
  readonly preRestore: boolean;
  readonly pinned: string | null;
  /** A restore, a drill or an upload reads it now. */
  readonly inUse: boolean;
}

export interface Verdict {
  readonly id: string;
  readonly keep: boolean;
  readonly reason: string;
  /** The calendar that keeps it; `undefined`: another rule does, or none. */
  readonly tier?: Tier["label"] | undefined;
  /** Every calendar that would keep it by itself. */
  readonly tiers: readonly Tier["label"][];
}

/** What a backup is counted under. */
export const TIERS = ["hourly", "daily", "weekly", "monthly", "other"] as const;

const DAY_MS = 86_400_000;
/** A backup that is not verified yet may be verified soon. */
const UNVERIFIED_GRACE_MS = 2 * DAY_MS;
/** As long as what a restore moves aside: time to see that the restore was the mistake. */
const PRE_RESTORE_MS = 7 * DAY_MS;
/** More than this share of the verified backups is never deleted at once without being asked to. */
export const MAX_SHARE = 0.5;

interface Tier {
  /** Its calendar unit, and how it is counted. */
  readonly name: string;
  readonly label: Exclude<(typeof TIERS)[number], "other">;
  readonly keepMs: number;
  readonly bucket: (ms: number) => number;
}

interface Reason {
  readonly text: string;
  readonly tier?: Tier["label"] | undefined;
  readonly tiers: Tier["label"][];
}

function tiers(policy: Retention): readonly Tier[] {
  return [
    { name: "hour", label: "hourly", keepMs: policy.hourly, bucket: (ms) => Math.floor(ms / 3_600_000) },
    { name: "day", label: "daily", keepMs: policy.daily, bucket: (ms) => Math.floor(ms / DAY_MS) },
    // 1970-01-01 was a Thursday: weeks begin on Monday (ISO 8601).
    { name: "week", label: "weekly", keepMs: policy.weekly, bucket: (ms) => Math.floor((ms / DAY_MS + 3) / 7) },
    { name: "month", label: "monthly", keepMs: policy.monthly, bucket: monthOf },
  ];
}

/** Months since year 0, from the days since 1970 (civil_from_days, Howard Hinnant). */
function monthOf(ms: number): number {
  const shifted = Math.floor(ms / DAY_MS) + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return year * 12 + month;
}

type Keep = (id: string, text: string, tier?: Tier["label"]) => void;
/** Which backup stands for another one that is young enough for a calendar. */
type Spare = (id: string, standIn: string, unit: string) => void;

/** What happens to each backup of one target, newest first. Nothing verified: everything is kept. */
export function planRetention(backups: readonly Kept[], policy: Retention, nowMs: number): readonly Verdict[] {
  const until = (each: Kept): number => untilMs(each, nowMs);
  const sorted = backups.toSorted((a, b) => until(b) - until(a) || (a.id < b.id ? 1 : -1));
  const verified = sorted
    .filter((each) => each.verified && !each.preRestore && each.snapshotMs <= nowMs)
    .map((each): Standing => ({ ...each, untilMs: until(each) }));
  const anchorMs = verified[0]?.untilMs;
  const reasons = new Map<string, Reason>();
  const keep: Keep = (id, text, tier) => {
    const known = reasons.get(id);
    if (known === undefined) reasons.set(id, { text, tier, tiers: tier === undefined ? [] : [tier] });
    else if (tier !== undefined) known.tiers.push(tier);
  };
  const spares = new Map<string, string>();
  const spare: Spare = (id, standIn, unit) => {
    if (!spares.has(id)) spares.set(id, `${standIn} stands for its ${unit}`);
  };
  for (const each of sorted) for (const reason of ownReasons(each, nowMs, anchorMs)) keep(each.id, reason);
  if (anchorMs !== undefined) {
    for (const like of alike(verified)) {
      for (const tier of tiers(policy)) keepTier(tier, like, { anchorMs, keep, spare });
      for (const each of like.slice(0, policy.minKeep)) keep(each.id, `among the newest ${policy.minKeep}`);
      const newestWhole = like.find(({ kind }) => kind === "full" || kind === "base");
      if (newestWhole !== undefined) keep(newestWhole.id, "newest full backup");
    }
  }
  keepBases(sorted, reasons, keep);
  return sorted.map((each) => {
    const { id } = each;
    const reason = reasons.get(id);
    return {
      id,
      keep: reason !== undefined,
      reason: reason?.text ?? spares.get(id) ?? farewell(each),
      tier: reason?.tier,
      tiers: reason?.tiers ?? [],
    };
  });
}

/** Why no rule keeps a backup that no other one stands for. */
function farewell({ refuted, preRestore, verified }: Kept): string {
  if (refuted) return FOUND_DAMAGED;
  if (preRestore) return `made before a restore, more than ${PRE_RESTORE_MS / DAY_MS} days ago`;
  return verified ? "older than every rule keeps" : `not verified within ${UNVERIFIED_GRACE_MS / DAY_MS} days`;
}

/** A backup with the last instant that it stands for. */
interface Standing extends Kept {
  readonly untilMs: number;
}

/** The last instant that a backup stands for. One after now is of before the clock was set back, and says nothing. */
export function untilMs(
  { snapshotMs, unchangedMs = snapshotMs }: Pick<Kept, "snapshotMs" | "unchangedMs">,
  nowMs: number,
): number {
  return unchangedMs > snapshotMs && unchangedMs <= nowMs ? unchangedMs : snapshotMs;
}

/** A base of a server and a dump of a database are made for different ends: one never stands for the other. */
function alike(backups: readonly Standing[]): readonly (readonly Standing[])[] {
  return [backups.filter(({ kind }) => kind !== "base"), backups.filter(({ kind }) => kind === "base")];
}

const FOUND_DAMAGED = "found damaged: it does not stand its verification";

function* ownReasons(each: Kept, nowMs: number, anchorMs: number | undefined): Iterable<string> {
  if (anchorMs === undefined) yield "nothing is verified, so nothing is deleted";
  if (each.pinned !== null) yield `pinned: ${each.pinned}`;
  if (each.inUse) yield "in use";
  if (each.snapshotMs > nowMs) yield "from the future: look at the clock";
  if (each.preRestore) {
    if (nowMs - each.createdMs < PRE_RESTORE_MS) yield "made before a restore";
  } else if (!each.verified && nowMs - each.createdMs < UNVERIFIED_GRACE_MS)
    yield each.refuted ? FOUND_DAMAGED : "not verified yet";
}

function keepTier(
  { name, label, keepMs, bucket }: Tier,
  verified: readonly Standing[],
  { anchorMs, keep, spare }: { readonly anchorMs: number; readonly keep: Keep; readonly spare: Spare },
): void {
  /** The oldest calendar unit that has its backup: they come from the newest on. */
  let reached = Number.POSITIVE_INFINITY;
  let last: Standing | undefined;
  for (const each of verified) {
    if (anchorMs - each.untilMs > keepMs) break;
    if (each.kind === "delta" && name !== "hour") continue;
    // The first of those that it stands for: beyond `keepMs` none counts.
    const first = bucket(Math.max(each.snapshotMs, anchorMs - keepMs));
    if (first >= reached) {
      if (last !== undefined) spare(each.id, last.id, name);
      continue;
    }
    reached = first;
    last = each;
    keep(each.id, `newest of its ${name}`, label);
  }
}

/** A delta is nothing without its base; a base may have one of its own. */
function keepBases(backups: readonly Kept[], reasons: ReadonlyMap<string, Reason>, keep: Keep): void {
  const byId = new Map(backups.map((each) => [each.id, each]));
  for (const { id } of backups) {
    if (!reasons.has(id)) continue;
    let at = byId.get(id);
    // Each step goes to another backup; a ring of damaged manifests ends after as many steps as there are backups.
    for (let steps = 0; at !== undefined && at.base !== null && steps < backups.length; steps += 1) {
      keep(at.base, `base of ${at.id}`);
      at = byId.get(at.base);
    }
  }
}
