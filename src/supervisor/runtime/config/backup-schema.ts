/** The config's section `backups`: where backups are stored, of what, when, how long they are kept and how far they are proven. */
import * as z from "zod";
import { later, real } from "../../../core/later.ts";
import { tag } from "../../../core/tag.ts";
import { checkSchema } from "../../../core/backup-checks.ts";
import { WORKER_LEVELS } from "../../../core/backup-job.ts";
import { COMPRESSORS, LEVELS } from "../../../core/backup-manifest.ts";
import { retentionSchema } from "../../../core/backup-retention.ts";
import { postgresUrlError } from "../../../core/postgres-url.ts";
import { duration } from "../../../core/quantities.ts";
import { STANZA } from "../../../core/pgbackrest.ts";
import { redisUrlError } from "../../../core/redis-url.ts";
import { scheduleError } from "./cron.ts";

/** Each copies the whole database before it compares, and the daemon makes one backup at a time. */
const MIN_INCREMENTAL_MS = 60_000;

/** Text for open(2), which ends it at the first NUL character. */
const filled = () =>
  z
    .string()
    .min(1)
    .regex(/^[^\0]*$/, "a NUL character cannot be passed on; remove it");
const path = () =>
  filled().regex(/^(?!~)/, '"~" is not expanded here; write ${HOME} in its place, or an absolute path');

const partName = (what: string) =>
  z
    .string()
    .regex(
      /^[a-z][a-z0-9-]{0,31}$/,
      `a ${what}'s name is lower-case letters, digits and dashes, at most 32, beginning with a letter`,
    );

const storeSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("directory").describe("Plain folders on this machine."),
      path: path().describe("Folder of the store; made when it is not there."),
    }),
    z.strictObject({
      kind: z.literal("s3").describe("A bucket that speaks S3, for copies of what lies in the first directory."),
      endpoint: z
        .url({ protocol: /^https?$/, error: "is not an address; write it as https://HOST or http://HOST:PORT" })
        .describe("Address of the service."),
      bucket: filled()
        .regex(
          /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/,
          "is not the name of a bucket; it has 3 to 63 of a-z, 0-9, dot and dash",
        )
        .describe("Name of the bucket; it must exist."),
      prefix: z
        .string()
        .regex(/^[^\0]*$/, "a NUL character cannot be passed on; remove it")
        .regex(/^(?!\/)(?!.*\/$)/, "begins or ends with a slash; leave that out")
        .default("")
        .describe("Begins every key; of this installation alone."),
      region: filled().default("us-east-1").describe("Region of the bucket."),
      accessKeyIdFile: path().optional().describe("File with the access key id."),
      accessKeyIdEnv: filled().optional().describe("Environment variable with the access key id."),
      secretAccessKeyFile: path().optional().describe("File with the secret access key."),
      secretAccessKeyEnv: filled().optional().describe("Environment variable with the secret access key."),
      caFile: path()
        .optional()
        .describe(
          "File with the certificate, in PEM, of the authority that signed the service's; then no other is trusted.",
        ),
      timeout: tag(
        duration().refine((ms) => ms >= 1_000, "is too short; write at least 1s"),
        "store timeout",
      )
        .prefault("30s")
        .describe("Longest wait for an answer; a file gets a second more for each 64 KiB."),
      retention: retentionSchema.optional().describe("How long copies are kept; default: as backups.retention."),
    }),
  ]),
);

const encryptionSchema = later(() =>
  z.strictObject({
    recipients: z
      .array(
        filled().regex(/^age1[0-9a-z]+$/, "is not a public key of age; it begins with age1 (age-keygen prints it)"),
      )
      .min(1)
      .describe("Public keys of age; whoever has one of their private keys can restore."),
    identityFile: path()
      .optional()
      .describe("File of the private key, as age-keygen writes it; needed to check what is stored, and to restore."),
  }),
);

