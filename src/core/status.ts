/** The status object: what `supervisor status --json` prints and `GET /v1/status` answers; its fields are public. */
import * as z from "zod";
import { BACKUP_TYPES, LEVELS } from "./backup-manifest.ts";
import { TIERS } from "./backup-retention.ts";

const time = z.string().describe("RFC 3339 UTC.");
const seconds = z.number().min(0);

const botStates = [
  "stopped",
  "starting",
  "running",
  "stopping",
  "backoff",
  "recovering",
  "halted",
  "locked",
  "stuck",
] as const;

const probeStatusSchema = z.strictObject({
  name: z.string(),
  kind: z.string(),
  role: z.enum(["startup", "liveness", "readiness"]),
  verdict: z.enum(["healthy", "unhealthy", "pending"]).describe("Folded over the thresholds."),
  result: z.enum(["success", "failure", "unknown"]).nullable().describe("Of the last run; null before the first."),
  reason: z.string().nullable().describe("Why the last run was no success."),
  failures: z.int().min(0).describe("Failures in a row."),
  lastAt: time.nullable(),
  latencySeconds: seconds.nullable(),
});

const botStatusSchema = z.strictObject({
  name: z.string(),
  account: z.string(),
  state: z.enum(botStates),
  health: z.enum(["healthy", "unhealthy", "pending"]),
  ready: z.boolean(),
  wanted: z
    .boolean()
    .describe(
      "The bot should run: autostart or an operator's start, and since then no stop and no end that restart.policy lets stand.",
    ),
  reason: z.string().nullable().describe("Why the bot is not simply running, for people."),
  restore: z
    .strictObject({
      target: z.string(),
      backup: z.string().nullable().describe("Its id, or the file; null: the restore's journal cannot be read."),
      since: time.nullable(),
    })
    .nullish()
    .describe(
      "The restore that has not ended and because of which the bot, which is down, is not started; null: none.",
    ),
  pid: z.int().nullable(),
  generation: z.int().min(0),
  startedAt: time.nullable(),
  uptimeSeconds: seconds.nullable(),
  adopted: z.boolean(),
  definition: z
    .enum(["current", "outdated"])
    .describe("outdated: it was adopted, and the config would start it otherwise now; a restart or a reload does."),
  restarts: z.strictObject({
    total: z.int().min(0).describe("Automatic restarts that were made; one that is waited for is not among them."),
    byReason: z
      .record(z.string(), z.int().min(0))
      .nullish()
      .describe(
        "The total by what the restarts were for: a cause of lastExit, with probe for every probe:NAME; unknown: counted by an earlier release.",
      ),
    inPeriod: z
      .int()
      .min(0)
      .describe(
        "Those that count now against the budget; one that is waited for does, and somebody's start forgets all.",
      ),
    intensity: z.int().min(0),
    attempt: z.int().min(0),
    nextStartAt: time.nullable(),
    resetAt: time.nullable().describe("When the backoff goes back to its base if the bot stays healthy."),
  }),
  lastExit: z
    .strictObject({
      at: time,
      code: z.int().nullable(),
      signal: z.string().nullable(),
      cause: z
        .string()
        .describe("exited, signal, oom, heartbeat, progress, probe:NAME, limit, startTimeout, stopped or spawnFailed."),
      detail: z.string(),
    })
    .nullable(),
  probes: z.array(probeStatusSchema),
  heartbeat: z.strictObject({
    at: time.nullable(),
    ageSeconds: seconds.nullable(),
    status: z.string().nullable().describe("The bot's own words (STATUS=)."),
  }),
  resources: z
    .strictObject({
      rssBytes: z.number().min(0),
      cpuPercent: z.number().min(0).describe("Of one core."),
      pids: z.int().min(0),
      openFiles: z.int().min(0),
      memoryLimitBytes: z.number().nullable(),
      oomKills: z.int().min(0),
    })
    .nullable()
    .describe("What its processes use; at most a second old."),
  cpuSeconds: seconds
    .nullish()
    .describe("CPU time of all its starts, as far as this daemon has seen it; null: the kernel did not tell."),
  level: z.enum(["normal", "degraded", "minimal", "emergency"]),
  emergency: z.strictObject({
    state: z.enum(["off", "armed", "fencing", "closing", "flat", "residual", "unknown"]),
    incident: z.string().nullable(),
    lockedSince: time.nullable(),
    reason: z.string().nullable(),
    outcome: z
      .string()
      .nullish()
      .describe("How the close of the lockout ended; null: it has not, or there is no lockout."),
    retries: z.boolean().nullish().describe("That close is tried again by itself; null: there is no lockout."),
    acknowledged: z
      .strictObject({ at: time, by: z.string().nullable(), reason: z.string().nullable() })
      .nullish()
      .describe("Which person has ended the rounds of that close, when and why; null: none has."),
    seen: z
      .strictObject({ at: time, positions: z.int(), orders: z.int(), loans: z.int() })
      .nullish()
      .describe("What was open when a plan or an arm last looked at the account since that close; null: none has."),
    lastClose: z
      .strictObject({
        outcome: z.string(),
        endedAt: time.nullable(),
        seconds: seconds.describe("From the start of the worker to its verdict, the quiet period included."),
        residualNotional: z.number().nullable().describe("What was open at its end; null: not known."),
        orders: z.strictObject({ accepted: z.int(), rejected: z.int(), unknown: z.int() }),
      })
      .nullish()
      .describe("The last close that this daemon ran; null: none."),
    closes: z
      .record(z.string(), z.int().min(0))
      .nullish()
      .describe("Runs of the close that ended since this daemon started, slow rounds included, by outcome."),
    owed: z
      .string()
      .nullish()
      .describe(
        "What of lockout, journal and report of a close the disk has not taken yet, and why; null: it has all.",
      ),
    preflight: z.enum(["ok", "failed", "never"]),
    preflightAt: time.nullable(),
    limits: z
      .strictObject({
        exposure: z.number().nullable().describe("Σ|notional| by the last reading; null: not known."),
        maxExposure: z.number().nullable(),
        equity: z.number().nullable(),
        dailyLoss: z.number().nullable().describe("Since the first reading of the UTC day; negative for a gain."),
        maxDailyLoss: z.number().nullable().describe("As an amount."),
        asOf: time,
        unknown: z.string().nullable().describe("Why the last reading could not be judged; null: it could."),
      })
      .nullish()
      .describe("null: no limits, or no reading yet."),
    deadman: z
      .strictObject({
        state: z.enum(["armed", "disarmed"]),
        refreshedAt: time.nullable(),
        ageSeconds: seconds.nullable(),
        reason: z.string().nullable().describe("Why it is not refreshed; null: it is, or nobody wants it to be."),
      })
      .nullish()
      .describe("The venue's dead-man switch; null: not configured."),
  }),
});
export type BotStatus = z.output<typeof botStatusSchema>;

