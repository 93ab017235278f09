import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeSamples,
  encodeSample,
  SAMPLE_BYTES,
  sampleOffset,
  SAMPLES,
  type Sample,
} from "../../src/core/samples.ts";

const sampleAt = (at: number): Sample => ({
  at,
  generation: 3,
  pid: 42,
  rssBytes: at,
  cpuMs: 5,
  threads: 7,
  processes: undefined,
  cgroupBytes: at % 2 === 0 ? 1_024 : undefined,
  load: 0.5,
  memoryAvailableBytes: undefined,
});

/** A file to which the samples were written one after the other. */
function fileOf(samples: readonly Sample[]): Uint8Array {
  const bytes = new Uint8Array(SAMPLES * SAMPLE_BYTES);
  for (const sample of samples) bytes.set(encodeSample(sample), sampleOffset(sample.at));
  return bytes;
}

test("decodeSamples() gives the last quarter of an hour back, oldest first, whenever the writing began and stopped", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4e9 }), fc.integer({ min: 0, max: 2_500 }), (start, count) => {
      const written = Array.from({ length: count }, (_, n) => sampleAt((start + n) * 1_000));
      expect(decodeSamples(fileOf(written))).toEqual(written.slice(-SAMPLES));
    }),
    { numRuns: 30 },
  );
});

test("decodeSamples() leaves out what is older than the newest by more than a quarter of an hour", () => {
  const written = [sampleAt(1_000_000), sampleAt(1_950_000)];
  expect(decodeSamples(fileOf(written))).toEqual([written[1]]);
});

test("decodeSamples() never throws, whatever the bytes are", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4_000 }), (bytes) => {
      expect(decodeSamples(bytes).length).toBeLessThanOrEqual(4_000 / SAMPLE_BYTES);
    }),
  );
});
