/** Takes the readings of `core/samples.ts`, and keeps them in a file that outlives the daemon that wrote it. */
import { constants, openSync, readFileSync, writeSync } from "node:fs";
import { decodeSamples, encodeSample, sampleOffset, type Sample } from "../core/samples.ts";
import { closeQuietly } from "./files.ts";
import { MS_PER_TICK, readProc, readStat } from "./proc.ts";
import { pageBytes } from "./usage.ts";

/** What a reading says of the machine; taken once for all bots. */
export type MachineReading = Pick<Sample, "load" | "memoryAvailableBytes">;

export function readMachine(): MachineReading {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(readProc("/proc/meminfo") ?? "")?.[1];
  const load = Number.parseFloat(readProc("/proc/loadavg") ?? "");
  return {
    load: Number.isNaN(load) ? undefined : load,
    memoryAvailableBytes: available === undefined ? undefined : Number(available) * 1_024,
  };
}

export interface Sampled {
  readonly generation: number;
  readonly pid: number;
  readonly processes: number | undefined;
  readonly cgroupBytes: number | undefined;
}

/** One reading; `undefined` when the process is gone. Throws when the kernel does not say. */
export function readSample(at: number, of: Sampled, machine: MachineReading): Sample | undefined {
  const stat = readStat(of.pid);
  if (stat === undefined) return undefined;
  return {
    at,
    ...of,
    rssBytes: stat.rssPages * pageBytes(),
    cpuMs: (stat.utimeTicks + stat.stimeTicks) * MS_PER_TICK,
    threads: stat.threads,
    ...machine,
  };
}

/** The file of one bot. One system call a second; it is small, and lies in memory where the runtime folder does. */
export class SampleFile {
  readonly #path: string;
  #fd: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Throws when it cannot be written; the next call tries anew. */
  write(sample: Sample): void {
    try {
      this.#fd ??= openSync(this.#path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
      const bytes = encodeSample(sample);
      writeSync(this.#fd, bytes, 0, bytes.byteLength, sampleOffset(sample.at));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
  }
}

/** What the file of a bot holds; nothing when there is none. Throws when it may not be read. */
export function readSamples(path: string): readonly Sample[] {
  try {
    return decodeSamples(readFileSync(path));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
