/** Breakers by name: one per exchange, account and class of endpoint, shared by all that call it. */
import type { BreakerConfig } from "../core/circuit-parts.ts";
import { Breaker, type BreakerStats, type BreakerWiring } from "./breaker.ts";

export interface Breakers {
  /** The breaker of this name; made at the first call. Another config than that of the first call is refused. */
  get(name: string, config?: Partial<BreakerConfig>): Breaker;
  /** Statistics of all, by name. */
  stats(): readonly BreakerStats[];
}

/** A name that is made up anew for each call would fill the memory. */
const MAX_BREAKERS = 1_000;

/** A registry of its own, all of whose breakers have the same wiring, for example a store. */
export function createBreakers(wiring: BreakerWiring = {}): Breakers {
  const known = new Map<string, Breaker>();
  return {
    get(name, config) {
      const present = known.get(name);
      if (present !== undefined) {
        if (config !== undefined) refuseOther(present, config);
        return present;
      }
      if (known.size >= MAX_BREAKERS)
        throw new Error(
          `cannot make breaker ${name}: there are ${MAX_BREAKERS} already; names are for services, not for calls`,
        );
      const breaker = new Breaker(name, config, wiring);
      known.set(name, breaker);
      return breaker;
    },
    stats: () => [...known.values()].map((breaker) => breaker.stats()),
  };
}

const shared = createBreakers();

/** The breaker of this name in the process; see `Breakers.get`. */
export function getBreaker(name: string, config?: Partial<BreakerConfig>): Breaker {
  return shared.get(name, config);
}

/** Statistics of all breakers of `getBreaker`. */
export function breakerStats(): readonly BreakerStats[] {
  return shared.stats();
}

type Method<This, A extends unknown[], T> = (this: This, ...args: A) => PromiseLike<T> | T;

/** A decorator for methods (TC39, stage 3): calls go through the breaker of this name. Needs no decorator syntax: `guard("x")(fn)`. */
export function guard(name: string, config?: Partial<BreakerConfig>) {
  const breaker = getBreaker(name, config);
  return <This, A extends unknown[], T>(method: Method<This, A, T>): ((this: This, ...args: A) => Promise<T>) =>
    breaker.wrap(method);
}

function refuseOther(present: Breaker, config: Partial<BreakerConfig>): void {
  const other = new Breaker(present.name, config).config;
  const differing = Object.entries(other).filter(([key, value]) => value !== Reflect.get(present.config, key));
  if (differing.length === 0) return;
  const names = differing.map(([key]) => key).join(", ");
  throw new Error(`cannot get breaker ${present.name}: it was made with other settings of ${names}`);
}
