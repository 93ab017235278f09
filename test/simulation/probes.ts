/** Probes of simulated bots: heartbeat and progress are the real ones; what asks the machine asks the simulated one. */
import type { ProbeResult } from "../../src/core/verdict.ts";
import type { Probe, ProbeContext } from "../../src/probes/contract.ts";
import { withDeadline } from "../../src/probes/deadline.ts";
import { createProbe, type ProbeConfig } from "../../src/probes/index.ts";
import type { Process } from "./machine.ts";
import type { World } from "./world.ts";

/** Longest time that a port takes to answer, ms. */
const ANSWER_MS = 50;

export function fakeProbe(world: World, process: Process, config: ProbeConfig, context: ProbeContext): Probe {
  if (config.kind === "heartbeat" || config.kind === "progress") return createProbe(config, context);
  if (config.kind === "process") return { run: () => Promise.resolve(aliveResult(process)) };
  const { clock } = context;
  return {
    run: (signal) =>
      withDeadline({ clock, timeoutMs: config.timeout, signal, late: "failure" }, () =>
        askPort(world, process, context),
      ),
  };
}

function aliveResult({ alive }: Process): ProbeResult {
  return alive ? { kind: "success" } : { kind: "failure", reason: "the main process is gone" };
}

function askPort(world: World, process: Process, { clock }: ProbeContext): Promise<ProbeResult> {
  const behaviour = world.behaviours.get(process.pid);
  const { dice } = world;
  return new Promise((resolve) => {
    if (process.alive && behaviour?.hangs === true) return;
    clock.after(dice.chance.between(1, ANSWER_MS), () => {
      if (world.faults.has("lostMessage") && dice.chance.chance(0.1))
        return resolve({ kind: "unknown", reason: "no descriptor left" });
      if (!process.alive) return resolve({ kind: "failure", reason: "connection refused" });
      return resolve(behaviour?.sick === true ? { kind: "failure", reason: "it says no" } : { kind: "success" });
    });
  });
}
