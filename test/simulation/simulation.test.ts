/** The simulation as a test: a short run, the proof that it would notice, and the proof that a seed is the whole story. */
import { describe, expect, test } from "vitest";
import { playEpisode } from "./episode.ts";
import { mutants, withMutant } from "./mutants.ts";
import type { Fault } from "./settings.ts";
import { simulate, tellFailure } from "./simulate.ts";

/** Events of the short run; `bun run simulate` plays a million, from another seed each time. */
const EVENTS = 60_000;
/** Events within which a broken supervisor must be found. */
const EVENTS_TO_FIND = 240_000;
/** Cells of the lifecycle that the short run must reach, so that it does not quietly shrink. */
const MIN_CELLS = 60;

describe("simulate()", () => {
  test("finds nothing wrong with the supervisor as it is, and reaches its states", () => {
    const { failed, cells } = simulate(1, EVENTS);
    expect(failed === undefined ? "" : tellFailure(failed)).toBe("");
    expect(cells.size).toBeGreaterThanOrEqual(MIN_CELLS);
  });

  test.each(mutants)("finds $name", (mutant) => {
    const { failed } = withMutant(mutant, (variant) => simulate(1, EVENTS_TO_FIND, { variant }));
    expect(failed?.complaint).toBeDefined();
  });
});

test("tellFailure() tells the seed, the story, the faults that it takes, and the command that plays it again", () => {
  const [mutant] = mutants.filter(({ variant }) => variant?.syncLockout === false);
  if (mutant === undefined) throw new Error("there is no such mutant");
  const told = withMutant(mutant, (variant) => {
    const { failed } = simulate(1, EVENTS_TO_FIND, { variant });
    return failed === undefined ? "" : `seed is ${failed.seed}\n${tellFailure(failed, { variant })}`;
  });
  const seed = /^seed is (\d+)$/m.exec(told)?.[1];
  expect(told).toMatch(/^ +\d+ ms {2}the power is cut$/m);
  expect(told).toMatch(/it needs (?:\w+, )*powerCut/);
  expect(told).toContain(`play it again: bun run simulate --seed ${seed} --events 1 --without `);
});

describe("playEpisode()", () => {
  const seeds = Array.from({ length: 20 }, (_, i) => i + 1);
  const digests = (without: ReadonlySet<Fault> = new Set()): number[] =>
    seeds.map((seed) => playEpisode(seed, { without }).digest);

  test("plays the same episode again for the same seed", () => {
    expect(digests()).toEqual(digests());
  });

  test("I7: plays the same episode whether or not the wall clock is stepped", () => {
    expect(digests(new Set(["wallStep"]))).toEqual(digests());
  });
});
