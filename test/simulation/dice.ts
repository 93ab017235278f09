/** Chance that can be had again: a seeded generator (mulberry32, public domain, Tommy Ettinger) with the draws that the simulation needs. */

export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** In [0, 1). */
  roll(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number in [from, to]. */
  between(from: number, to: number): number {
    return from + Math.floor(this.roll() * (to - from + 1));
  }

  chance(share: number): boolean {
    return this.roll() < share;
  }

  pick<const T>(from: readonly [T, ...T[]]): T {
    return from[Math.floor(this.roll() * from.length)] ?? from[0];
  }

  /** Time to the next event of a kind that comes once in `meanMs` on average, ms. */
  wait(meanMs: number): number {
    return Math.ceil(-Math.log(1 - this.roll()) * meanMs);
  }

  /** A stream of its own, so that one kind of fault can be taken out without moving the others' draws. */
  fork(): Dice {
    return new Dice(this.between(0, 0xffff_ffff));
  }
}
