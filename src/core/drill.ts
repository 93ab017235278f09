/**
 * A drill: backups are fetched from where they would be left after a disaster, restored into scratch and asked what they must
 * show. How long that took is the recovery time (RTO), how old the data is the recovery point (RPO); both are compared with what was promised.
 */
import * as z from "zod";
import { checkJobSchema } from "./backup-checks.ts";
import { BACKUP_TYPES } from "./backup-manifest.ts";
import { remoteSchema } from "./backup-remote.ts";
import { later } from "./later.ts";
import { pgBackRestSchema } from "./pgbackrest.ts";

const time = () => z.iso.datetime();
const seconds = () => z.number().min(0);
const sha256 = () => z.string().regex(/^[0-9a-f]{64}$/);

export const DRILL_STEPS = ["find", "fetch", "restore", "clean"] as const;
export type DrillStep = (typeof DRILL_STEPS)[number];

const objectivesSchema = later(() => z.object({ rtoSeconds: seconds(), rpoSeconds: seconds() }));

/** A step of one target: what was done and what came of it. */
const stepSchema = later(() =>
  z.object({
    name: z.enum(DRILL_STEPS),
    startedAt: time(),
    seconds: seconds(),
    ok: z.boolean(),
    detail: z.string(),
  }),
);

const drilledSchema = later(() =>
  z.object({
    target: z.string(),
    kind: z.enum(BACKUP_TYPES),
    store: z.string(),
    /** Bucket or folder, for people. */
    place: z.string(),
    /** What was restored, an incremental backup after its full one; empty: nothing was found. */
    backups: z.array(
      z.object({ id: z.string(), manifestSha256: sha256(), storedBytes: z.int(), parts: z.array(sha256()) }),
    ),
    /** Instant whose data came back: of a base with WAL, the last that is sure to be in it. */
    snapshotAt: time().nullable(),
    /** When the source was last seen to hold the same, the whole time since then. */
    unchangedAt: time().optional(),
    /** Of a base of a whole server, which WAL was played on it. */
    wal: z
      .object({
        /** Instant that was asked for. */
        wantedAt: time(),
        /** Of the last transaction. */
        reachedAt: time(),
        lastSegment: z.string(),
      })
      .optional(),
    /** It is such a base, restored or not. */
    physical: z.literal(true).optional(),
    steps: z.array(stepSchema),
    checks: z.array(z.object({ name: z.string(), ok: z.boolean(), text: z.string() })),
    /** From the begin of its first step to the proof of what was restored; `null`: it was not. */
    rtoSeconds: seconds().nullable(),
    /** From the last instant whose data the backup is known to hold to the begin of the drill. */
    rpoSeconds: seconds().nullable(),
    /** Longest that is well for this target. */
    rpoObjectiveSeconds: seconds(),
    ok: z.boolean(),
  }),
);
export type Drilled = z.output<typeof drilledSchema>;

export const drillReportSchema = later(() =>
  z.object({
    version: z.literal(1),
    id: z.string(),
    startedAt: time(),
    endedAt: time(),
    trigger: z.enum(["schedule", "manual"]),
    by: z.object({ user: z.string(), host: z.string(), tool: z.string(), config: z.string() }),
    objectives: objectivesSchema,
    targets: z.array(drilledSchema),
    /** All targets one after the other. */
    rtoSeconds: seconds(),
    /** The worst of the targets; `null`: of one nothing was restored. */
    rpoSeconds: seconds().nullable(),
    rtoMet: z.boolean(),
    rpoMet: z.boolean(),
    /** Every step of every target was well, and both objectives are met. */
    ok: z.boolean(),
    /** Why nobody knows what came of the targets: its worker was ended. Absent: each has its own report. */
    broken: z.string().optional(),
    /** SHA-256 of the line of the drill before: a record that was changed afterwards shows. */
    previousSha256: sha256().nullable(),
  }),
);
export type DrillReport = z.output<typeof drillReportSchema>;

/** What a worker must know. Secrets are in it, so it travels on standard input only. */
export const drillJobSchema = later(() =>
  z.strictObject({
    version: z.literal(1),
    trigger: z.enum(["schedule", "manual"]),
    by: drillReportSchema.shape.by,
    objectives: objectivesSchema,
    /** Folder for the scratch place, which is made in it and removed. */
    scratch: z.string().startsWith("/"),
    identity: z.string().optional(),
    /** Folder of the records of drills. */
    records: z.string().startsWith("/"),
    targets: z
      .array(
        z.strictObject({
          target: z.string(),
          kind: z.enum(BACKUP_TYPES),
          store: z.string(),
          from: z.discriminatedUnion("kind", [
            z.strictObject({ kind: z.literal("folder"), folder: z.string().startsWith("/") }),
            z.strictObject({ kind: z.literal("bucket"), remote: remoteSchema, known: z.array(z.string()) }),
          ]),
          checks: z.array(checkJobSchema),
          rpoSeconds: seconds(),
          /** Its base with the WAL since, in the place of its newest dump; the checks are asked of this database. */
          instant: z.strictObject({ database: z.string(), pgbackrest: pgBackRestSchema.optional() }).optional(),
        }),
      )
      .min(1),
  }),
);
export type DrillJob = z.output<typeof drillJobSchema>;
export type DrillTarget = DrillJob["targets"][number];