/** A schedule in the five fields of cron, or a nickname of it. */
const schedule = () =>
  tag(
    filled().superRefine((text, context) => {
      const error = scheduleError(text);
      if (error !== undefined) context.addIssue({ code: "custom", message: error });
    }),
    "schedule",
  );

const targetFields = later(() => ({
  schedule: schedule()
    .optional()
    .describe('When: five fields of cron ("0 2 * * *") or @hourly, @daily, @weekly, @monthly. Default: only by hand.'),
  timezone: filled().default("UTC").describe("Time zone of the schedule, as Europe/Berlin."),
  jitter: duration().prefault("0s").describe("Each run is put off by a random part of this."),
  stores: z.array(filled()).min(1).optional().describe("Names of the stores it goes to; default: all."),
  rpo: duration()
    .optional()
    .describe("Longest time whose data a restore of it may lose; default: as backups.objectives."),
  bots: z
    .array(filled())
    .min(1)
    .optional()
    .describe(
      "Bots that use it: stopped during a restore, and then held to the level minimal until they are reconciled.",
    ),
}));

/** Of a database that answers to SQL. */
const checks = () =>
  z
    .array(real(checkSchema))
    .optional()
    .describe(
      "What the data must show when it was restored (L3), beside what every database is asked. Default: nothing.",
    );

const paths = () => z.array(path()).min(1).describe("Files and folders, with everything below.");

const command = () => z.array(filled()).min(1);

const redisUrl = () =>
  tag(
    filled().superRefine((text, context) => {
      const error = redisUrlError(text);
      if (error !== undefined) context.addIssue({ code: "custom", message: error });
    }),
    "redis url",
  );

const postgresUrl = () =>
  tag(
    filled().superRefine((text, context) => {
      const error = postgresUrlError(text);
      if (error !== undefined) context.addIssue({ code: "custom", message: error });
    }),
    "postgres url",
  );

const backRestSchema = later(() =>
  z.strictObject({
    stanza: z
      .string()
      .regex(STANZA, "is not a name of a stanza; it is letters, digits, dash and underscore, at most 64")
      .describe("Stanza of the server; pgbackrest stanza-create makes it."),
    config: path().optional().describe("Its configuration file, with repository and keys; default: its own default."),
    full: duration().prefault("7d").describe("Age of the newest full backup from which on a run makes another."),
    differential: duration()
      .prefault("1d")
      .describe(
        "Age of the newest full or differential one from which on a run makes a differential; else incremental.",
      ),
  }),
);

const redisTarget = () =>
  z.strictObject({
    kind: z
      .literal("redis")
      .describe("All databases of a Redis server, as a dump that it writes, or as its append-only file."),
    url: redisUrl().describe(
      "redis://[USER@]HOST[:PORT] or redis+unix://[USER@]/PATH/TO/redis.sock; without a password.",
    ),
    passwordFile: path().optional().describe("File with the password, where the server asks for one."),
    format: z
      .enum(["rdb", "aof"])
      .default("rdb")
      .describe("rdb: a dump that the server writes. aof: its append-only file as it lies, without a fork (Redis 7)."),
    stop: command()
      .optional()
      .describe("Command that stops the server, as [systemctl, stop, redis-server]; a restore needs it."),
    start: command().optional().describe("Command that starts it again."),
    folder: path()
      .optional()
      .describe("Its data folder on this machine, where the server says another. Default: what it says."),
    ...targetFields,
  });

