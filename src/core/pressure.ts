/** How short a machine is of CPU, memory and I/O, as the kernel counts it: pressure stall information (docs.kernel.org/accounting/psi.html). */

/** Percent of the last ten seconds in which tasks waited; `undefined` where the kernel does not say. */
export interface Pressure {
  /** Some task waited for a CPU; the whole machine never waits for all of them. */
  readonly cpuSomePercent: number | undefined;
  /** Every task that had something to do waited for memory. */
  readonly memoryFullPercent: number | undefined;
  /** Every task that had something to do waited for a disk. */
  readonly ioFullPercent: number | undefined;
}

/**
 * From here on a failing probe may be the machine's fault, percent. A machine that swaps its programs in and out loses a
 * fifth of its time long before systemd-oomd acts (60 %); disks are waited for more readily, and a CPU is shared.
 */
export const HEAVY = { memoryFullPercent: 20, ioFullPercent: 40, cpuSomePercent: 90 } as const;
/** Heavy pressure is over below this share of what began it: a value at the line must not make one event after the other. */
const CALM_RATIO = 0.5;
/**
 * Waiting for a CPU alone proves little: a batch job at low priority waits all the time and harms nobody. It counts when
 * the supervisor's own loop was late too, ms.
 */
export const WITNESS_LAG_MS = 250;

/** The `avg10` of a line of a PSI file, percent; `undefined` when the file or the line is not there. */
export function averageOf(text: string | undefined, line: "some" | "full"): number | undefined {
  const found = new RegExp(`^${line} avg10=(\\d+(?:\\.\\d+)?)`, "m").exec(text ?? "")?.[1];
  return found === undefined ? undefined : Number(found);
}

/** What is heavy now, in words; `undefined`: nothing is. `wasHeavy` lowers the lines, so that it must fall to half of them. */
export function heavyPressure(pressure: Pressure, ownLagMs: number, wasHeavy: boolean): string | undefined {
  const ratio = wasHeavy ? CALM_RATIO : 1;
  const { memoryFullPercent: memory, ioFullPercent: io, cpuSomePercent: cpu } = pressure;
  if (memory !== undefined && memory >= HEAVY.memoryFullPercent * ratio) return `short of memory ${percent(memory)}`;
  if (io !== undefined && io >= HEAVY.ioFullPercent * ratio) return `waiting for its disks ${percent(io)}`;
  if (cpu !== undefined && cpu >= HEAVY.cpuSomePercent * ratio && ownLagMs >= WITNESS_LAG_MS)
    return `short of CPU ${percent(cpu)}`;
  return undefined;
}

function percent(value: number): string {
  return `${Math.round(value)}% of the time`;
}
