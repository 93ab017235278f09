/** What may come late, double or of an older start. */
import type { Input } from "../../src/supervisor/runtime/loop.ts";

/** One of each kind, of the start `generation`. */
export function straysOf(generation: number): readonly [Input, ...Input[]] {
  return [
    { kind: "ready", generation },
    { kind: "leaving", generation },
    { kind: "gone", generation },
    { kind: "spawned", generation },
    { kind: "exited", generation, code: 1, signal: null, oom: false },
    { kind: "verdict", generation, health: "unhealthy" },
    { kind: "failing", generation, cause: "heartbeat", detail: "late", action: "emergency" },
    { kind: "hookEnded", generation, hook: "preStop" },
    { kind: "elapsed", timer: "backoff", generation },
    { kind: "elapsed", timer: "stop", generation },
    { kind: "survivors", generation, pids: [1] },
    { kind: "spawnFailed", generation, permanent: true, reason: "late" },
  ];
}
