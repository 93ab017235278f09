/** Point-in-time recovery from a bucket alone: base, archived WAL and what was still received, when server and disk are lost. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runRemote } from "../../../src/actions/backup/copies.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { S3Server } from "../../harness/s3-server.ts";
import { Receiver, until } from "./postgres-receiver.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const SERVER = { skip: missing !== undefined, timeout: 240_000 };
const RETENTION = { hourly: 86_400_000, daily: 0, weekly: 0, monthly: 0, minKeep: 1 };

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
    {
      await using receiver = new Receiver(rig, target, [{ store: "offsite", remote }]);
      server.sql(database, "INSERT INTO trades (symbol, price) SELECT 'BTC', n FROM generate_series(1, 20) n");
      const switched = server.sql(database, "SELECT pg_walfile_name(pg_switch_wal())");
      await until("the segment is copied", () =>
        receiver.lines.some((line) => line.kind === "walCopied" && line.last === switched && line.failure === null),
      );
      server.sql(database, "INSERT INTO trades (symbol, price) VALUES ('ETH', 7)");
      good = server.sql(database, count);
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
