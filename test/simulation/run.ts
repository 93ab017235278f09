/** `bun run simulate [--seed N] [--events N] [--without FAULT,…]`: plays the simulation; exit code 1 and the story when it fails. */
import { parseArgs } from "node:util";
import { FAULTS, type Fault } from "./settings.ts";
import { simulate, tellFailure } from "./simulate.ts";

/** Events of a run without --events: what every CI run plays. */
const EVENTS = 1_000_000;

const { values } = parseArgs({
  options: { seed: { type: "string" }, events: { type: "string" }, without: { type: "string" } },
});

function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  process.stderr.write(`cannot simulate: --${name} is "${text}"; use a whole number\n`);
  return process.exit(2);
}

function faultsOf(text: string | undefined): ReadonlySet<Fault> {
  const names = text === undefined ? [] : text.split(",");
  const known = FAULTS.filter((fault) => names.includes(fault));
  if (known.length === names.length) return new Set(known);
  process.stderr.write(`cannot simulate: --without is "${text}"; use some of ${FAULTS.join(",")}\n`);
  return process.exit(2);
}

// A seed of its own for each run: every run looks somewhere else, and says where.
const seed = wholeNumber("seed", values.seed, Math.floor(Math.random() * 1_000_000_000));
const events = wholeNumber("events", values.events, EVENTS);
const without = faultsOf(values.without);
const startMs = performance.now();
const { episodes, events: played, virtualMs, cells, failed } = simulate(seed, events, { without });
const seconds = (performance.now() - startMs) / 1_000;
const days = (virtualMs / 86_400_000).toFixed(1);
process.stdout.write(
  `simulated ${played} events in ${episodes} episodes from seed ${seed}, ${days} days in ${seconds.toFixed(1)} s ` +
    `(${Math.round(played / seconds)} events/s), ${cells.size} cells of the lifecycle\n`,
);
if (failed !== undefined) {
  process.stderr.write(`${tellFailure(failed, { without })}\n`);
  process.exitCode = 1;
}
