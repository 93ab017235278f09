/** Which fault comes when: the same seed gives the same sequence, on whatever machine, however long each fault takes. */

/** Rolls that one fault may use; a fault that needs more uses them again. */
const ROLLS = 4;

export interface Drawn<F> {
  readonly step: number;
  readonly fault: F;
  /** Numbers in [0, 1) for what the fault leaves to chance. */
  readonly rolls: readonly number[];
}

/** Numbers in [0, 1) from a seed (mulberry32): small, and the same everywhere. */
export function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Faults without end, in rounds: each round has every fault once, in an order of its own. */
export function* drawFaults<F>(faults: readonly F[], seed: number): Generator<Drawn<F>, never> {
  const chance = chanceOf(seed);
  for (let step = 1; ;) {
    const deck = faults.map((fault) => ({ fault, key: chance() })).toSorted((a, b) => a.key - b.key);
    for (const { fault } of deck) {
      yield { step, fault, rolls: Array.from({ length: ROLLS }, chance) };
      step += 1;
    }
  }
}
