/** Durations in config: written "250ms", "30s", "5m", "2h" or "1d"; held as milliseconds. */
const MS_PER_UNIT = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof MS_PER_UNIT;

/** How a duration is written. */
export const DURATION_PATTERN = /^(\d{1,9})(ms|s|m|h|d)$/;

/** The longest duration accepted, 365 days in ms: a timer must not overflow. */
export const MAX_DURATION_MS = 365 * MS_PER_UNIT.d;

/** Milliseconds of `text`, or `undefined` when it is not a duration or longer than 365 days. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  if (match === null) return undefined;
  // Safe: the pattern admits only these five units.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const ms = Number(match[1]) * MS_PER_UNIT[match[2] as Unit];
  return ms <= MAX_DURATION_MS ? ms : undefined;
}

/** The shortest exact spelling of `ms` in the config's own form, e.g. 90_000 is "90s". */
export function formatDuration(ms: number): string {
  for (const unit of ["d", "h", "m", "s"] as const)
    if (ms > 0 && ms % MS_PER_UNIT[unit] === 0) return `${ms / MS_PER_UNIT[unit]}${unit}`;
  return `${ms}ms`;
}
