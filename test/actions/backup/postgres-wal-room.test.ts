/** Received WAL and a store whose disk fills up, on a small tmpfs: somebody hears of it early, it is full for nobody, and no WAL is lost. */
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { archivedBytes, WalArchive } from "../../../src/actions/backup/wal-archive.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import { gapsIn } from "../../../src/core/wal.ts";
import { Receiver, until } from "./postgres-receiver.ts";
import { missing, PgRig, PgServer, WHY } from "./postgres-rig.ts";

const MIB = 1_024 ** 2;
/** Small, so that a small disk has room for some. */
const SEGMENT_BYTES = MIB;
/** Its reserve is a fifth, WAL stops at a tenth, each with room for two segments beside it: 14.8 and 8.4 MiB. */
const SIZE = "64m";
const LOW_BYTES = 14 * MIB;
const FULL_BYTES = 7 * MIB;
/** What WAL leaves alone, but for the manifests of what is packed meanwhile. */
const FLOOR_BYTES = 6 * MIB;

const server = new PgServer(undefined, ["--wal-segsize=1"]);
const store = mkdtempSync(join(tmpdir(), "wal-room-"));
const mounted =
  missing === undefined &&
  process.getuid?.() === 0 &&
  Bun.spawnSync({ cmd: ["mount", "-t", "tmpfs", "-o", `size=${SIZE}`, "tmpfs", store], stderr: "ignore" }).exitCode ===
    0;
const why = WHY !== "" || mounted ? WHY : " (skipped: no right to mount a tmpfs)";

beforeAll(async () => {
  if (mounted) await server.start();
}, 120_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  if (mounted) Bun.spawnSync(["umount", "-l", store]);
  rmdirSync(store);
}, 120_000);

class StoreRig extends PgRig {
  override readonly store = store;
}

/** Leaves so many bytes free. */
function fillTo(freeBytes: number): void {
  rmSync(join(store, "ballast"), { force: true });
  const { bavail, bsize } = statfsSync(store);
  writeFileSync(join(store, "ballast"), Buffer.alloc(bavail * bsize - freeBytes));
}

test(
  `archiveWal() warns when its disk has less than the reserve, leaves the WAL at the server before it is full, and takes it up again${why}`,
  { skip: !mounted, timeout: 240_000 },
  async () => {
    using rig = new StoreRig();
    const database = server.makeDatabase(10);
    const target = { kind: "postgres", name: "ledger", url: server.url(database), physical: true } as const;
    mkdirSync(rig.repository("ledger").folder);
    await using receiver = new Receiver(rig, target);
    const saying = (kind: "alarm" | "note", text: RegExp): boolean =>
      receiver.lines.some((line) => line.kind === kind && text.test(line.text));
    const wal = (): Extract<BackupLine, { kind: "wal" }> | undefined =>
      receiver.lines.findLast((line) => line.kind === "wal");
    const receivers = (): string => server.sql("postgres", "SELECT count(*) FROM pg_stat_replication");
    const write = (): void => {
      server.sql(database, "INSERT INTO trades (symbol, price) SELECT 'BTC', n FROM generate_series(1, 1000) n");
      server.sql(database, "SELECT pg_switch_wal()");
    };
    await until("it is received", () => wal()?.lagBytes === 0);

    fillTo(LOW_BYTES);
    await until("somebody is warned", () => saying("alarm", /less than backups leave alone .*make room before/));
    write();
    await until("it is received all the same", () =>
      receiver.lines.some((line) => line.kind === "wal" && line.archived > 0),
    );

    fillTo(FULL_BYTES);
    await until("it stops", () => saying("alarm", /nothing is received any more: .* keeps it .* until that is full/));
    for (let n = 0; n < 4; n += 1) write();
    await until("the server keeps it", () => wal()?.paused === true && (wal()?.lagBytes ?? 0) > 3 * SEGMENT_BYTES);
    expect(receivers()).toBe("0");
    expect(statfsSync(store).bavail * statfsSync(store).bsize).toBeGreaterThanOrEqual(FULL_BYTES - MIB);

    rmSync(join(store, "ballast"));
    await until("it is received again", () => saying("note", /free again, and it is received again/));
    await until("nothing is behind", () => wal()?.paused === false && wal()?.lagBytes === 0);
    const archive = new WalArchive(rig.repository("ledger").folder, SEGMENT_BYTES);
    expect([gapsIn(archive.segments()), archive.segments().length]).toEqual([[], expect.any(Number)]);
    expect(archive.segments().length).toBeGreaterThanOrEqual(5);
    expect(receiver.lines.filter(({ kind }) => kind === "walGap" || kind === "failed")).toEqual([]);
    // Each was said once.
    expect(receiver.lines.filter(({ kind }) => kind === "alarm").length).toBe(2);
    expect(wal()?.archivedBytes).toBe(archivedBytes(rig.repository("ledger").folder));
  },
);

test(
  `archiveWal() catches up with more than its disk has room for, and fills it to the floor alone${why}`,
  { skip: !mounted, timeout: 240_000 },
  async () => {
    using rig = new StoreRig();
    const database = server.makeDatabase(10);
    const target = { kind: "postgres", name: "backlog", url: server.url(database), physical: true } as const;
    mkdirSync(rig.repository("backlog").folder);
    const bytesFree = (): number => statfsSync(store).bavail * statfsSync(store).bsize;
    let least = Number.POSITIVE_INFINITY;
    await using receiver = new Receiver(rig, target);
    const wal = (): Extract<BackupLine, { kind: "wal" }> | undefined =>
      receiver.lines.findLast((line) => line.kind === "wal");
    const stops = (): readonly BackupLine[] =>
      receiver.lines.filter((line) => line.kind === "alarm" && /nothing is received/.test(line.text));
    await until("it is received", () => wal()?.lagBytes === 0);
    fillTo(FULL_BYTES);
    await until("it stops", () => wal()?.paused === true);
    // Nothing of it can be packed.
    server.sql(
      database,
      "CREATE TABLE noise AS SELECT string_agg(decode(md5(random()::text || n), 'hex'), '') FROM generate_series(1, 5000000) n GROUP BY n / 100",
    );
    await until("the server keeps it", () => (wal()?.lagBytes ?? 0) > 70 * MIB);
    rmSync(join(store, "ballast"));
    await until("it stops again", () => {
      least = Math.min(least, bytesFree());
      return stops().length === 2;
    });
    expect(least).toBeGreaterThanOrEqual(FLOOR_BYTES);
    await until("some stays at the server", () => wal()?.paused === true && (wal()?.lagBytes ?? 0) > 0);
    expect(stops().length).toBe(2);

    Bun.spawnSync(["mount", "-o", "remount,size=512m", store]);
    await until("nothing is behind", () => wal()?.paused === false && wal()?.lagBytes === 0);
    expect(gapsIn(new WalArchive(rig.repository("backlog").folder, SEGMENT_BYTES).segments())).toEqual([]);
    expect(receiver.lines.filter(({ kind }) => kind === "walGap" || kind === "failed")).toEqual([]);
  },
);
