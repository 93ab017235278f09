/** What this machine is and has: memory, disk, kernel, clock; the detailed part is for `doctor` and loads its library at the first call. */
import { existsSync, statfs, statfsSync, type StatsFs } from "node:fs";
import { availableParallelism, freemem, release, totalmem } from "node:os";
import type { DiskRoom } from "../core/backup-room.ts";
import { libc } from "./libc.ts";
import { readProc } from "./proc.ts";

export interface MachineDescription {
  readonly os: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Whether the kernel's clock is kept by NTP or the like; `undefined`: cannot be told. */
  readonly clockSynchronised: boolean | undefined;
}

/** `struct timex` of adjtimex(2) on 64-bit Linux is 208 bytes; its status is at 40. */
const TIMEX_BYTES = 208;
const TIMEX_STATUS_AT = 40;
const STA_UNSYNC = 0x40;

/** Memory of the machine in bytes, whatever a cgroup may allow us. */
export function totalMemoryBytes(): number {
  const kilobytes = /^MemTotal:\s+(\d+) kB$/m.exec(readProc("/proc/meminfo") ?? "")?.[1];
  return kilobytes === undefined ? totalmem() : Number(kilobytes) * 1_024;
}

/** Memory that can be had without pushing anything out, in bytes, whatever a cgroup may allow us. */
export function freeMemoryBytes(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readProc("/proc/meminfo") ?? "")?.[1];
  return kilobytes === undefined ? freemem() : Number(kilobytes) * 1_024;
}

/** Space on the file system that holds `path`. Throws when the path does not exist or cannot be asked. */
export function diskSpace(path: string): DiskRoom {
  return roomOf(statfsSync(path));
}

function roomOf({ bsize, blocks, bavail, files, ffree }: StatsFs): DiskRoom {
  const counted = files === 0 ? undefined : { files, ffree };
  return {
    totalBytes: bsize * blocks,
    freeBytes: bsize * bavail,
    totalFiles: counted?.files,
    freeFiles: counted?.ffree,
  };
}

/** The same, where that it cannot be told is an answer: `undefined`. */
export function diskFree(path: string): DiskRoom | undefined {
  try {
    return diskSpace(path);
  } catch {
    return undefined;
  }
}

/** The same without waiting for a disk that does not answer. Never rejects, and never resolves while it hangs. */
export function askDisk(path: string): Promise<DiskRoom | undefined> {
  return new Promise((resolve) => statfs(path, (error, stats) => resolve(error === null ? roomOf(stats) : undefined)));
}

export function kernelRelease(): string {
  return readProc("/proc/sys/kernel/osrelease")?.trim() ?? release();
}

/** Whether somebody disciplines the clock: the kernel's own flag, else systemd-timesyncd's mark. `undefined`: cannot be told. */
export function clockSynchronised(): boolean | undefined {
  const c = libc();
  if (c === undefined) return existsSync("/run/systemd/timesync/synchronized") ? true : undefined;
  const timex = Buffer.alloc(TIMEX_BYTES);
  if (c.adjtimex(timex) < 0) return undefined;
  return (timex.readInt32LE(TIMEX_STATUS_AT) & STA_UNSYNC) === 0;
}

/** The machine in words. Starts short-lived helpers; never for the daemon's loop. Never rejects. */
export async function describeMachine(): Promise<MachineDescription> {
  const known = {
    kernel: kernelRelease(),
    cores: availableParallelism(),
    memoryBytes: totalMemoryBytes(),
    clockSynchronised: clockSynchronised(),
  };
  try {
    const { cpu, osInfo } = await import("systeminformation");
    const [processor, system] = await Promise.all([cpu(), osInfo()]);
    return {
      ...known,
      os: `${system.distro} ${system.release}`.trim(),
      cpu: `${processor.manufacturer} ${processor.brand}`.trim(),
    };
  } catch {
    return { ...known, os: "unknown", cpu: "unknown" };
  }
}
