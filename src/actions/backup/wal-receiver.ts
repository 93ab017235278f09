/** The process that receives WAL, and the look at the disk that it fills: it is ended before that disk is full, and begun again when there is room. */
import type { BackupLine, JobTarget } from "../../core/backup-job.ts";
import { reserveBytes } from "../../core/backup-room.ts";
import { formatSize } from "../../core/size.ts";
import { judgeWalRoom, walFloorBytes, type WalRoom } from "../../core/wal-room.ts";
import { diskFree } from "../../platform/machine.ts";
import { connectionEnv, majorOf, postgresProgram } from "../../platform/postgres-tools.ts";
import { lastLines } from "../../platform/program-pipe.ts";
import { slotName } from "./pg-base.ts";
import { placeOf } from "./postgres.ts";

const MAX_WORDS = 4_096;

/** The receiver ends with us, however we end. */
const LEASH = `"$@" & exec > /dev/null 2>&1; read -r _; kill -9 $!; wait $!`;

interface ReceiverOptions {
  readonly target: Extract<JobTarget, { kind: "postgres" }>;
  /** What it writes into. */
  readonly incoming: string;
  readonly segmentBytes: number;
  /** Of the server. */
  readonly version: string;
  /** Most WAL that the server keeps for a slot, as its settings say it; `null`: as much as its disk takes. */
  readonly keeps: string | null;
  readonly write: (line: BackupLine) => void;
  /** It has ended by itself. */
  readonly onGone: () => void;
}

export class WalReceiver {
  readonly #options: ReceiverOptions;
  #child: Bun.Subprocess<"pipe", "ignore", "pipe"> | undefined;
  #room: WalRoom = "enough";
  #words = "";

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /** Nothing is received now, for want of room; the slot keeps it at the server. */
  get paused(): boolean {
    return this.#child === undefined;
  }

  /** What it has said last. */
  get words(): string {
    return lastLines(this.#words) || "without a word";
  }

  /** Receives as long as the disk has room; says when that changes. Returns whether there is enough. */
  async look(): Promise<boolean> {
    const { incoming, segmentBytes } = this.#options;
    const disk = diskFree(incoming);
    // A disk that cannot be asked says so when it is written to.
    const room = disk === undefined ? this.#room : judgeWalRoom(disk, segmentBytes, this.#room);
    if (disk !== undefined && room !== this.#room) this.#tell(room, disk);
    this.#room = room;
    if (room === "full") await this.end();
    else this.#child ??= this.#start();
    return room === "enough";
  }

  async end(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    try {
      await child?.stdin.end();
    } catch {
      // It was gone already.
    }
    await child?.exited;
  }

  #start(): Bun.Subprocess<"pipe", "ignore", "pipe"> {
    const { target, incoming, version, onGone } = this.#options;
    const program = postgresProgram("pg_receivewal", majorOf(version) ?? 0);
    const slot = ["--slot", slotName(target.name), "--synchronous", "--no-loop", "--no-password"];
    const child = Bun.spawn({
      cmd: ["/bin/sh", "-c", LEASH, "sh", program, "-D", incoming, ...slot],
      cwd: "/",
      env: connectionEnv(placeOf(target), target.password),
      stdio: ["pipe", "ignore", "pipe"],
    });
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr)
        this.#words = (this.#words + decoder.decode(chunk, { stream: true })).slice(-MAX_WORDS);
      // It was the last to hold it. Whoever has ended it knows.
      if (this.#child === child) onGone();
    })();
    return child;
  }

  #tell(room: WalRoom, disk: NonNullable<ReturnType<typeof diskFree>>): void {
    const { incoming, keeps, write } = this.#options;
    const files = disk.freeFiles === undefined ? "" : ` and inodes for ${disk.freeFiles} files`;
    const has = `the disk of ${incoming} has ${formatSize(disk.freeBytes)}${files} free`;
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