const targetSchema = later(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("sqlite").describe("A SQLite database, copied as of one instant while it is written."),
      path: path().describe("File of the database."),
      incremental: tag(
        duration().refine((ms) => ms >= MIN_INCREMENTAL_MS, "is too often; write at least 1m"),
        "incremental",
      )
        .optional()
        .describe(
          "Between the full backups, what differs from the newest of them, this long after the last one. Default: none.",
        ),
      checks: checks(),
      ...targetFields,
    }),
    redisTarget(),
    z.strictObject({
      kind: z.literal("postgres").describe("One database of a PostgreSQL server, dumped by pg_dump as of one instant."),
      url: postgresUrl().describe(
        "postgres://[USER@]HOST[:PORT]/DATABASE, or postgres://[USER@]/DATABASE?host=/SOCKET/FOLDER; also ?sslmode= and ?sslrootcert=; without a password. Default: what $POSTGRES_HOST, $POSTGRES_PORT, $POSTGRES_USER and $POSTGRES_DB say.",
      ),
      passwordFile: path()
        .optional()
        .describe("File with the password. Without it and passwordEnv: $POSTGRES_PASSWORD, or libpq's own ~/.pgpass."),
      passwordEnv: filled()
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "is not the name of a variable")
        .optional()
        .describe("Variable in the supervisor's own environment that holds the password."),
      pitr: z
        .boolean()
        .default(false)
        .describe(
          "Each run also makes a base backup of the whole server, and the daemon archives its WAL: restores to any instant (--at with --to). In the first directory of its stores.",
        ),
      engine: z
        .enum(["native", "pgbackrest"])
        .default("native")
        .describe(
          'Who makes and keeps the base backups and WAL of pitr: the supervisor ("native"), or pgBackRest, where that is installed and the server archives to it.',
        ),
      pgbackrest: real(backRestSchema).optional().describe("How pgBackRest is driven; needed with engine: pgbackrest."),
      checks: checks(),
      ...targetFields,
    }),
    z.strictObject({
      kind: z.literal("files").describe("Files and folders as they are, for configuration."),
      paths: paths(),
      ...targetFields,
    }),
    z.strictObject({
      kind: z.literal("secrets").describe("Files that are never stored unencrypted."),
      paths: paths(),
      ...targetFields,
    }),
  ]),
);

const objectivesSchema = later(() =>
  z.strictObject({
    rto: duration().prefault("4h").describe("Longest time that a restore may take."),
    rpo: duration().prefault("6h").describe("Longest time whose data a restore may lose."),
  }),
);

const drillSchema = later(() =>
  z.strictObject({
    schedule: z
      .union([z.literal("never"), schedule()])
      .default("@monthly")
      .describe('When the daemon restores everything into scratch and asks it: cron, @monthly, or "never".'),
    timezone: filled().default("UTC").describe("Time zone of the schedule, as Europe/Berlin."),
    jitter: duration().prefault("0s").describe("Each drill is put off by a random part of this."),
    store: filled()
      .optional()
      .describe("Store that it restores from; default: the first bucket of each target, else its first directory."),
  }),
);

const verifySchema = later(() =>
  z.strictObject({
    every: z.enum(WORKER_LEVELS).default("L1").describe("Proven of each backup before it counts as one."),
    daily: z
      .enum(LEVELS)
      .default("L2")
      .describe("Proven of the newest full backup once a day, and of the newest incremental one where that is newer."),
    weekly: z.enum(LEVELS).default("L3").describe("Proven of the same once a week; L3 asks the target's checks."),
  }),
);

export const backupsSchema = later(() =>
  z.strictObject({
    stores: z.record(partName("store"), real(storeSchema)).describe("Where backups are kept, by name."),
    encryption: encryptionSchema.optional().describe("Keys; needed for targets of kind secrets, then used for all."),
    targets: z.record(partName("target"), real(targetSchema)).describe("What is backed up, by name."),
    retention: retentionSchema.prefault({}).describe("How long backups are kept."),
    verify: verifySchema.prefault({}).describe("How far backups are proven."),
    compress: z.enum(COMPRESSORS).default("zstd").describe("How backups are packed."),
    scratch: path()
      .optional()
      .describe(
        "Folder with room for what a drill restores, and what is fetched from a bucket; default: backups/scratch in stateDir.",
      ),
    drill: drillSchema.prefault({}).describe("Restores for practice."),
    objectives: objectivesSchema.prefault({}).describe("What a restore must keep to."),
  }),
);
export type BackupsInput = z.output<typeof backupsSchema>;
export type StoreConfig = z.output<typeof storeSchema>;
export type TargetConfig = z.output<typeof targetSchema>;
