/** The machine's clocks side by side, to find out that it slept or that its wall clock was set (clock_gettime(2)). */
import type { ClockReading } from "../core/clock-jump.ts";
import { libc, type Libc } from "./libc.ts";

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;

/** Reading takes a microsecond; longer than this, ms, and we were put aside between two clocks: they do not belong together. */
const MAX_READING_MS = 5;
const MAX_TRIES = 3;

/** `struct timespec` on 64-bit Linux: seconds and nanoseconds, 8 bytes each. */
const timespec = Buffer.alloc(16);

/** All three clocks at one moment; `undefined` without FFI, or when three tries were interrupted. */
export function readMachineClocks(): ClockReading | undefined {
  const c = libc();
  if (c === undefined) return undefined;
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const monotonicMs = read(c, CLOCK_MONOTONIC);
    const reading = { monotonicMs, boottimeMs: read(c, CLOCK_BOOTTIME), realtimeMs: read(c, CLOCK_REALTIME) };
    if (read(c, CLOCK_MONOTONIC) - monotonicMs <= MAX_READING_MS) return reading;
  }
  return undefined;
}

function read(c: Libc, clock: number): number {
  if (c.clockGettime(clock, timespec) !== 0) return Number.NaN;
  return Number(timespec.readBigInt64LE(0)) * 1_000 + Number(timespec.readBigInt64LE(8)) / 1_000_000;
}
