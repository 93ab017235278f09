/**
 * The action `drill`: fetches the newest backups from where they would be left after a disaster into an empty place, restores
 * and asks them there, and writes down what it did, so that somebody who was not there can judge it. Nothing that lives is touched.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chooseBackup, type Candidate } from "../../core/backup-choice.ts";
import { BACKUP_EXIT, type BackupLine } from "../../core/backup-job.ts";
import { provenLevel, type Manifest } from "../../core/backup-manifest.ts";
import { untilMs } from "../../core/backup-retention.ts";
import { bytesUnpacked, filesUnpacked } from "../../core/backup-unpacked.ts";
import {
  drilledName,
  drillJobSchema,
  judgeDrill,
  placeOf,
  type Drilled,
  type DrillJob,
  type DrillReport,
  type DrillStep,
  type DrillTarget,
} from "../../core/drill.ts";
import { EXIT } from "../../core/exit-code.ts";
import { formatSize } from "../../core/size.ts";
import type { Clock } from "../../platform/clock.ts";
import { ensureDir } from "../../platform/files.ts";
import { tryLock } from "../../platform/lock.ts";
import { removeTree } from "../../platform/remove-tree.ts";
import { defineAction } from "../contract.ts";
import type { InstantDrilled } from "./drill-instant.ts";
import { lastLineSha256, newDrillId, recordDrill } from "./drill-record.ts";
import { failed, Failure } from "./failure.ts";
import { fetchCopy } from "./fetch.ts";
import { RemoteRepository, type RemoteBackup } from "./remote.ts";
import { manifestText, Repository, sumOf } from "./repository.ts";
import { refuseLittleRoom } from "./room.ts";
import { Bucket } from "./s3.ts";
import { openScratch } from "./scratch.ts";
import { verifyBackup } from "./verify.ts";
import { WalBucket } from "./wal-bucket.ts";
import { fetchWal } from "./wal-fetch.ts";

export interface DrillIo {
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** A step that has just been done; tests end the process there. */
  readonly onStep?: (step: DrillStep) => void;
}

export const drillAction = defineAction({ jobSchema: drillJobSchema, run: drill });

/** Returns the exit code: 1 when a step failed or an objective was missed. Never throws. */
export async function drill(job: DrillJob, io: DrillIo): Promise<number> {
  try {
    ensureDir(job.records, 0o750);
    const lock = tryLock(join(job.records, "drill.lock"));
    if (lock === undefined) throw new Failure("lock", "another drill is under way");
    try {
      const report = await drillAll(job, io);
      recordDrill(job.records, report);
      io.write({ kind: "drilled", report });
      return report.ok ? BACKUP_EXIT.done : EXIT.failed;
    } finally {
      lock.release();
    }
  } catch (error) {
    return failed(error, io.write);
  }
}

async function drillAll(job: DrillJob, io: DrillIo): Promise<DrillReport> {
  const { clock } = io;
  const [startedMs, startedAt] = [clock.monotonicMs(), clock.wallTime()];
  const scratch = openScratch(job.scratch);
  const targets: Drilled[] = [];
  let restoredMs = startedMs;
  try {
    for (const target of job.targets) {
      const place = join(scratch.folder, target.instant === undefined ? target.target : `${target.target}-instant`);
      mkdirSync(place, { mode: 0o700 });
      // One after the other, as after a disaster: they share line and disk.
      targets.push(await new TargetDrill(target, { job, io, place, startedAt }).run());
      restoredMs = clock.monotonicMs();
    }
  } finally {
    scratch.release();
  }
  return judgeDrill({
    version: 1,
    id: newDrillId(startedAt),
    startedAt: startedAt.toISOString(),
    endedAt: clock.wallTime().toISOString(),
    trigger: job.trigger,
    by: job.by,
    objectives: job.objectives,
    targets,
    rtoSeconds: secondsOf(restoredMs - startedMs),
    previousSha256: lastLineSha256(job.records),
  });
}

interface Surroundings {
  readonly job: DrillJob;
  readonly io: DrillIo;
  /** Empty folder for this target. */
  readonly place: string;
  /** Begin of the drill. */
  readonly startedAt: Date;
}

interface Found {
  readonly id: string;
  readonly manifestSha256: string;
  readonly manifest: Manifest;
  readonly candidate: Candidate;
}

/** The drill of one target, which collects its part of the report. */
class TargetDrill {
  readonly #target: DrillTarget;
  readonly #at: Surroundings;
  readonly #steps: Drilled["steps"] = [];
  readonly #remote: RemoteRepository | undefined;
  #chain: readonly Found[] = [];
  #checks: Drilled["checks"] = [];
  #instant: InstantDrilled | undefined;

