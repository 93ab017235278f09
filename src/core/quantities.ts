/** Durations, sizes and CPU shares as zod types: text in the config, numbers in the program. */
import * as z from "zod";
import { DURATION_PATTERN, parseDuration } from "./duration.ts";
import { CPU_PATTERN, parseCpuPercent, parseSize, SIZE_PATTERN } from "./size.ts";

/** A zod type for a duration: text in the config, milliseconds in the program. */
export function duration() {
  return z
    .string()
    .meta({ pattern: DURATION_PATTERN.source, examples: ["30s"] })
    .transform((text, ctx) => {
      const ms = parseDuration(text);
      if (ms !== undefined) return ms;
      ctx.addIssue({
        code: "custom",
        message: `"${text}" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)`,
      });
      return z.NEVER;
    });
}

/** A zod type for a size: text in the config, bytes in the program. */
export function size() {
  return z
    .string()
    .meta({ pattern: SIZE_PATTERN.source, examples: ["512MiB"] })
    .transform((text, ctx) => {
      const bytes = parseSize(text);
      if (bytes !== undefined) return bytes;
      ctx.addIssue({ code: "custom", message: `"${text}" is not a size; write it as 512KiB, 1500MiB or 2GiB` });
      return z.NEVER;
    });
}

/** A zod type for a CPU share: "180%" of one core in the config, percent of one core in the program. */
export function cpuPercent() {
  return z
    .string()
    .meta({ pattern: CPU_PATTERN.source, examples: ["180%"] })
    .transform((text, ctx) => {
      const percent = parseCpuPercent(text);
      if (percent !== undefined) return percent;
      ctx.addIssue({ code: "custom", message: `"${text}" is not a CPU share; write it as 50% or 200% (of one core)` });
      return z.NEVER;
    });
}
