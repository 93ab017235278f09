/** The archive of WAL in a bucket: whole segments or none, whatever fails, and no more than its bases need. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Bucket } from "../../../src/actions/backup/s3.ts";
import { WalArchive } from "../../../src/actions/backup/wal-archive.ts";
import { WalBucket } from "../../../src/actions/backup/wal-bucket.ts";
import { WalCopier } from "../../../src/actions/backup/wal-copier.ts";
import { fetchWal } from "../../../src/actions/backup/wal-fetch.ts";
import type { BackupLine } from "../../../src/core/backup-job.ts";
import type { Manifest } from "../../../src/core/backup-manifest.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { S3Server } from "../../harness/s3-server.ts";

/** A machine that is ten times slower is no fault. */
vi.setConfig({ testTimeout: 120_000 });

const SEGMENT_BYTES = 16 * 1_024 ** 2;
const PACKING = { compress: "zstd", recipients: [], now: () => new Date() } as const;
const SYSTEM = "7300000000000000001";
const OTHER = "7300000000000000002";
const nameOf = (number: number): string => `0000000100000000${number.toString(16).toUpperCase().padStart(8, "0")}`;

const keyOf = (base: string): string => `bot 1/backups/ledger/ledger-base-${base}/manifest.json`;

/** An archive and its bucket. */
class WalRig implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "wal-"));
  readonly archive = new WalArchive(this.folder, SEGMENT_BYTES);
  systemId = SYSTEM;
  readonly lines: BackupLine[] = [];
  readonly s3: S3Server;

  constructor(s3: S3Server) {
    this.s3 = s3;
    this.archive.make();
  }

  async archived(...numbers: readonly number[]): Promise<void> {
    await this.archivedAt(new Date(), ...numbers);
  }

  async archivedAt(at: Date, ...numbers: readonly number[]): Promise<void> {
    for (const number of numbers) writeFileSync(join(this.archive.incoming, nameOf(number)), `segment ${number}`);
    await this.archive.archive({ ...PACKING, now: () => at });
  }

  /** A copier that runs until it has said so. */
  async copied(holds: (line: Extract<BackupLine, { kind: "walCopied" }>) => boolean): Promise<void> {
    const over = new AbortController();
    const common = { target: "ledger", store: "offsite", remote: this.s3.settings(), segmentBytes: SEGMENT_BYTES };
    const { systemId } = this;
    const write = (line: BackupLine): void => {
      this.lines.push(line);
      if (line.kind === "walCopied" && holds(line)) over.abort();
    };
    const { archive } = this;
    const copier = new WalCopier({
      ...PACKING,
      ...common,
      archive,
      systemId,
      clock: systemClock,
      write,
      signal: over.signal,
      roundMs: 10,
    });
    await copier.run();
  }

  get bucket(): WalBucket {
    return new WalBucket(new Bucket(this.s3.settings(), { clock: systemClock }), this.s3.settings(), "ledger");
  }

  get base(): Pick<Manifest, "engine"> {
    return this.baseOf(SYSTEM);
  }

  /** A base that needs WAL from the second segment on; `undefined`: of an older release. */
  baseOf(systemId: string | undefined, start = 2): Pick<Manifest, "engine"> {
    const system = systemId === undefined ? {} : { systemId };
    const common = { name: "PostgreSQL", version: "15", walSegmentBytes: SEGMENT_BYTES };
    return { engine: { ...common, ...system, walStart: nameOf(start) } };
  }

  putBase(stamp: string, base: Pick<Manifest, "engine">): void {
    this.s3.objects.set(keyOf(`${stamp}-abcdef`), Buffer.from(JSON.stringify(base)));
  }

  /** Names of whole segments of a server; "" of one that is not named. */
  async thereOf(system: string = SYSTEM): Promise<readonly string[]> {
    return [...((await this.bucket.look()).get(system)?.segments.keys() ?? [])].toSorted();
  }

  /** Moves what was sent to where an older release has put it. */
  unname(): void {
    for (const key of this.s3.keys(new RegExp(`/${SYSTEM}/`))) {
      this.s3.objects.set(key.replace(`${SYSTEM}/`, ""), this.s3.objects.get(key) ?? Buffer.of());
      this.s3.objects.delete(key);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.s3[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test("WalCopier sends each segment's parts before its manifest, oldest first, and nothing twice", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1, 2);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  expect(rig.s3.sent("PUT").map((key) => key.replace("bot 1/backups/", ""))).toEqual([
    `ledger.wal/${SYSTEM}/${nameOf(1)}/data.000`,
    `ledger.wal/${SYSTEM}/${nameOf(1)}/manifest.json`,
    `ledger.wal/${SYSTEM}/${nameOf(2)}/data.000`,
    `ledger.wal/${SYSTEM}/${nameOf(2)}/manifest.json`,
  ]);
  await rig.copied(({ waiting }) => waiting === 0);
  expect(rig.s3.sent("PUT")).toHaveLength(4);
});

test("WalCopier deletes what was sent of a segment before it was whole, also where the copier before was ended first", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1, 2);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  const partial = `bot 1/backups/ledger.wal/${SYSTEM}/${nameOf(1)}.partial/20260131T000000Z-1`;
  rig.s3.objects.set(`${partial}/data.000`, Buffer.from("sent before"));
  await rig.archived(3);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(3));
  expect(rig.s3.keys(/partial/)).toEqual([]);
  expect(await rig.thereOf()).toEqual([nameOf(1), nameOf(2), nameOf(3)]);
});

