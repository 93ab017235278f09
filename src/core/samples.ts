/**
 * The supervisor's own recorder: one reading a second of a bot's process, its cgroup and the machine, the last quarter of an
 * hour of them, in a file of fixed places. So what led to a death is known of every bot, also of one that records nothing.
 */

export interface Sample {
  /** Unix time, ms. */
  readonly at: number;
  readonly generation: number;
  /** Main process of the bot. */
  readonly pid: number;
  readonly rssBytes: number;
  /** CPU time that the main process has used since it began, ms. */
  readonly cpuMs: number;
  readonly threads: number;
  /** Processes in the bot's cgroup. */
  readonly processes: number | undefined;
  /** Memory of the bot's cgroup, bytes. */
  readonly cgroupBytes: number | undefined;
  /** Load average of the machine over a minute. */
  readonly load: number | undefined;
  readonly memoryAvailableBytes: number | undefined;
}

/** Readings kept: a quarter of an hour. */
export const SAMPLES = 900;
const FIELDS = 10;
export const SAMPLE_BYTES = FIELDS * 8;

/** The place of a reading in the file: the time itself says it, so that no counter can be lost. */
export function sampleOffset(atMs: number): number {
  return (Math.floor(atMs / 1_000) % SAMPLES) * SAMPLE_BYTES;
}

/** What is unknown is NaN. */
export function encodeSample(sample: Sample): Uint8Array {
  const { at, generation, pid, rssBytes, cpuMs, threads, processes, cgroupBytes, load, memoryAvailableBytes } = sample;
  const known = [at, generation, pid, rssBytes, cpuMs, threads];
  const perhaps = [processes, cgroupBytes, load, memoryAvailableBytes].map((value) => value ?? Number.NaN);
  return new Uint8Array(Float64Array.from([...known, ...perhaps]).buffer);
}

/**
 * The readings of the last quarter of an hour before the newest, oldest first. Empty places and whatever is no reading
 * are left out, so that any bytes can be read.
 */
export function decodeSamples(bytes: Uint8Array): readonly Sample[] {
  const count = Math.min(Math.floor(bytes.byteLength / SAMPLE_BYTES), SAMPLES);
  const values = new Float64Array(bytes.slice(0, count * SAMPLE_BYTES).buffer);
  const found: Sample[] = [];
  for (let index = 0; index < count; index += 1) {
    const [at = 0, generation = 0, pid = 0, rssBytes = 0, cpuMs = 0, threads = 0, ...perhaps] = values.subarray(
      index * FIELDS,
      (index + 1) * FIELDS,
    );
    const [processes, cgroupBytes, load, memoryAvailableBytes] = perhaps.map((value) =>
      Number.isNaN(value) ? undefined : value,
    );
    const isReading = at > 0 && sampleOffset(at) === index * SAMPLE_BYTES && Number.isInteger(generation);
    if (!isReading || !Number.isInteger(pid) || ![rssBytes, cpuMs, threads].every(Number.isFinite)) continue;
    const known = { at, generation, pid, rssBytes, cpuMs, threads };
    found.push({ ...known, processes, cgroupBytes, load, memoryAvailableBytes });
  }
  const newest = found.reduce((latest, { at }) => Math.max(latest, at), 0);
  return found.filter(({ at }) => newest - at < SAMPLES * 1_000).toSorted((a, b) => a.at - b.at);
}

/** A reading that was kept as a line of JSON; `undefined` for what is none. */
export function parseSample(line: string): Sample | undefined {
  const value = parseJson(line);
  if (typeof value !== "object" || value === null) return undefined;
  const number = (key: keyof Sample): number | undefined => {
    const found: unknown = Reflect.get(value, key);
    return typeof found === "number" ? found : undefined;
  };
  const [at, generation, pid] = [number("at"), number("generation"), number("pid")];
  if (at === undefined || generation === undefined || pid === undefined) return undefined;
  return {
    at,
    generation,
    pid,
    rssBytes: number("rssBytes") ?? 0,
    cpuMs: number("cpuMs") ?? 0,
    threads: number("threads") ?? 0,
    processes: number("processes"),
    cgroupBytes: number("cgroupBytes"),
    load: number("load"),
    memoryAvailableBytes: number("memoryAvailableBytes"),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
