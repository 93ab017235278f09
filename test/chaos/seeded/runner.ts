/** Runs seeded faults one after the other against one world, and judges the world when it is quiet after each. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { emergencyFaults } from "./emergency-faults.ts";
import type { Fault } from "./fault.ts";
import { fileFaults } from "./file-faults.ts";
import { inputFaults } from "./input-faults.ts";
import { limitFaults } from "./limit-faults.ts";
import { processFaults } from "./process-faults.ts";
import { drawFaults, type Drawn } from "./sequence.ts";
import { upgradeFaults } from "./upgrade-faults.ts";
import { World } from "./world.ts";

export const faults: readonly Fault[] = [
  ...processFaults,
  ...inputFaults,
  ...fileFaults,
  ...emergencyFaults,
  ...limitFaults,
  ...upgradeFaults,
];

export interface RunOptions {
  readonly binary: string;
  readonly seed: number;
  /** No fault is begun after this time, ms. */
  readonly durationMs: number;
  /** And at most so many. */
  readonly maxSteps: number;
  readonly say: (line: string) => void;
  /** Ends the run after the present fault, which is not judged. */
  readonly signal: AbortSignal;
}

/** Whether every invariant held. */
export async function runFaults(options: RunOptions): Promise<boolean> {
  const { binary, seed, durationMs, maxSteps, signal } = options;
  const startMs = performance.now();
  await using world = await World.open(binary);
  await world.untilQuiet();
  await world.check();
  for (const drawn of drawFaults(faults, seed)) {
    if (drawn.step > maxSteps || performance.now() - startMs > durationMs || signal.aborted) break;
    // Safe: faults follow each other in one world.
    // oxlint-disable-next-line no-await-in-loop
    if (!(await strikeOnce(world, drawn, options))) return false;
  }
  return true;
}

async function strikeOnce(world: World, drawn: Drawn<Fault>, { seed, say, signal }: RunOptions): Promise<boolean> {
  const { step, fault, rolls } = drawn;
  const missing = fault.missing?.(world);
  if (missing !== undefined) {
    say(`${step} ${fault.name}: skipped, ${missing}`);
    return true;
  }
  const startMs = performance.now();
  try {
    await fault.strike(world, rolls);
    await world.untilQuiet();
    await world.check();
  } catch (error) {
    if (signal.aborted) return true;
    const place = join(tmpdir(), `supervisor-chaos-${seed}-${step}`);
    say(`${step} ${fault.name}: VIOLATION: ${error instanceof Error ? error.message : String(error)}`);
    say(`seed ${seed}, step ${step}, fault "${fault.name}"; evidence in ${world.keepEvidence(place)}`);
    say(`replay: bun run chaos --seed ${seed} --steps ${step}`);
    return false;
  }
  say(`${step} ${fault.name}: ${((performance.now() - startMs) / 1_000).toFixed(1)} s`);
  return true;
}