test("WalBucket takes a segment without its manifest for none, and it is sent again", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1);
  rig.s3.fail(403, "PUT", /manifest/);
  await rig.copied(({ failure }) => failure !== null);
  expect([rig.s3.keys(/data/).length, await rig.thereOf()]).toEqual([1, []]);
  await rig.copied(({ waiting, failure }) => waiting === 0 && failure === null);
  expect(await rig.thereOf()).toEqual([nameOf(1)]);
});

test("WalCopier deletes WAL before the oldest base in the bucket, and nothing while there is no base", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1, 2, 3);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(3));
  expect(await rig.thereOf()).toEqual([nameOf(1), nameOf(2), nameOf(3)]);
  rig.s3.objects.set(keyOf("20260131T000000Z-abcdef"), Buffer.from(JSON.stringify(rig.base)));
  rig.s3.objects.set(keyOf("20260130T000000Z-abcdef"), Buffer.from("{"));
  await rig.copied(({ waiting }) => waiting === 0);
  // One that cannot be read may need all of it.
  expect(await rig.thereOf()).toEqual([nameOf(1), nameOf(2), nameOf(3)]);
  rig.s3.objects.delete(keyOf("20260130T000000Z-abcdef"));
  await rig.copied(({ waiting }) => waiting === 0);
  // The next copier has looked at the bases first.
  expect(await rig.thereOf()).toEqual([nameOf(2), nameOf(3)]);
});

test("fetchWal() stops at a gap, and refuses a segment of which a byte has changed", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(2, 3, 5);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(5));
  const folder = join(rig.folder, "fetched");
  // Safe: of the manifest only the engine is read.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const manifest = rig.base as Manifest;
  const wish = { bucket: rig.bucket, manifest, folder, write: () => undefined };
  await fetchWal(wish);
  const fetched = new WalArchive(folder, SEGMENT_BYTES);
  expect(fetched.segments().map(({ name }) => name)).toEqual([nameOf(2), nameOf(3)]);
  rmSync(folder, { recursive: true });
  rig.s3.damage(`bot 1/backups/ledger.wal/${SYSTEM}/${nameOf(3)}/data.000`);
  await expect(fetchWal(wish)).rejects.toThrow("another checksum than when it was stored");
  expect(existsSync(join(folder, "wal", nameOf(3)))).toBe(false);
});

test("fetchWal() fetches every segment after a base, however late they were archived", async () => {
  await using rig = new WalRig(await S3Server.start());
  // The daemon was away, and the server has kept all of it meanwhile.
  await rig.archivedAt(new Date("2100-01-01T18:00:00Z"), 2, 3, 4, 5);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(5));
  const folder = join(rig.folder, "fetched");
  // Safe: of the manifest only the engine is read.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const wish = { bucket: rig.bucket, manifest: rig.base as Manifest, folder, write: () => undefined };
  await fetchWal(wish);
  expect(new WalArchive(folder, SEGMENT_BYTES).segments()).toHaveLength(4);
});

test("WalCopier says that WAL is missing in the bucket which went here before it was copied", async () => {
  await using rig = new WalRig(await S3Server.start());
  rig.s3.objects.set(keyOf("20260131T000000Z-abcdef"), Buffer.from(JSON.stringify(rig.base)));
  await rig.archived(2, 3, 6);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(6));
  const failure = expect.stringContaining(`${nameOf(3)} and ${nameOf(6)}`);
  expect(rig.lines.at(-1)).toMatchObject({ failure, gap: true });
});