const backupStatusSchema = z.strictObject({
  target: z.string(),
  store: z.string(),
  kind: z.enum(BACKUP_TYPES),
  lastSuccessAt: time.nullable(),
  unchangedAt: time
    .nullish()
    .describe("When the source was last seen to hold what the last backup holds; null: not since its snapshot."),
  lastDurationSeconds: seconds.nullable(),
  sizeBytes: z.int().min(0).nullable().describe("Stored bytes of the last backup."),
  verified: z
    .boolean()
    .describe("The last backup stood the level of backups.verify.every, and nobody has found it damaged since."),
  nextAt: time.nullable().describe("When the next one is due; null: only by hand."),
  overdue: z.boolean().describe("A run of the schedule has not succeeded for more than an hour."),
  running: z.boolean(),
  lastError: z.string().nullable().describe("Stage and reason of the last failure; null after a success."),
  failures: z.int().min(0).describe("Failures since the record of the target began."),
  failuresByStage: z.record(z.string(), z.int().min(0)).optional().describe("The same by the stage that failed."),
  lastAttemptAt: time.nullish().describe("When the last run ended, whatever came of it; null: there was none."),
  stoodAt: z
    .partialRecord(z.enum(LEVELS), time)
    .optional()
    .describe("When a backup last stood a level or a higher one, by level; a level that none did is absent."),
  damaged: z
    .array(z.strictObject({ id: z.string(), reason: z.string() }))
    .optional()
    .describe(
      "Backups that are there and were found damaged, by the schedule or by hand, the oldest first; absent: none.",
    ),
  full: z
    .partialRecord(
      z.enum(["full", "base"]),
      z.strictObject({
        sizeBytes: z.int().min(0).describe("Stored bytes of the newest one."),
        shrunk: z.boolean().describe("It has less than half of the bytes of the one before it."),
      }),
    )
    .optional()
    .describe("Backups that are whole by themselves, by kind; absent before the first."),
  stored: z
    .strictObject({
      tiers: z.record(z.enum(TIERS), z.int().min(0)).describe("Backups by the first rule that keeps each."),
      bytes: z.int().min(0).describe("Of all of them, without archived WAL."),
      walBytes: z.int().min(0).optional().describe("Of archived WAL; absent where there is none."),
      oldestAt: time.nullable().describe("Instant of the oldest that is proven; null: none is."),
      newestAt: time
        .nullable()
        .describe("Instant of the newest that is proven, or the later one at which its source was seen unchanged."),
      freeBytes: z
        .number()
        .min(0)
        .nullable()
        .describe("Free on the disk of the store now; null: it cannot be told, or it is a bucket."),
      reserveBytes: z.number().min(0).nullable().describe("Of that, what backups leave alone."),
    })
    .optional()
    .describe("What the store has, as the last run or prune left it, on a disk as it is now; absent before the first."),
  copies: z
    .strictObject({
      pendingBytes: z.int().min(0).describe("Bytes that the last run left to be copied."),
      backups: z.int().min(0).describe("Copies that are there."),
      storedBytes: z.int().min(0).describe("Bytes of all of them."),
    })
    .optional()
    .describe("Only of a bucket, after the first run; the other fields are then those of the newest copy."),
  wal: z
    .strictObject({
      slotRetainedBytes: z.number().min(0).describe("WAL that the server keeps until it is archived."),
      lastSegment: z.string().nullable().describe("The newest whole segment that is archived."),
      lagBytes: z
        .number()
        .min(0)
        .nullish()
        .describe("WAL that the server has written and we have not received; null: nobody receives it now."),
      archivedBytes: z.int().min(0).optional().describe("Of all archived WAL in the store."),
      gaps: z.int().min(0).optional().describe("Gaps in the archive since the newest base."),
      paused: z
        .boolean()
        .optional()
        .describe("Nothing is received, since the disk of the store is full; the server keeps it."),
      recoverableTo: time
        .nullish()
        .describe("What was committed until then can be recovered from the newest base; null: nobody knows."),
      copies: z
        .array(
          z.strictObject({
            store: z.string(),
            lastSegment: z.string().nullable().describe("The newest whole segment in the bucket."),
            waiting: z.int().min(0).describe("Archived segments that are not there yet."),
            failure: z.string().nullable().describe("Why it does not go on; null: it does."),
            gap: z.boolean().optional().describe("WAL is missing there for good that a base there needs."),
          }),
        )
        .optional()
        .describe("The archives in buckets; absent before any has said something."),
    })
    .optional()
    .describe("Only of a target with pitr, while its WAL is received."),
});
export type BackupStatus = z.output<typeof backupStatusSchema>;

