/** The process that receives WAL, and the look at the disk that it fills: it is ended before that disk is full, and begun again when there is room. */
import type { BackupLine, JobTarget } from "../../core/backup-job.ts";
import { reserveBytes } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { endOfSegment, slotName } from "../../core/wal.ts";
import { judgeWalRoom, segmentsUntilFull, walFloorBytes, type WalRoom } from "../../core/wal-room.ts";
import { sleep, type Clock } from "../../platform/clock.ts";
import { diskFree } from "../../platform/machine.ts";
import { connectionEnv, majorOf, postgresProgram } from "../../platform/postgres-tools.ts";
import { lastLines } from "../../platform/program-pipe.ts";
import { placeOf } from "./postgres.ts";
import type { WalArchive } from "./wal-archive.ts";

const MAX_WORDS = 4_096;
/** Between two looks at the disk, ms: others fill it, too, while segments are packed. */
const LOOK_MS = 100;
/** The first release whose receiver takes an end. */
const FIRST_WITH_END = 11;

/** The receiver ends with us, however we end. */
const LEASH = `"$@" & exec > /dev/null 2>&1; read -r _; kill -9 $!; wait $!`;

interface ReceiverOptions {
  readonly target: Extract<JobTarget, { kind: "postgres" }>;
  /** It writes into its `incoming`. */
  readonly archive: WalArchive;
  readonly segmentBytes: number;
  /** Of the server. */
  readonly version: string;
  /** Most WAL that the server keeps for a slot, as its settings say it; `null`: as much as its disk takes. */
  readonly keeps: string | null;
  readonly write: (line: BackupLine) => void;
  readonly clock: Clock;
  /** It has ended by itself, before it was to. */
  readonly onGone: () => void;
}

export class WalReceiver {
  readonly #options: ReceiverOptions;
  #child: Bun.Subprocess<"pipe", "ignore", "pipe"> | undefined;
  /** Where it is to end; `undefined`: it receives until it is ended. */
  #until: string | undefined;
  #room: WalRoom = "enough";
  #words = "";

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /** Nothing is received now, for want of room; the slot keeps it at the server. */
  get paused(): boolean {
    return this.#room === "full";
  }

  /** There is as much room as backups have. */
  get hasRoom(): boolean {
    return this.#room === "enough";
  }

  /** What it has said last. */
  get words(): string {
    return lastLines(this.#words) || "without a word";
  }

  /** Looks until `signal` aborts. Never throws: what keeps it from receiving is its last word, and `onGone` hears of it. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, onGone } = this.#options;
    try {
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- Safe: one look after the other.
        await this.look();
        // oxlint-disable-next-line no-await-in-loop -- Safe: as long as it lives.
        await sleep(clock, LOOK_MS, signal);
      }
    } catch (cause) {
      this.#words = cause instanceof Error ? cause.message : String(cause);
      onGone();
    }
  }

  /** Receives as long as the disk has room; says when that changes. Not while another look is under way. */
  async look(): Promise<void> {
    const { archive, segmentBytes } = this.#options;
    const disk = diskFree(archive.incoming);
    // A disk that cannot be asked says so when it is written to.
    const room = disk === undefined ? this.#room : judgeWalRoom(disk, segmentBytes, this.#room);
    // What is packed makes room: nobody need hear of it before that is done.
    if (room === "full" && !this.paused && archive.waits()) return this.end();
    if (disk !== undefined && room !== this.#room) this.#tell(room, disk);
    this.#room = room;
    if (room === "full") return this.end();
    this.#child ??= this.#start(this.#endOf(disk));
  }

  /** Where the room ends, from what was received on; `undefined`: that cannot be said. */
  #endOf(disk: ReturnType<typeof diskFree>): string | undefined {
    const { archive, segmentBytes, version } = this.#options;
    if (disk === undefined || (majorOf(version) ?? 0) < FIRST_WITH_END) return undefined;
    const [next, count] = [archive.next(), segmentsUntilFull(disk, segmentBytes)];
    return next === undefined || count === undefined ? undefined : endOfSegment(next + count - 1, segmentBytes);
  }

  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) await letGo(child);
  }

  #start(until: string | undefined): Bun.Subprocess<"pipe", "ignore", "pipe"> {
    const { target, archive, version } = this.#options;
    const program = postgresProgram("pg_receivewal", majorOf(version) ?? 0);
    const slot = ["--slot", slotName(target.name), "--synchronous", "--no-loop", "--no-password"];
    const end = until === undefined ? [] : ["--endpos", until];
    this.#until = until;
    const child = Bun.spawn({
      cmd: ["/bin/sh", "-c", LEASH, "sh", program, "-D", archive.incoming, ...slot, ...end],
      cwd: "/",
      env: connectionEnv(placeOf(target), target.password),
      stdio: ["pipe", "ignore", "pipe"],
    });
    void this.#follow(child);
    return child;
  }

  async #follow(child: Bun.Subprocess<"pipe", "ignore", "pipe">): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr)
      this.#words = (this.#words + decoder.decode(chunk, { stream: true })).slice(-MAX_WORDS);
    // It was the last to hold it. Whoever has ended it knows.
    if (this.#child !== child) return;
    const code = await letGo(child);
    if (this.#child !== child) return;
    // It has come as far as there was room; the next look begins it again, from there.
    if (code === 0 && this.#until !== undefined) this.#child = undefined;
    else this.#options.onGone();
  }

  #tell(room: WalRoom, disk: NonNullable<ReturnType<typeof diskFree>>): void {
    const { archive, keeps, write } = this.#options;
    const files = disk.freeFiles === undefined ? "" : ` and inodes for ${disk.freeFiles} files`;
    const has = `the disk of ${archive.incoming} has ${formatSize(disk.freeBytes)}${files} free`;
    if (room === "full")
      write({
        kind: "alarm",
        text: `nothing is received any more: ${has}; the server keeps it on its own disk ${keeps === null ? "until that is full" : `up to ${keeps} (max_slot_wal_keep_size), and throws it away then`}: make room`,
      });
    else if (room === "low")
      write({
        kind: "alarm",
        text: `${has}, ${this.#room === "full" ? "and it is received again" : `less than backups leave alone (${formatSize(reserveBytes(disk.totalBytes))})`}: make room before ${formatSize(walFloorBytes(disk.totalBytes))} are left, where it stays at the server`,
      });
    else write({ kind: "note", text: `${has} again${this.#room === "full" ? ", and it is received again" : ""}` });
  }
}

/** Ends it where it lives; its exit code. */
async function letGo(child: Bun.Subprocess<"pipe", "ignore", "pipe">): Promise<number> {
  try {
    await child.stdin.end();
  } catch {
    // It was gone already.
  }
  return child.exited;
}
