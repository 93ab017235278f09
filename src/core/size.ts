/** Sizes in config: written "512KiB", "1500MiB" or "2GiB"; held as bytes. CPU shares: "180%" of one core; held as a ratio. */

const BYTES_PER_UNIT = { B: 1, KiB: 1_024, MiB: 1_024 ** 2, GiB: 1_024 ** 3, TiB: 1_024 ** 4 } as const;
type Unit = keyof typeof BYTES_PER_UNIT;

/** How a size is written. */
export const SIZE_PATTERN = /^(\d{1,9})(B|KiB|MiB|GiB|TiB)$/;
/** How a CPU share is written. */
export const CPU_PATTERN = /^(\d{1,6})%$/;

/** Bytes of `text`; `undefined` when it is not a size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE_PATTERN.exec(text);
  // Safe: the pattern admits only these units.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return match === null ? undefined : Number(match[1]) * BYTES_PER_UNIT[match[2] as Unit];
}

/** Percent of one core; `undefined` when it is not a CPU share. */
export function parseCpuPercent(text: string): number | undefined {
  const match = CPU_PATTERN.exec(text);
  return match !== null && Number(match[1]) > 0 ? Number(match[1]) : undefined;
}

/** `bytes` for people: "31.5 MiB". */
export function formatSize(bytes: number): string {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"] as const) {
    if (value < 1_024) return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1_024;
  }
  return `${value.toFixed(1)} TiB`;
}
