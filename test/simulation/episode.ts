/** One episode: faults for a while, then everybody behaves, and every bot must come to where it should be. */
import { drainMicrotasks } from "bun:jsc";
import type { Fault } from "./settings.ts";
import { asItIs, type Variant } from "./variant.ts";
import { World } from "./world.ts";

/** Time for everything to come to rest once everybody behaves, ms: many times the longest of the timeouts. */
const REST_MS = 3_600_000;
/** Steps of the world beyond which an episode goes round in circles. */
const MAX_STEPS = 2_000_000;

export interface EpisodeOptions {
  readonly variant?: Variant;
  /** Faults to leave out. */
  readonly without?: ReadonlySet<Fault>;
}

export interface Episode {
  readonly seed: number;
  /** Events that the loops have handled. */
  readonly events: number;
  readonly digest: number;
  readonly virtualMs: number;
  /** Cells of the lifecycle's table that changed something. */
  readonly cells: ReadonlySet<string>;
  /** What was violated; `undefined` when nothing was. */
  readonly complaint: string | undefined;
  /** The last events before it. */
  readonly trace: readonly string[];
}

export function playEpisode(seed: number, { variant = asItIs, without = new Set() }: EpisodeOptions = {}): Episode {
  const world = new World(seed, variant, without);
  const { oracle, settings, time } = world;
  world.startDaemon();
  world.unleash();
  run(world, () => time.nowMs >= settings.hostileMs);
  world.calmDown();
  rest(world, "after the last fault");
  // A person looks at every account, and the bots are to run again, or to be stopped.
  for (const bot of world.daemon?.bots ?? []) world.order(bot, "acceptPositions");
  for (const bot of world.daemon?.bots ?? []) world.order(bot, "start");
  rest(world, "after a person has armed and started it");
  for (const bot of world.daemon?.bots ?? []) world.order(bot, "stop");
  rest(world, "after it was stopped");
  for (const { name } of settings.accounts)
    if (world.machine.living(name).size > 0) oracle.complain(`${name} lives on after it was stopped`);
  const { complaint, events, digest, cells, trace } = oracle;
  return { seed, events, digest, virtualMs: time.nowMs, cells, complaint, trace: complaint === undefined ? [] : trace };
}

function rest(world: World, when: string): void {
  const { oracle, time } = world;
  const endMs = time.nowMs + REST_MS;
  let unrest: string | undefined;
  const resting = (): boolean => {
    const { daemon } = world;
    if (daemon?.alive !== true || !daemon.begun || daemon.ending || daemon.owner.frozenUntilMs > time.nowMs)
      unrest = "there is no daemon that works";
    else unrest = daemon.bots.map((bot) => oracle.unrest(bot)).find((trouble) => trouble !== undefined);
    return unrest === undefined || time.nowMs >= endMs;
  };
  run(world, resting);
  if (unrest !== undefined) oracle.complain(`${unrest}, ${REST_MS / 60_000} minutes ${when}`);
}

/** Lets the world run until `over` holds or the oracle complains. */
function run(world: World, over: () => boolean): void {
  const { oracle, time } = world;
  for (let steps = 0; oracle.complaint === undefined && !over(); steps += 1) {
    if (steps > MAX_STEPS) return oracle.complain(`no end after ${MAX_STEPS} steps`);
    if (!time.step()) return oracle.complain("nothing will ever happen again");
    // Probes are asynchronous: what they have to say is said before the next step.
    drainMicrotasks();
    oracle.check();
  }
}