  constructor(target: DrillTarget, at: Surroundings) {
    const { from } = target;
    this.#target = target;
    this.#at = at;
    this.#remote =
      from.kind === "bucket"
        ? new RemoteRepository(new Bucket(from.remote, at.io), from.remote, target.target)
        : undefined;
  }

  async run(): Promise<Drilled> {
    const { io, place, startedAt } = this.#at;
    const { target, kind, store, from, rpoSeconds: rpoObjectiveSeconds, instant } = this.#target;
    const startedMs = io.clock.monotonicMs();
    const restored =
      (await this.#step("find", () => this.#find())) &&
      (this.#remote === undefined || (await this.#step("fetch", () => this.#fetch()))) &&
      (await this.#step("restore", () => this.#restore()));
    const rtoSeconds = restored ? secondsOf(io.clock.monotonicMs() - startedMs) : null;
    const cleaned = await this.#step("clean", async () => {
      removeTree(place);
      return "the scratch place is removed";
    });
    const last = this.#chain.at(-1);
    const snapshotAt = this.#instant?.snapshotAt ?? last?.manifest.snapshotAt ?? null;
    const unchangedAt = this.#instant === undefined ? heldAt(last, startedAt) : undefined;
    const heldUntil = unchangedAt ?? snapshotAt;
    const lossMs = heldUntil === null ? null : startedAt.getTime() - Date.parse(heldUntil);
    return {
      target,
      kind,
      store,
      place: placeOf(from),
      backups: this.#chain.map(({ id, manifest, manifestSha256 }) => ({
        id,
        manifestSha256,
        storedBytes: manifest.parts.reduce((sum, { bytes }) => sum + bytes, 0),
        parts: manifest.parts.map(({ sha256 }) => sha256),
      })),
      snapshotAt,
      ...(unchangedAt === undefined ? {} : { unchangedAt }),
      ...(instant === undefined ? {} : { physical: true as const }),
      ...(this.#instant === undefined ? {} : { wal: this.#instant.wal }),
      steps: this.#steps,
      checks: this.#checks,
      rtoSeconds,
      rpoSeconds: restored && lossMs !== null ? secondsOf(Math.max(0, lossMs)) : null,
      rpoObjectiveSeconds,
      ok: restored && cleaned,
    };
  }

  /** Does one step and writes it down; says whether it was well. */
  async #step(name: DrillStep, deed: () => Promise<string>): Promise<boolean> {
    const { clock, write, onStep } = this.#at.io;
    const { target, instant } = this.#target;
    const whole = drilledName({ target, ...(instant === undefined ? {} : { physical: true }) });
    write({ kind: "step", text: `${whole}: ${name}`, touching: false });
    const [startedMs, startedAt] = [clock.monotonicMs(), clock.wallTime().toISOString()];
    const note = (ok: boolean, detail: string): boolean => {
      this.#steps.push({ name, startedAt, seconds: secondsOf(clock.monotonicMs() - startedMs), ok, detail });
      return ok;
    };
    try {
      const ok = note(true, await deed());
      onStep?.(name);
      return ok;
    } catch (cause) {
      return note(false, cause instanceof Error ? cause.message : String(cause));
    }
  }

  /** The newest backup that is proven and whole, as a restore would choose it. */
  async #find(): Promise<string> {
    // A restore takes a dump of PostgreSQL; a base is for a chosen instant.
    const wanted = this.#target.instant !== undefined;
    const found = (await this.#list()).filter(({ manifest }) => (manifest.kind === "base") === wanted);
    const choice = chooseBackup(
      found.map(({ candidate }) => candidate),
      this.#at.startedAt.getTime(),
    );
    if (choice.kind === "none") throw new Error(`nothing to restore in ${this.#target.store}: ${choice.reason}`);
    this.#chain = choice.chain.flatMap((id) => found.filter((each) => each.id === id));
    return `${choice.id} is the newest of ${found.length}${choice.chain.length > 1 ? `, made against ${choice.chain[0] ?? ""}` : ""}`;
  }

  async #list(): Promise<readonly Found[]> {
    const { from, target } = this.#target;
    if (from.kind === "folder") {
      const repository = new Repository(from.folder, target);
      if (!repository.isThere()) throw new Error(`there is no folder ${repository.folder}`);
      const { backups } = repository.list();
      return backups.map((each) => asFound({ ...each, manifestSha256: sumOf(manifestText(each.folder)) }));
    }
    return ((await this.#remote?.list(from.known))?.backups ?? []).map(asFound);
  }

  async #fetch(): Promise<string> {
    const { io, place } = this.#at;
    const [id = "", remote] = [this.#chain.at(-1)?.id, this.#remote];
    if (remote === undefined) throw new Error("there is no bucket to fetch from");
    await fetchCopy({ ...this.#target, id, into: place }, remote, io);
    const segments = this.#target.instant === undefined ? undefined : await this.#fetchWal();
    const bytes = this.#chain.reduce((sum, each) => sum + storedBytesOf(each.manifest), 0);
    const wal = segments === undefined ? "" : `, and ${segments} segments of WAL with theirs`;
    return `${formatSize(bytes)} came with the checksums that the manifest has${wal}`;
  }

  /** What the bucket has since the base; returns how many segments. */
  async #fetchWal(): Promise<number> {
    const { io, place } = this.#at;
    const { from, target } = this.#target;
    const manifest = this.#chain.at(-1)?.manifest;
    if (from.kind !== "bucket" || manifest === undefined) throw new Error("there is no bucket to fetch WAL from");
    const bucket = new WalBucket(new Bucket(from.remote, io), from.remote, target);
    return fetchWal({ bucket, manifest, folder: new Repository(place, target).folder, write: io.write });
  }

  /** Unpacked into scratch, proven by its engine, counted and asked (L3). */
  async #restore(): Promise<string> {
    const { io, place, job, startedAt } = this.#at;
    const { from, target, checks, instant } = this.#target;
    const backup = this.#chain.at(-1);
    if (backup === undefined) throw new Error("there is no backup to restore");
    const hint = "set backups.scratch to a larger disk";
    const [bytes, files] = [bytesUnpacked(backup.manifest), filesUnpacked(backup.manifest)];
    refuseLittleRoom(place, { bytes, files, reserveShare: 0.5, hint });
    const store = from.kind === "folder" ? from.folder : place;
    if (instant !== undefined) {
      const { manifest } = backup;
      // Only here: the others need nothing of it.
      const { drillInstant } = await import("./drill-instant.ts");
      const wish = { target: { ...this.#target, instant }, manifest, store, place, at: startedAt, write: io.write };
      this.#instant = await drillInstant({ ...wish, identity: job.identity }, (asked) => {
        this.#checks = [...asked];
      });
      return this.#instant.text;
    }
    const verification = await verifyBackup({
      folder: join(store, target, backup.id),
      manifest: backup.manifest,
      level: "L3",
      checks,
      unchangedAt: heldAt(backup, startedAt),
      scratch: place,
      identity: job.identity,
      clock: io.clock,
    });
    this.#checks = [...(verification.checks ?? [])];
    if (!verification.ok) throw new Error(verification.detail ?? "it does not stand its proof");
    return shownOf(backup.manifest);
  }
}

