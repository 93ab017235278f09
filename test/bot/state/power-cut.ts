/**
 * A power cut, played on the trace of a process: of all that it wrote, only what it flushed is on the disk. That a name is in
 * its folder is taken for granted; what is mapped into memory is not seen, which for SQLite is an index that it makes anew.
 */
import { createReadStream, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { basename, join } from "node:path";

interface Write {
  readonly at: number;
  readonly bytes: Uint8Array;
}

type Change = Write | { readonly length: number };

class DiskFile {
  durable: Uint8Array;
  /** Where a write without an offset goes. */
  end: number;
  pending: Change[] = [];

  constructor(bytes: Uint8Array) {
    this.durable = bytes;
    this.end = bytes.byteLength;
  }

  sync(): void {
    for (const change of this.pending) this.durable = changed(this.durable, change);
    this.pending = [];
  }
}

function changed(bytes: Uint8Array, change: Change): Uint8Array {
  const length = "length" in change ? change.length : Math.max(bytes.byteLength, change.at + change.bytes.byteLength);
  const next = new Uint8Array(length);
  next.set(bytes.subarray(0, length));
  if ("bytes" in change) next.set(change.bytes, change.at);
  return next;
}

export interface Crash {
  /** What had been acknowledged. */
  readonly acks: readonly number[];
  /** Puts what is on the disk into a folder: what was flushed, and of the rest each sector for which `keeps` says so. */
  readonly layOut: (folder: string, keeps: () => boolean) => void;
}

const CALL = /^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)/;
const SECTOR = 512;

/** Plays the trace of `strace -f -y -xx` over the files of `folder` as they were before, and shows each acknowledgement as a crash. */
export async function* crashes(trace: string, folder: string, before: string): AsyncGenerator<Crash> {
  const disk = new Map(readdirSync(before).map((name) => [name, new DiskFile(readFileSync(join(before, name)))]));
  const begun = new Map<string, string>();
  const acks: number[] = [];
  for await (const line of createInterface({ input: createReadStream(trace) })) {
    const [, pid = "", call = ""] = CALL.exec(line) ?? [];
    if (call === "") continue;
    // A call of one thread may be told in two parts; it counts when it ends.
    if (line.endsWith("<unfinished ...>")) {
      begun.set(pid, line);
      continue;
    }
    const whole = line.includes(" resumed>")
      ? (begun.get(pid) ?? "") + line.slice(line.indexOf(" resumed>") + 9)
      : line;
    const ack = acknowledged(whole);
    if (ack !== undefined) {
      acks.push(ack);
      yield { acks: [...acks], layOut: (target, keeps) => layOut(disk, target, keeps) };
    } else play(disk, folder, call, whole);
  }
}

function acknowledged(line: string): number | undefined {
  const text = /write\(1<[^>]*>, "([^"]*)"/.exec(line)?.[1];
  const number = text === undefined ? undefined : /^ACK (\d+)/.exec(Buffer.from(unhex(text)).toString())?.[1];
  return number === undefined ? undefined : Number(number);
}

function play(disk: Map<string, DiskFile>, folder: string, call: string, line: string): void {
  const told = /\(\d+<([^>]*)>/.exec(line)?.[1];
  const path = told === undefined ? "" : Buffer.from(unhex(told)).toString();
  if (!path.startsWith(`${folder}/`)) return;
  const name = basename(path);
  const file = disk.get(name) ?? new DiskFile(new Uint8Array());
  disk.set(name, file);
  if (call === "fsync" || call === "fdatasync") return file.sync();
  if (call === "ftruncate") return void file.pending.push({ length: Number(/, (\d+)\)/.exec(line)?.[1]) });
  const bytes = unhex(/, "([^"]*)"/.exec(line)?.[1] ?? "");
  const at = call === "pwrite64" ? Number(/, (\d+)\) += /.exec(line)?.[1]) : file.end;
  file.end = Math.max(file.end, at + bytes.byteLength);
  file.pending.push({ at, bytes });
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(String.raw`\x`, ""), "hex"));
}

function layOut(disk: ReadonlyMap<string, DiskFile>, folder: string, keeps: () => boolean): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [name, { durable, pending }] of disk) {
    if (name.endsWith("-shm")) continue;
    let bytes = durable;
    for (const change of pending) for (const part of sectorsOf(change)) if (keeps()) bytes = changed(bytes, part);
    writeFileSync(join(folder, name), bytes);
  }
}

function sectorsOf(change: Change): readonly Change[] {
  if ("length" in change) return [change];
  const { at, bytes } = change;
  const count = Math.ceil(bytes.byteLength / SECTOR);
  return Array.from({ length: count }, (_, n) => ({
    at: at + n * SECTOR,
    bytes: bytes.subarray(n * SECTOR, (n + 1) * SECTOR),
  }));
}
