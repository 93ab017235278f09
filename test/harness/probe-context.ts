/** A bot as a probe sees it, for tests: every fact may be replaced. */
import type { ProbeContext } from "../../src/probes/contract.ts";
import { systemClock } from "../../src/platform/clock.ts";

export function probeContext(facts: Partial<ProbeContext> = {}): ProbeContext {
  return {
    clock: systemClock,
    generation: 1,
    pid: process.pid,
    startTicks: 0,
    armedAtMs: () => 0,
    heartbeatAtMs: () => undefined,
    watchdogTriggered: () => false,
    watchdogMs: () => undefined,
    progressAtMs: () => undefined,
    treePids: () => [process.pid],
    cwd: "/tmp",
    env: { PATH: "/usr/bin:/bin" },
    user: undefined,
    ...facts,
  };
}

/** A signal that never aborts. */
export function noAbort(): AbortSignal {
  return new AbortController().signal;
}
