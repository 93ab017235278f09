/** One drill over all kinds of targets, encrypted copies in a bucket, with real servers; skipped with the reason where one is not installed. */
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { generateIdentity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { drill } from "../../../src/actions/backup/drill.ts";
import type { BackupLine, JobTarget } from "../../../src/core/backup-job.ts";
import { drillJobSchema } from "../../../src/core/drill.ts";
import { missing as noPostgres, PgServer, WHY } from "./postgres-rig.ts";
import { missing as noRedis, RedisRig } from "./redis-rig.ts";
import { hasty, RemoteRig } from "./remote-rig.ts";

const why = `${WHY}${noRedis === undefined ? "" : ` (skipped: ${noRedis} is not there)`}`;

test(
  `a drill restores databases, a dump of Redis, files and secrets from encrypted copies${why}`,
  { skip: noPostgres !== undefined || noRedis !== undefined, timeout: 180_000 },
  async () => {
    await using rig = await RemoteRig.open();
    await using server = new PgServer();
    await using redis = new RedisRig();
    await server.start();
    const connection = await redis.start();
    await connection.command("SET", "a", "1");
    connection.close();
    rig.fill(30).close();
    writeFileSync(join(rig.folder, "key"), "k");
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    const targets: readonly JobTarget[] = [
      rig.sqlite,
      server.target(server.makeDatabase(20)),
      redis.redis,
      { kind: "files", name: "conf", paths: [join(rig.folder, "key")] },
      { kind: "secrets", name: "keys", paths: [join(rig.folder, "key")] },
    ];
    for (const target of targets) {
      const records = join(rig.folder, "records", target.name);
      expect(await rig.backUp(rig.job(target, { recipients, identity, record: `${records}@local.json` }))).toBe(0);
      const record = `${records}@offsite.json`;
      expect((await rig.remotely(rig.remoteJob("copy", { target: target.name, record }))).code).toBe(0);
    }
    const from = { kind: "bucket", remote: rig.s3.settings(), known: [] };
    const common = { store: "offsite", from, checks: [], rpoSeconds: 3_600 };
    const job = drillJobSchema.parse({
      version: 1,
      trigger: "schedule",
      by: { user: "the daemon", host: "h", tool: "supervisor test", config: "/etc/x.yaml" },
      objectives: { rtoSeconds: 3_600, rpoSeconds: 3_600 },
      scratch: join(rig.folder, "scratch"),
      records: join(rig.folder, "records"),
      identity,
      targets: targets.map(({ name, kind }) => ({ ...common, target: name, kind })),
    });
    const lines: BackupLine[] = [];
    expect(await drill(job, { clock: hasty, write: (line) => void lines.push(line) })).toBe(0);
    const last = lines.at(-1);
    expect(last).toMatchObject({
      kind: "drilled",
      report: { ok: true, targets: targets.map(({ name }) => ({ target: name, ok: true })) },
    });
    expect(JSON.stringify(last)).not.toContain(identity);
  },
);
