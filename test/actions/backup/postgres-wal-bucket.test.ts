/** Point-in-time recovery from a bucket alone: base, archived WAL and what was still received, when server and disk are lost. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runRemote } from "../../../src/actions/backup/copies.ts";
import { drill } from "../../../src/actions/backup/drill.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import type { RemoteSettings } from "../../../src/core/backup-remote.ts";
import { DRILL_STEPS, drillJobSchema, type DrillReport } from "../../../src/core/drill.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { S3Server } from "../../harness/s3-server.ts";
import { Receiver, until } from "./postgres-receiver.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const SERVER = { skip: missing !== undefined, timeout: 240_000 };
const RETENTION = { hourly: 86_400_000, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };

/** A drill of the server to an instant, from the bucket alone. */
async function drillIt(
  rig: PgRig,
  remote: RemoteSettings,
  { database, id, writtenMs }: { readonly database: string; readonly id: string; readonly writtenMs: number },
): Promise<void> {
  const checks = [{ kind: "rows", table: "trades", atLeast: 71 }];
  const common = { target: "ledger", kind: "postgres", store: "offsite", checks, rpoSeconds: 3_600 };
  const job = drillJobSchema.parse({
    version: 1,
    trigger: "manual",
    by: { user: "ops", host: "h", tool: "supervisor test", config: "/etc/x.yaml" },
    objectives: { rtoSeconds: 3_600, rpoSeconds: 3_600 },
    scratch: join(rig.folder, "scratch"),
    records: join(rig.folder, "drills"),
    targets: [{ ...common, from: { kind: "bucket", remote, known: [] }, instant: { database } }],
  });
  let report: DrillReport | undefined;
  const write = (line: BackupLine): void => void (line.kind === "drilled" && ({ report } = line));
  await drill(job, { write, clock: systemClock });
  expect(report).toMatchObject({
    ok: true,
    targets: [
      {
        physical: true,
        wal: { lastSegment: expect.stringMatching(/^[0-9A-F]{24}$/) },
        backups: [{ id }],
        rpoSeconds: expect.any(Number),
        rtoSeconds: expect.any(Number),
        steps: DRILL_STEPS.map((name) => ({ name, ok: true })),
      },
    ],
  });
  // Behind the last row that was written, and not only behind the base.
  expect(Date.parse(report?.targets[0]?.snapshotAt ?? "")).toBeGreaterThan(writtenMs);
}

test(
  `restoreBackup() recovers a server to an instant from a bucket alone, up to what was still received${WHY}`,
  SERVER,
  async () => {
    using rig = new PgRig();
    await using s3 = await S3Server.start();
    await using server = new PgServer();
    await server.start();
    const database = server.makeDatabase(50);
    const target = { kind: "postgres", name: "ledger", url: server.url(database), physical: true } as const;
    expect(await rig.backUp(rig.job(target))).toBe(0);
    const { id } = rig.stored("ledger");
    const remote = s3.settings();
    const common = { version: 1, target: "ledger", store: "offsite", remote } as const;
    const told: BackupLine[] = [];
    const io = { write: (line: BackupLine) => void told.push(line), clock: systemClock };
    const copy = {
      deed: "copy",
      ...common,
      record: join(rig.folder, "copies.json"),
      folder: rig.store,
      newest: id,
    } as const;
    expect(await runRemote({ ...copy, retention: RETENTION }, io)).toBe(0);

    const count = "SELECT count(*), sum(price) FROM trades";
    let good = "";
    let writtenMs = 0;
    {
      await using receiver = new Receiver(rig, target, [{ store: "offsite", remote }]);
      server.sql(database, "INSERT INTO trades (symbol, price) SELECT 'BTC', n FROM generate_series(1, 20) n");
      const switched = server.sql(database, "SELECT pg_walfile_name(pg_switch_wal())");
      await until("the segment is copied", () =>
        receiver.lines.some((line) => line.kind === "walCopied" && line.last === switched && line.failure === null),
      );
      server.sql(database, "INSERT INTO trades (symbol, price) VALUES ('ETH', 7)");
      good = server.sql(database, count);
      writtenMs = Number(server.sql(database, "SELECT floor(extract(epoch FROM max(created)) * 1000) FROM trades"));
      // Twice: the first may have been packed before the row came.
      const seen = new Set<string>();
      const sendings = (): number => {
        for (const key of s3.keys(/\.partial\/.*manifest\.json$/)) seen.add(key);
        return seen.size;
      };
      const before = sendings();
      await until("what is received is copied twice more", () => {
        server.sql("postgres", "SELECT pg_logical_emit_message(true, 'test', 'more')");
        return sendings() >= before + 2;
      });
    }
    const at = new Date(Date.now() + 3_600_000).toISOString();
    // What the machine had is gone.
    await server.stop("SIGKILL");
    rmSync(rig.store, { recursive: true });
    await drillIt(rig, remote, { database, id, writtenMs });
    const into = join(rig.folder, "fetched");
    expect([
      await runRemote({ deed: "fetch", ...common, id, into, until: at }, io),
      told.find(({ kind }) => kind === "failed"),
    ]).toEqual([0, undefined]);
    const path = join(rig.folder, "recovered");
    const from = { kind: "backup", folder: into, id } as const;
    expect(await rig.restore(rig.restoreJob(target, { from, into: { kind: "instant", path, at } }))).toBe(0);
    await using recovered = await PgServer.on(path);
    expect(recovered.sql(database, count)).toBe(good);
  },
);