/** What is remembered of drills for status and metrics. */
export const drillRecordSchema = later(() =>
  z.object({
    version: z.literal(1),
    /** When the schedule of drills began to count here. */
    since: time(),
    last: z
      .object({
        id: z.string(),
        at: time(),
        ok: z.boolean(),
        /** Every step was well; the objectives may have been missed. */
        done: z.boolean(),
        rtoSeconds: seconds(),
        rpoSeconds: seconds().nullable(),
        rtoMet: z.boolean(),
        rpoMet: z.boolean(),
        error: z.string().nullable(),
      })
      .nullable(),
    lastSuccessAt: time().nullable(),
    failuresInRow: z.int().min(0),
  }),
);
export type DrillRecord = z.output<typeof drillRecordSchema>;

type Unjudged = Omit<DrillReport, "rpoSeconds" | "rtoMet" | "rpoMet" | "ok">;

interface Broken extends Omit<Unjudged, "targets"> {
  readonly targets: DrillJob["targets"];
}

/** A drill that came to no end, as its worker was ended: nobody knows of anything that was restored. */
export function brokenDrill({ targets, ...drill }: Broken): DrillReport {
  const unknown = targets.map(({ target, kind, store, from, rpoSeconds: rpoObjectiveSeconds, instant }): Drilled => {
    const of = { target, kind, store, place: placeOf(from), rpoObjectiveSeconds };
    const nothing = { backups: [], snapshotAt: null, steps: [], checks: [], rtoSeconds: null, rpoSeconds: null };
    return { ...of, ...nothing, ...(instant === undefined ? {} : { physical: true }), ok: false };
  });
  return judgeDrill({ ...drill, targets: unknown });
}

/** Bucket or folder, for people. */
export function placeOf(from: DrillTarget["from"]): string {
  return from.kind === "folder" ? from.folder : `bucket ${from.remote.bucket} at ${from.remote.endpoint}`;
}

/** The report with its verdicts: worst of all targets, compared with the objectives. */
export function judgeDrill(drill: Unjudged): DrillReport {
  const { targets, objectives, rtoSeconds } = drill;
  const points = targets.map((each) => each.rpoSeconds);
  const rpoSeconds = points.reduce<number | null>(
    (worst, each) => (worst === null || each === null ? null : Math.max(worst, each)),
    0,
  );
  const rtoMet = rtoSeconds <= objectives.rtoSeconds && targets.every((each) => each.rtoSeconds !== null);
  const rpoMet = targets.every((each) => each.rpoSeconds !== null && each.rpoSeconds <= each.rpoObjectiveSeconds);
  return { ...drill, rpoSeconds, rtoMet, rpoMet, ok: rtoMet && rpoMet && targets.every(({ ok }) => ok) };
}

/** The record after one more drill. */
export function withDrill(before: DrillRecord | undefined, report: DrillReport): DrillRecord {
  const { id, endedAt: at, ok, rtoSeconds, rpoSeconds, rtoMet, rpoMet, targets } = report;
  const done = targets.every((each) => each.ok);
  return {
    version: 1,
    since: before?.since ?? report.startedAt,
    last: { id, at, ok, done, rtoSeconds, rpoSeconds, rtoMet, rpoMet, error: faultOf(report) },
    lastSuccessAt: ok ? at : (before?.lastSuccessAt ?? null),
    // One that missed an objective is not cured by trying again.
    failuresInRow: done ? 0 : (before?.failuresInRow ?? 0) + 1,
  };
}

/** What was restored, for people: of a server with WAL there are two. */
export function drilledName({ target, physical }: Pick<Drilled, "target" | "physical">): string {
  return physical === true ? `${target} to an instant` : target;
}

/** What was not well, in words; `null` when all was. */
export function faultOf({
  ok,
  targets,
  rtoMet,
  rpoMet,
  rtoSeconds,
  rpoSeconds,
  objectives,
  broken: reason,
}: DrillReport): string | null {
  if (ok) return null;
  if (reason !== undefined) return reason;
  const broken = targets.flatMap((each) =>
    each.steps.filter((step) => !step.ok).map((step) => `${drilledName(each)}: ${step.name}: ${step.detail}`),
  );
  const failed = broken.length > 0 ? broken : [];
  if (!rtoMet && broken.length === 0)
    failed.push(`it took ${Math.round(rtoSeconds)} s, and ${Math.round(objectives.rtoSeconds)} s are promised (rto)`);
  if (!rpoMet && rpoSeconds !== null)
    for (const each of targets)
      if (each.rpoSeconds !== null && each.rpoSeconds > each.rpoObjectiveSeconds)
        failed.push(
          `${drilledName(each)}: ${each.physical === true ? "what came back" : "the newest backup"} was ${Math.round(each.rpoSeconds)} s old, and ${Math.round(each.rpoObjectiveSeconds)} s are promised (rpo)`,
        );
  return failed.join("; ");
}
