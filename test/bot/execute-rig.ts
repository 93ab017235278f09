/** An executor on a virtual clock, and the services that it calls. */
import { Budget } from "../../src/bot/budget.ts";
import { createExecutor, type ExecutorWiring } from "../../src/bot/execute.ts";
import type { LevelProposal } from "../../src/bot/ports.ts";
import type { KnownIntent } from "../../src/core/order-intent.ts";
import { memoryLog, named, World } from "./order-sim.ts";

export function rig(wiring: ExecutorWiring = {}) {
  const world = new World(1);
  const machine = { ...world.machine(), random: () => 0.5 };
  const proposals: LevelProposal[] = [];
  const disk = new Map<string, KnownIntent>();
  const executor = createExecutor({
    machine,
    budget: new Budget({}, machine),
    propose: (proposal) => proposals.push(proposal),
    intents: memoryLog(disk, () => Promise.resolve()),
    reader: { find: () => Promise.resolve(undefined) },
    scope: "test",
    ...wiring,
  });
  /** What came of it, with the time it took. */
  const ended = async (call: Promise<unknown>): Promise<unknown> => {
    const startMs = world.ms;
    const end = call.then(
      (value) => ({ value, ms: world.ms - startMs }),
      (error: unknown) => ({ error, ms: world.ms - startMs }),
    );
    await world.play(end);
    return end;
  };
  return { world, machine, executor, proposals, disk, ended };
}

/** Fails with each of these in turn, then answers. */
export function service(...errors: readonly string[]) {
  const left = [...errors];
  const calls = { count: 0 };
  const op = async (): Promise<string> => {
    calls.count += 1;
    const next = left.shift();
    if (next !== undefined) throw named(next);
    return "answer";
  };
  return { op, calls };
}

export const halfSize = (): string => "half the size";
export const refuse = (): never => {
  throw named("InsufficientFunds");
};
export const failing = async (): Promise<never> => {
  throw named("NetworkError");
};