/** When the source was last seen to hold what the backup holds, where that is later than its snapshot. */
function heldAt(found: Found | undefined, now: Date): string | undefined {
  if (found === undefined) return undefined;
  const { candidate } = found;
  const heldMs = untilMs(candidate, now.getTime());
  return heldMs > candidate.snapshotMs ? new Date(heldMs).toISOString() : undefined;
}

function asFound({ id, manifest, manifestSha256, state }: RemoteBackup): Found {
  const { base, snapshotAt, trigger } = manifest;
  const candidate = {
    id,
    base,
    snapshotMs: Date.parse(snapshotAt),
    unchangedMs: state.unchangedAt === undefined ? undefined : Date.parse(state.unchangedAt),
    verified: provenLevel(state) !== undefined,
    preRestore: trigger === "pre-restore",
    damage: null,
  };
  return { id, manifest, manifestSha256, candidate };
}

/** What a restored backup has shown again, for people. */
function shownOf({ content, raw }: Manifest): string {
  const tables = Object.entries(content.tables ?? {});
  const rows = tables.reduce((sum, [, count]) => sum + count, 0);
  const parts = [
    `${formatSize(raw.bytes)} unpacked`,
    ...(content.tables === undefined ? [] : [`tables: ${tables.length}, rows: ${rows}`]),
    ...(content.files === undefined ? [] : [`files: ${content.files}`]),
    ...(content.keys === undefined ? [] : [`keys: ${content.keys}`]),
  ];
  return `${parts.join(", ")}; as when it was made`;
}

function storedBytesOf({ parts }: Manifest): number {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}

function secondsOf(ms: number): number {
  return Math.round(ms) / 1_000;
}
