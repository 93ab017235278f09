/** Sizes in config: written "512KiB", "1500MiB" or "2GiB"; held as bytes. CPU shares: "180%" of one core; held as a ratio. */
import * as z from "zod";

const BYTES_PER_UNIT = { B: 1, KiB: 1_024, MiB: 1_024 ** 2, GiB: 1_024 ** 3, TiB: 1_024 ** 4 } as const;
type Unit = keyof typeof BYTES_PER_UNIT;

const SIZE_PATTERN = /^(\d{1,9})(B|KiB|MiB|GiB|TiB)$/;
const CPU_PATTERN = /^(\d{1,6})%$/;

/** A zod type for a size: text in the config, bytes in the program. */
export function size() {
  return z
    .string()
    .meta({ pattern: SIZE_PATTERN.source, examples: ["512MiB"] })
    .transform((text, ctx) => {
      const match = SIZE_PATTERN.exec(text);
      if (match === null) {
        ctx.addIssue({ code: "custom", message: `"${text}" is not a size; write it as 512KiB, 1500MiB or 2GiB` });
        return z.NEVER;
      }
      // Safe: the pattern admits only these units.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      return Number(match[1]) * BYTES_PER_UNIT[match[2] as Unit];
    });
}

/** A zod type for a CPU share: "180%" of one core in the config, percent of one core in the program. */
export function cpuPercent() {
  return z
    .string()
    .meta({ pattern: CPU_PATTERN.source, examples: ["180%"] })
    .transform((text, ctx) => {
      const match = CPU_PATTERN.exec(text);
      if (match !== null && Number(match[1]) > 0) return Number(match[1]);
      ctx.addIssue({ code: "custom", message: `"${text}" is not a CPU share; write it as 50% or 200% (of one core)` });
      return z.NEVER;
    });
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
