/** Many episodes, one seed after the other, until enough events are played; a failing one is told with what it takes to see it again. */
import { playEpisode, type Episode, type EpisodeOptions } from "./episode.ts";
import { FAULTS, type Fault } from "./settings.ts";

export interface Simulation {
  readonly episodes: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly cells: ReadonlySet<string>;
  /** The first episode that violated something. */
  readonly failed: Episode | undefined;
}

/** Plays episodes of the seeds `seed`, `seed + 1`, … until `events` events are handled, or one fails. */
export function simulate(seed: number, events: number, options: EpisodeOptions = {}): Simulation {
  const cells = new Set<string>();
  let [played, handled, virtualMs] = [0, 0, 0];
  while (handled < events) {
    const episode = playEpisode(seed + played, options);
    played += 1;
    handled += episode.events;
    virtualMs += episode.virtualMs;
    for (const cell of episode.cells) cells.add(cell);
    if (episode.complaint !== undefined)
      return { episodes: played, events: handled, virtualMs, cells, failed: episode };
  }
  return { episodes: played, events: handled, virtualMs, cells, failed: undefined };
}

/** What a person reads of a failed episode: the end of its story, and the command that plays it again. */
export function tellFailure(failed: Episode, options: EpisodeOptions = {}): string {
  const without = shrink(failed, options);
  const shortest = playEpisode(failed.seed, { ...options, without });
  const needed = FAULTS.filter((fault) => !without.has(fault));
  const option = without.size === 0 ? "" : ` --without ${[...without].join(",")}`;
  return [
    ...shortest.trace,
    `seed ${failed.seed}: ${failed.complaint}`,
    `without what it does not need: ${shortest.complaint}; it needs ${needed.join(", ") || "no fault at all"}`,
    `play it again: bun run simulate --seed ${failed.seed} --events 1${option}`,
  ].join("\n");
}

/** Takes out one kind of fault after the other for as long as the episode still fails: what is left, it needs. */
function shrink({ seed }: Episode, options: EpisodeOptions): ReadonlySet<Fault> {
  let out = options.without ?? new Set<Fault>();
  for (const fault of FAULTS) {
    const without = new Set([...out, fault]);
    if (playEpisode(seed, { ...options, without }).complaint !== undefined) out = without;
  }
  return out;
}
