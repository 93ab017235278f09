/**
 * Whether memory grows towards a limit: the slope of Theil and Sen (the median of the slopes between all pairs of samples),
 * which a garbage collector's teeth or a single spike do not bend.
 */

/** Memory in use at one moment. */
export interface MemorySample {
  readonly atMs: number;
  readonly bytes: number;
}

/** The samples, oldest first, at least `spacingMs` apart. */
export interface MemoryTrend {
  readonly samples: readonly MemorySample[];
  readonly spacingMs: number;
}

/** Samples kept; the slopes between all pairs of so many take half a millisecond. */
export const MAX_SAMPLES = 60;
const FIRST_SPACING_MS = 1_000;
/** The trend looks back this far at most: 60 samples a minute apart. */
const MAX_SPACING_MS = 60_000;
/** Fewer samples, or a shorter time, are no trend: every program grows while it starts. */
const MIN_SAMPLES = 15;
export const MIN_SPAN_MS = 60_000;
/** Share of the pairs of samples that must rise; memory that only wavers has a half. */
const MIN_RISING_RATIO = 0.8;
/** The growth seen must be this many times the median distance of the samples from their line. */
const NOISE_FACTOR = 4;

/** A limit that is further away than this many times all that memory moved by is not in sight. */
const MAX_LEAP = 2;

export const noTrend: MemoryTrend = { samples: [], spacingMs: FIRST_SPACING_MS };

/** Adds a sample; one that comes too soon after the last is passed over. A full window becomes one of twice the spacing. */
export function addSample(trend: MemoryTrend, sample: MemorySample): MemoryTrend {
  const last = trend.samples.at(-1);
  // A tenth of slack: looks are a second apart, more or less.
  if (last !== undefined && sample.atMs - last.atMs < trend.spacingMs * 0.9) return trend;
  const samples = [...trend.samples, sample];
  if (samples.length <= MAX_SAMPLES) return { ...trend, samples };
  if (trend.spacingMs >= MAX_SPACING_MS) return { ...trend, samples: samples.slice(1) };
  const every = samples.filter((_, index) => (samples.length - 1 - index) % 2 === 0);
  return { samples: every, spacingMs: Math.min(trend.spacingMs * 2, MAX_SPACING_MS) };
}

/** Growth of the memory in bytes per ms; `undefined`: there is none, or none that could be told from noise. */
export function growth({ samples }: MemoryTrend): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || samples.length < MIN_SAMPLES) return undefined;
  const spanMs = last.atMs - first.atMs;
  if (spanMs < MIN_SPAN_MS) return undefined;
  const slopes = samples.flatMap((a, index) =>
    samples.slice(index + 1).map((b) => (b.bytes - a.bytes) / (b.atMs - a.atMs)),
  );
  const slope = median(slopes);
  const rising = slopes.filter((each) => each > 0).length / slopes.length;
  if (slope <= 0 || rising < MIN_RISING_RATIO) return undefined;
  const offset = median(samples.map(({ atMs, bytes }) => bytes - slope * (atMs - first.atMs)));
  const noise = median(samples.map(({ atMs, bytes }) => Math.abs(bytes - slope * (atMs - first.atMs) - offset)));
  return slope * spanMs < NOISE_FACTOR * noise ? undefined : slope;
}

/**
 * Time until memory reaches `limitBytes` if it grows on like this, ms; `undefined`: it does not, or nobody can know yet.
 * It looks no further ahead than it has looked back: a start that takes a minute foretells no hour.
 */
export function timeToLimitMs(trend: MemoryTrend, limitBytes: number): number | undefined {
  const [first, last] = [trend.samples[0], trend.samples.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const leftBytes = Math.max(0, limitBytes - last.bytes);
  // Most memory is far from its limit; the slopes of all pairs are not worth computing for it.
  if (leftBytes > MAX_LEAP * range(trend)) return undefined;
  const slope = growth(trend);
  if (slope === undefined) return undefined;
  const timeMs = leftBytes / slope;
  return timeMs <= last.atMs - first.atMs ? timeMs : undefined;
}

/** Between the least and the most memory seen, bytes. */
function range({ samples }: MemoryTrend): number {
  const bytes = samples.map((sample) => sample.bytes);
  return Math.max(...bytes) - Math.min(...bytes);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? 0, sorted[Math.floor(middle)] ?? 0];
  return (low + high) / 2;
}