test("WalCopier says that the WAL right after the oldest base is missing in the bucket", async () => {
  await using rig = new WalRig(await S3Server.start());
  rig.s3.objects.set(keyOf("20260131T000000Z-abcdef"), Buffer.from(JSON.stringify(rig.base)));
  await rig.archived(4, 5);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(5));
  expect(rig.lines.at(-1)).toMatchObject({ failure: expect.stringContaining(`before ${nameOf(4)}`) });
});

test("WalCopier keeps the WAL of a server that was made anew apart from the old one's, though the names are the same", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1, 2);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  rig.systemId = OTHER;
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  expect([await rig.thereOf(SYSTEM), await rig.thereOf(OTHER)]).toEqual([
    [nameOf(1), nameOf(2)],
    [nameOf(1), nameOf(2)],
  ]);
  const told = rig.lines.filter(({ kind }) => kind === "walGap");
  expect(told).toMatchObject([{ text: expect.stringContaining(`another server (system identifier ${SYSTEM}`) }]);
});

test("WalCopier deletes another server's WAL once no base in the bucket is of that server, and not while this one has none", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(1, 2);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  const kept: (readonly string[])[] = [];
  const turn = async (): Promise<void> => {
    rig.systemId = OTHER;
    await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
    // Its end is that of the round.
    await rig.copied(({ waiting }) => waiting === 0);
    kept.push(await rig.thereOf(SYSTEM));
  };
  await turn();
  rig.putBase("20260131T000000Z", rig.baseOf(SYSTEM, 2));
  rig.putBase("20260201T000000Z", rig.baseOf(OTHER, 1));
  await turn();
  rig.s3.objects.delete(keyOf("20260131T000000Z-abcdef"));
  await turn();
  expect(kept).toEqual([[nameOf(1), nameOf(2)], [nameOf(2)], []]);
});

test("fetchWal() takes the WAL of the base's own server alone, and what an older release has sent without naming it", async () => {
  await using rig = new WalRig(await S3Server.start());
  await rig.archived(2, 3);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(3));
  rig.unname();
  rig.systemId = OTHER;
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(3));
  rig.systemId = SYSTEM;
  rmSync(join(rig.archive.folder, nameOf(2)), { recursive: true });
  await rig.archived(4);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(4));
  const fetched = async (name: string, base: Pick<Manifest, "engine">): Promise<readonly string[]> => {
    const folder = join(rig.folder, name);
    // Safe: of the manifest only the engine is read.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const manifest = base as Manifest;
    await fetchWal({ bucket: rig.bucket, manifest, folder, write: (line) => void rig.lines.push(line) });
    return new WalArchive(folder, SEGMENT_BYTES).segments().map(({ name: each }) => each);
  };
  expect(await fetched("own", rig.base)).toEqual([nameOf(2), nameOf(3), nameOf(4)]);
  expect(await fetched("old", rig.baseOf(undefined))).toEqual([nameOf(2), nameOf(3)]);
  expect(rig.lines.at(-1)).toMatchObject({ kind: "progress" });
  expect(rig.lines).toContainEqual(
    expect.objectContaining({ kind: "note", text: expect.stringContaining("WAL of 2") }),
  );
});

test.each([
  { left: "what an older release has sent as well", failure: null },
  {
    left: "nothing",
    failure: `the bucket lacks what is before ${nameOf(3)}: there is no recovery from its oldest base`,
  },
])("WalCopier judges what the bucket lacks by $left", async ({ failure }) => {
  await using rig = new WalRig(await S3Server.start());
  rig.putBase("20260101T000000Z", rig.baseOf(undefined));
  await rig.archived(2);
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(2));
  if (failure === null) rig.unname();
  else for (const key of rig.s3.keys(/\.wal\//)) rig.s3.objects.delete(key);
  await rig.archived(3);
  // It is on the disk no more, and so is never sent again.
  rmSync(join(rig.archive.folder, nameOf(2)), { recursive: true });
  await rig.copied(({ waiting, last }) => waiting === 0 && last === nameOf(3));
  expect(rig.lines.findLast(({ kind }) => kind === "walCopied")).toMatchObject({ failure });
});
