/** Keeps the archive of WAL in a bucket level with the one on disk: a bucket that is away holds up neither the receiver nor another bucket. */
import { readFileSync } from "node:fs";
import type { RemoteSettings } from "../../core/backup-remote.ts";
import type { BackupLine } from "../../core/backup-job.ts";
import { gapsIn, readSegment, segmentsBefore } from "../../core/wal.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import { Bucket } from "./s3.ts";
import type { WalArchive, WalOptions } from "./wal-archive.ts";
import { NO_COPIES, placeIn, UNNAMED, WalBucket, type WalCopies } from "./wal-bucket.ts";
import { startsFor, type BaseStart } from "./wal-systems.ts";

/** Between two looks at what is archived, ms. */
const ROUND_MS = 1_000;
/** What is still received is sent again after so long, when it has grown: what a lost disk costs at most, ms. */
const PARTIAL_MS = 60_000;
/** Between two looks for segments that no base in the bucket needs any more, ms. */
const PRUNE_MS = 3_600_000;
/** After a failure, ms; the requests have been tried again by themselves. */
const PAUSE_MS = 30_000;

export interface CopierOptions extends WalOptions {
  readonly target: string;
  readonly store: string;
  readonly remote: RemoteSettings;
  readonly archive: WalArchive;
  readonly segmentBytes: number;
  /** Of the server: what lies in the bucket of another one is not touched. */
  readonly systemId: string;
  readonly clock: Clock;
  readonly write: (line: BackupLine) => void;
  /** Ends it between two requests. */
  readonly signal: AbortSignal;
  /** Default: 1 s and 60 s. */
  readonly roundMs?: number | undefined;
  readonly partialMs?: number | undefined;
}

export class WalCopier {
  readonly #options: CopierOptions;
  readonly #bucket: WalBucket;
  /** What is there, by name; `undefined`: it must be asked. */
  #there: Set<string> | undefined;
  /** What an older release has sent without saying whose it is: a recovery takes it where this server's own is missing. */
  #unnamed = new Set<string>();
  #histories = new Set<string>();
  /** Segments that are whole there, and of which a copier that was ended has left what it sent before they were. */
  #outgrown = new Set<string>();
  #bases: readonly BaseStart[] = [];
  /** WAL before this number leads from no base there. */
  #from = 0;
  #prunedMs = Number.NEGATIVE_INFINITY;
  #partial: { readonly segment: string; readonly changedMs: number; readonly sentMs: number } | undefined;
  #told = "";
  /** As far as the bucket could last be asked. */
  #lacks: string | null = null;
  /** Servers in the bucket that were named already. */
  readonly #toldOthers = new Set<string>();

  constructor(options: CopierOptions) {
    this.#options = options;
    const { remote, target, clock } = options;
    this.#bucket = new WalBucket(new Bucket(remote, { clock }), remote, target);
  }

  /** Until the signal; never throws. */
  async run(): Promise<void> {
    const { signal, clock, roundMs = ROUND_MS } = this.#options;
    while (!signal.aborted) {
      let pauseMs = roundMs;
      try {
        // oxlint-disable-next-line no-await-in-loop -- Safe: each round goes on where the last has ended.
        await this.#round();
        this.#tell(null);
      } catch (cause) {
        // What is there may be other than we thought.
        this.#there = undefined;
        this.#tell(cause instanceof Error ? cause.message : String(cause));
        pauseMs = Math.max(roundMs, PAUSE_MS);
      }
      // oxlint-disable-next-line no-await-in-loop -- Safe: it is a wait.
      await sleep(clock, pauseMs, signal);
    }
  }