const drillStatusSchema = z.strictObject({
  id: z.string().nullable(),
  lastAt: time.nullable().describe("When the last drill ended; null: there was none."),
  lastSuccessAt: time.nullable(),
  ok: z.boolean().nullable().describe("Of the last one: everything was restored, and the objectives were met."),
  rtoSeconds: seconds.nullable().describe("How long the restore of all targets took."),
  rpoSeconds: seconds
    .nullable()
    .describe("How old the oldest of the restored data was; null: a target was not restored."),
  objectivesMet: z.boolean().nullable(),
  nextAt: time.nullable().describe("When the next one is due; null: only by hand."),
  overdue: z.boolean(),
  running: z.boolean(),
  lastError: z.string().nullable(),
});

export const statusSchema = z.strictObject({
  version: z.literal(1),
  supervisor: z.strictObject({
    version: z.string(),
    pid: z.int().nullable().describe("null: the daemon is not running and this is its last known state."),
    pidNamespace: z
      .string()
      .optional()
      .describe("Name of the PID namespace in which all pids of this status are meant; absent: not told."),
    startedAt: time,
    uptimeSeconds: seconds,
    config: z.string(),
    health: z.enum(["ok", "degraded", "down"]),
    role: z.enum(["active"]),
    cgroup: z.enum(["v2", "hybrid", "none"]),
    rssBytes: z.number().min(0),
    journalDropped: z.int().min(0).describe("Journal lines lost to a full or unwritable disk."),
    journal: z.string().nullish().describe("Why lines of the journal are lost now; null: they are written."),
    stateFolder: z.string().nullish().describe("What happened to the state folder under the daemon; null: nothing."),
    listen: z
      .string()
      .nullish()
      .describe("Why an address of `http` or `metrics` is not listened on now; null: all are."),
    missing: z
      .string()
      .nullish()
      .describe("Which bots of the config nobody supervises, as a reload could not take them in, and why; null: none."),
    asOf: time.describe("When this was true."),
    maintenance: z
      .strictObject({ since: time, until: time, reason: z.string().nullable() })
      .nullish()
      .describe("While it lasts no trigger closes positions, only a person's emergency close; null: there is none."),
    machine: z
      .strictObject({
        loopLagSeconds: seconds.describe("The longest delay of the daemon's own loop in the last ten seconds."),
        stalls: z.int().min(0).describe("Times that the daemon itself stood still for more than three seconds."),
        suspends: z.int().min(0).describe("Times that the machine slept."),
        clockSteps: z.int().min(0).describe("Times that the wall clock was set."),
        pressure: z
          .strictObject({
            cpuSomePercent: z.number().min(0).nullable(),
            memoryFullPercent: z.number().min(0).nullable(),
            ioFullPercent: z.number().min(0).nullable(),
          })
          .describe("Share of the last ten seconds that was lost to waiting; null where the kernel does not tell."),
        disturbed: z.string().nullable().describe("Why failing probes are not counted now; null: they are."),
      })
      .optional()
      .describe("What the daemon saw of its machine since it started; absent when no daemon watched it."),
  }),
  bots: z.array(botStatusSchema),
  backups: z.array(backupStatusSchema).describe("One entry for each target and store."),
  drill: drillStatusSchema.optional().describe("The last restore for practice; absent without backups."),
  alerts: z.strictObject({ firing: z.int().min(0), queued: z.int().min(0) }),
});
export type Status = z.output<typeof statusSchema>;
