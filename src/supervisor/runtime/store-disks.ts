/** How much room the disks of the stores have, asked without ever waiting for one: a network disk that hangs would stop the daemon, and with it the bots' watch. */
import { isShort, lackOf, reserveBytes, reserveFiles, type DiskRoom } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import { askDisk } from "../../platform/machine.ts";

/** For the answers of all disks, ms: who asks for the status goes on without the others. */
const ANSWER_MS = 250;
/** An answer counts for so long before it is asked for again, and is not shown any more when none came since, ms. */
const FRESH_MS = 1_000;
const STALE_MS = 180_000;

export interface StoreFolder {
  readonly target: string;
  readonly store: string;
  /** Of the target in the store: where its disk is not mounted, it is not there. */
  readonly folder: string;
}

interface StoreDisksDeps {
  readonly clock: Clock;
  readonly say: (level: "info" | "alert", text: string) => void;
  /** Default: statfs(2). */
  readonly ask?: (folder: string) => Promise<DiskRoom | undefined>;
}

export class StoreDisks {
  readonly #deps: StoreDisksDeps;
  #folders: readonly StoreFolder[] = [];
  readonly #asked = new Map<string, Promise<void>>();
  readonly #answers = new Map<string, { readonly room: DiskRoom | undefined; readonly atMs: number }>();
  /** Stores whose disk was said to be short. */
  readonly #short = new Set<string>();

  constructor(deps: StoreDisksDeps) {
    this.#deps = deps;
  }

  adopt(folders: readonly StoreFolder[]): void {
    this.#folders = folders;
    const kept = new Set(folders.map(({ folder }) => folder));
    for (const folder of this.#answers.keys()) if (!kept.has(folder)) this.#answers.delete(folder);
    for (const store of this.#short) if (!folders.some((each) => each.store === store)) this.#short.delete(store);
  }

  /** Asks each disk; resolves when all have answered, and after a quarter of a second at the latest. Never rejects. */
  async look(): Promise<void> {
    if (this.#folders.length === 0) return;
    const over = new AbortController();
    const asked = this.#folders.map(({ folder }) => this.#ask(folder));
    await Promise.race([Promise.all(asked), sleep(this.#deps.clock, ANSWER_MS, over.signal)]);
    over.abort();
  }

  /** The same, and says once of each store that its disk has less than backups leave alone, and that it has room again. */
  async watch(): Promise<void> {
    await this.look();
    for (const [store, folders] of Map.groupBy(this.#folders, (each) => each.store)) {
      const found = folders.flatMap((each) => this.#roomOf(each.folder) ?? []);
      if (found[0] !== undefined) this.#judge(store, folders[0]?.folder ?? store, found[0]);
    }
  }

  /** `undefined`: it cannot be told, as of a bucket, of a folder that is not there, and of a disk that does not answer. */
  of({ target, store }: Pick<StoreFolder, "target" | "store">): DiskRoom | undefined {
    const place = this.#folders.find((each) => each.target === target && each.store === store);
    return place === undefined ? undefined : this.#roomOf(place.folder);
  }

  #roomOf(folder: string): DiskRoom | undefined {
    const answer = this.#answers.get(folder);
    return answer !== undefined && this.#deps.clock.monotonicMs() - answer.atMs <= STALE_MS ? answer.room : undefined;
  }

  /** One question at a time to each disk: those that hang would use up the threads that ask. */
  #ask(folder: string): Promise<void> {
    const { clock, ask = askDisk } = this.#deps;
    const answer = this.#answers.get(folder);
    if (answer !== undefined && clock.monotonicMs() - answer.atMs < FRESH_MS) return Promise.resolve();
    const asked = this.#asked.get(folder) ?? ask(folder).then((room) => this.#note(folder, room));
    this.#asked.set(folder, asked);
    return asked;
  }

  #note(folder: string, room: DiskRoom | undefined): void {
    this.#asked.delete(folder);
    // A config of later may not name it any more.
    if (this.#folders.some((each) => each.folder === folder))
      this.#answers.set(folder, { room, atMs: this.#deps.clock.monotonicMs() });
  }

  #judge(store: string, folder: string, room: DiskRoom): void {
    const before = this.#short.has(store);
    const short = isShort(room, before);
    if (short === before) return;
    const { say } = this.#deps;
    const lack = lackOf(room, { bytes: 0, files: 0 }, 1);
    const has =
      lack === "files"
        ? `the disk of the store ${store} (${folder}) has inodes for ${room.freeFiles ?? 0} more files`
        : `the disk of the store ${store} (${folder}) has ${formatSize(room.freeBytes)} free`;
    const reserve =
      lack === "files"
        ? `${reserveFiles(room.totalFiles ?? 0)} that backups leave alone`
        : `the reserve of ${formatSize(reserveBytes(room.totalBytes))}`;
    if (short) {
      this.#short.add(store);
      say("alert", `${has}, less than ${reserve}: make room before a backup is refused`);
    } else {
      this.#short.delete(store);
      say("info", `${has} again, enough for ${reserve}`);
    }
  }
}