  async #round(): Promise<void> {
    const { archive, clock } = this.#options;
    if (this.#there === undefined) await this.#look();
    const there = this.#there ?? new Set();
    for (const name of this.#outgrown) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: one, where a copier was ended between the two.
      await this.#bucket.remove(this.#place(`${name}.partial`));
      this.#outgrown.delete(name);
    }
    const nowMs = clock.monotonicMs();
    const pruning = nowMs - this.#prunedMs >= PRUNE_MS;
    if (pruning) await this.#prune(there);
    for (const { name, path } of archive.histories()) {
      if (this.#histories.has(name)) continue;
      // oxlint-disable-next-line no-await-in-loop -- Safe: there are a few in years.
      await this.#bucket.sendHistory(this.#place(name), readFileSync(path, "utf8"));
      this.#histories.add(name);
    }
    for (const name of this.#waiting()) {
      if (this.#options.signal.aborted) return;
      const found = archive.find(name);
      if (found === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- Safe: oldest first, so that the bucket has no gap.
      await this.#bucket.send(this.#place(name), found.folder, found.manifest);
      there.add(name);
      this.#tell(null);
      // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
      await this.#bucket.remove(this.#place(`${name}.partial`));
    }
    await this.#sendPartial();
    if (!pruning) return;
    // Only now: what an older release has sent without a system is there under this one.
    await this.#pruneOthers();
    this.#prunedMs = nowMs;
  }

  #place(name: string): string {
    return placeIn(this.#options.systemId, name);
  }

  async #look(): Promise<void> {
    const { systemId, store, write } = this.#options;
    const found = await this.#bucket.look();
    const own = found.get(systemId) ?? NO_COPIES;
    this.#there = new Set(own.segments.keys());
    this.#unnamed = new Set(found.get(UNNAMED)?.segments.keys());
    this.#histories = new Set(own.histories);
    this.#outgrown = new Set([...own.begun].filter((name) => own.segments.has(name)));
    for (const other of found.keys()) {
      if (other === systemId || other === UNNAMED || this.#toldOthers.has(other)) continue;
      this.#toldOthers.add(other);
      const text = `${store} also has WAL of another server (system identifier ${other}, this one's is ${systemId}), which is kept apart; if that server still lives, give each a prefix of its own`;
      write({ kind: "walGap", text, needsBase: false });
    }
  }

  /** Names of segments that are not there, oldest first. */
  #waiting(): readonly string[] {
    const { archive } = this.#options;
    const wanted = archive.stored().filter(({ number }) => number >= this.#from);
    return wanted.flatMap(({ name }) => (this.#there?.has(name) === true ? [] : [name]));
  }

  async #sendPartial(): Promise<void> {
    const { archive, clock, now, partialMs = PARTIAL_MS } = this.#options;
    const received = archive.receiving();
    const nowMs = clock.monotonicMs();
    const last = this.#partial;
    if (received === undefined || (last !== undefined && nowMs - last.sentMs < partialMs)) return;
    if (last?.segment === received.segment && last.changedMs === received.changedMs) return;
    const folder = this.#place(`${received.segment}.partial`);
    const place = `${folder}/${now()
      .toISOString()
      .replace(/[-:]|\.\d+/g, "")}-${Math.round(nowMs)}`;
    try {
      await archive.withPartial(received.segment, this.#options, async (path, manifest) => {
        await this.#bucket.send(place, path, manifest);
        await this.#bucket.remove(folder, place);
      });
    } catch (cause) {
      // It has become whole meanwhile.
      if (archive.receiving()?.segment === received.segment) throw cause;
    }
    this.#partial = { ...received, sentMs: nowMs };
  }

  /** The oldest base in the bucket says what is needed there. Nothing goes while there is none, or while one cannot be read. */
  async #prune(there: Set<string>): Promise<void> {
    const { target, segmentBytes, systemId } = this.#options;
    this.#bases = (await this.#bucket.bases(target, segmentBytes)) ?? [];
    const [oldest] = startsFor(this.#bases, systemId);
    this.#from = oldest?.number ?? 0;
    if (oldest === undefined) return;
    for (const name of segmentsBefore(there, oldest.number, segmentBytes)) {
      // oxlint-disable-next-line no-await-in-loop -- Safe: some hundred requests, once an hour.
      await this.#bucket.remove(this.#place(name));
      there.delete(name);
    }
  }

  /** Of other servers, and of those that an older release did not name, goes what no base needs; all of it when none is left. */
  async #pruneOthers(): Promise<void> {
    const { systemId } = this.#options;
    if (!this.#bases.some((base) => base.systemId === systemId)) return;
    for (const [system, copies] of await this.#bucket.look()) {
      if (system === systemId) continue;
      const bases = system === UNNAMED ? this.#bases.filter((base) => base.systemId === undefined) : this.#bases;
      for (const place of this.#unneeded(copies, startsFor(bases, system)[0]?.number)) {
        // oxlint-disable-next-line no-await-in-loop -- Safe: as above.
        await this.#bucket.remove(placeIn(system, place));
        if (system === UNNAMED) this.#unnamed.delete(place);
      }
    }
  }

  /** Folders of segments before this number; `undefined`: all, and what was still received of them. */
  #unneeded({ segments, partials }: WalCopies, from: number | undefined): readonly string[] {
    if (from !== undefined) return segmentsBefore(segments.keys(), from, this.#options.segmentBytes);
    return [...segments.keys(), ...[...partials.keys()].map((name) => `${name}.partial`)];
  }

  /** Segments that went here before they were copied are missing there for good: a recovery that needs them ends before them. */
  #gap(): string | null {
    // Without a base there is nothing that WAL could be missing of.
    if (this.#from === 0) return null;
    const { segmentBytes } = this.#options;
    const there = [...new Set([...this.#unnamed, ...(this.#there ?? [])])]
      .flatMap((name) => readSegment(name, segmentBytes) ?? [])
      .filter(({ number }) => number >= this.#from);
    const lowest = there.toSorted((a, b) => a.number - b.number)[0];
    if (lowest !== undefined && lowest.number > this.#from)
      return `the bucket lacks what is before ${lowest.name}: there is no recovery from its oldest base`;
    const [gap] = gapsIn(there);
    if (gap === undefined) return null;
    const [before, after] = gap;
    return `the bucket lacks what is between ${before.name} and ${after.name}: from a base before it there is a recovery up to it only`;
  }

  /** The same is said once. */
  #tell(trouble: string | null): void {
    const { store, write } = this.#options;
    if (trouble === null) this.#lacks = this.#gap();
    const failure = trouble ?? this.#lacks;
    const last = [...(this.#there ?? [])].toSorted((a, b) => (a.slice(8) < b.slice(8) ? -1 : 1)).at(-1) ?? null;
    const line = {
      kind: "walCopied",
      store,
      last,
      waiting: this.#waiting().length,
      failure,
      gap: this.#lacks !== null,
    } as const;
    const text = JSON.stringify(line);
    if (text === this.#told) return;
    this.#told = text;
    write(line);
  }
}
