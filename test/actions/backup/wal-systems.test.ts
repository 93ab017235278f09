/** The archive of WAL in a store is of one server: what another has left is kept apart, and nothing of it is lost. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WalArchive } from "../../../src/actions/backup/wal-archive.ts";
import { archiveFor, claimArchive, pruneAside, startOfBase } from "../../../src/actions/backup/wal-systems.ts";
import { countGaps, readSegment } from "../../../src/core/wal.ts";

const SEGMENT_BYTES = 16 * 1_024 ** 2;
const [OLD, NEW] = ["7300000000000000001", "7300000000000000002"] as const;
const PACKING = { compress: "zstd", recipients: [], now: () => new Date() } as const;
const nameOf = (number: number): string => `0000000100000000${number.toString(16).toUpperCase().padStart(8, "0")}`;

/** What pg_receivewal has received of this server. */
function received(archive: WalArchive, systemId: string, name: string): void {
  const page = Buffer.alloc(64);
  page.writeUInt16LE(2, 2);
  page.writeBigUInt64LE(BigInt(systemId), 24);
  mkdirSync(archive.incoming, { recursive: true });
  writeFileSync(join(archive.incoming, name), page);
}

class Place implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "wal-"));
  readonly plain = new WalArchive(this.folder, SEGMENT_BYTES);

  /** Claims it, and lets it go again. */
  async claim(systemId: string): Promise<{ readonly archive: WalArchive; readonly former: string | undefined }> {
    const claimed = await claimArchive(this.folder, SEGMENT_BYTES, systemId);
    if (claimed === undefined) throw new Error("somebody holds it");
    claimed.lock.release();
    return claimed;
  }

  names(of = "wal"): readonly string[] {
    return new WalArchive(this.folder, SEGMENT_BYTES, { name: of }).segments().map(({ name }) => name);
  }

  get folders(): readonly string[] {
    return readdirSync(this.folder).toSorted();
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test("claimArchive() moves the WAL of the server before aside, and puts it back when that one is there again", async () => {
  using place = new Place();
  const first = await place.claim(OLD);
  received(first.archive, OLD, nameOf(1));
  await first.archive.archive(PACKING);
  const second = await place.claim(NEW);
  expect([second.former, place.names(), place.names(`wal-${OLD}`)]).toEqual([OLD, [], [nameOf(1)]]);
  received(second.archive, NEW, nameOf(1));
  await second.archive.archive(PACKING);
  const third = await place.claim(OLD);
  expect([third.former, place.names(), place.folders]).toEqual([NEW, [nameOf(1)], ["wal", `wal-${NEW}`]]);
});

test("claimArchive() is let in by nobody else meanwhile", async () => {
  using place = new Place();
  const claimed = await claimArchive(place.folder, SEGMENT_BYTES, OLD);
  expect(await claimArchive(place.folder, SEGMENT_BYTES, OLD)).toBeUndefined();
  claimed?.lock.release();
});

test("claimArchive() ends a change that was killed between its two renames", async () => {
  using place = new Place();
  const { archive } = await place.claim(OLD);
  received(archive, OLD, nameOf(1));
  await place.claim(NEW);
  rmSync(join(place.folder, "wal"), { recursive: true });
  expect([(await place.claim(OLD)).former, place.names()]).toEqual([undefined, [nameOf(1)]]);
});

test("claimArchive() tells whose WAL an older release has left by what was received, else by what is stored", async () => {
  using place = new Place();
  received(place.plain, OLD, nameOf(1));
  received(place.plain, OLD, nameOf(2));
  await place.plain.archive(PACKING);
  expect((await place.claim(OLD)).former).toBeUndefined();
  rmSync(join(place.plain.folder, "system.json"));
  rmSync(place.plain.incoming, { recursive: true });
  expect((await place.claim(NEW)).former).toBe(OLD);
});

test("claimArchive() moves what a server that stood in at the address has sent to where its WAL belongs", async () => {
  using place = new Place();
  const { archive } = await place.claim(OLD);
  received(archive, OLD, nameOf(1));
  received(archive, NEW, nameOf(2));
  await expect(archive.archive(PACKING)).rejects.toThrow(`its system identifier is ${NEW}, not ${OLD}`);
  await place.claim(OLD);
  expect([place.names(), place.names(`wal-${NEW}`)]).toEqual([[nameOf(1)], [nameOf(2)]]);
});

test("archiveFor() finds the WAL of a base's server, or what an older release has left", async () => {
  using place = new Place();
  await place.claim(OLD);
  await place.claim(NEW);
  const found = [OLD, NEW, "5"].map((id) => archiveFor(place.folder, SEGMENT_BYTES, id).folder);
  expect(found).toEqual([`wal-${OLD}`, "wal", "wal-5"].map((name) => join(place.folder, name)));
  rmSync(join(place.folder, "wal", "system.json"));
  expect(archiveFor(place.folder, SEGMENT_BYTES, "5").folder).toBe(join(place.folder, "wal"));
});

test("pruneAside() keeps what a base needs, and deletes all of it once there is none", async () => {
  using place = new Place();
  const { archive } = await place.claim(OLD);
  for (const number of [1, 2, 3]) received(archive, OLD, nameOf(number));
  await archive.archive(PACKING);
  rmSync(archive.incoming, { recursive: true });
  await place.claim(NEW);
  const base = (systemId: string, number: number) => {
    const start = readSegment(nameOf(number), SEGMENT_BYTES);
    if (start === undefined) throw new Error("it is a segment");
    return { systemId, start };
  };
  const left: (readonly string[])[] = [];
  for (const bases of [[base(OLD, 2)], [base(OLD, 2), base(NEW, 1)], [base(NEW, 1)]]) {
    pruneAside(place.folder, SEGMENT_BYTES, NEW, bases);
    left.push(place.names(`wal-${OLD}`));
  }
  expect([left, existsSync(join(place.folder, `wal-${OLD}`))]).toEqual([
    [[nameOf(1), nameOf(2), nameOf(3)], [nameOf(2), nameOf(3)], []],
    false,
  ]);
});

test("startOfBase() knows no server of a base that an older release has made", () => {
  const engine = { name: "PostgreSQL", version: "15", walStart: nameOf(7) };
  expect([
    startOfBase({ engine }, SEGMENT_BYTES)?.systemId,
    startOfBase({ engine: { ...engine, systemId: OLD } }, SEGMENT_BYTES)?.systemId,
  ]).toEqual([undefined, OLD]);
});

test("reached() also names the segment that is still received, so that what is lost before it is a gap", async () => {
  using place = new Place();
  const { archive } = await place.claim(OLD);
  received(archive, OLD, nameOf(7));
  received(archive, OLD, `${nameOf(9)}.partial`);
  expect(archive.segments().map(({ name }) => name)).toEqual([nameOf(7)]);
  expect(archive.reached().map(({ name }) => name)).toEqual([nameOf(7), nameOf(9)]);
  expect(countGaps(archive.reached(), 7)).toBe(1);
});
