/** The sources of backups. To add one: write its file, add its target to core/backup-job.ts and a line to each function here. */
import type { JobTarget } from "../../core/backup-job.ts";
import type { BackupType, Manifest } from "../../core/backup-manifest.ts";
import { keptElsewhere } from "../../core/pgbackrest.ts";
import { filesProver, filesSource } from "./files.ts";
import { baseProver, baseSource } from "./pg-base.ts";
import { pgBackRestProver, pgBackRestSource } from "./pgbackrest.ts";
import { postgresProver, postgresSource } from "./postgres.ts";
import { redisProver, redisSource } from "./redis.ts";
import type { Prover, Source } from "./source.ts";
import { sqliteProver, sqliteSource } from "./sqlite.ts";

export function openSource(target: JobTarget): Source {
  switch (target.kind) {
    case "sqlite":
      return sqliteSource(target.path);
    case "redis":
      return redisSource(target);
    case "postgres":
      if (target.physical !== true) return postgresSource(target);
      return target.pgbackrest === undefined
        ? baseSource(target)
        : pgBackRestSource({ ...target, pgbackrest: target.pgbackrest });
    case "files":
    case "secrets":
      return filesSource(target.paths, { secret: target.kind === "secrets" });
  }
}

export function proverOf(type: BackupType): Prover {
  switch (type) {
    case "sqlite":
      return sqliteProver;
    case "files":
    case "secrets":
      return filesProver;
    case "redis":
      return redisProver;
    case "postgres":
      return pgProver;
  }
}

/** A dump of a database, or a base of the whole server, here or at pgBackRest. */
const pgProver: Prover = {
  parse: (raw, manifest) => pgProverOf(manifest).parse(raw, manifest),
  prove: (raw, manifest, ...more) => pgProverOf(manifest).prove(raw, manifest, ...more),
};

function pgProverOf(manifest: Manifest): Prover {
  const elsewhere = keptElsewhere(manifest);
  if (elsewhere !== undefined) return pgBackRestProver(elsewhere);
  return manifest.kind === "base" ? baseProver : postgresProver;
}
