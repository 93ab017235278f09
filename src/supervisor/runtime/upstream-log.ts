/** What the probes of a bot's upstreams (the exchange, the network) found last, to explain why other probes of the bot fail. */
import type { ProbeResult } from "../../core/verdict.ts";

interface Entry {
  readonly reason: string;
  /** Monotonic ms of its first success after that; `undefined` while it fails. */
  readonly recoveredAtMs: number | undefined;
}

export class UpstreamLog {
  /** By name of the probe; at most one entry for each upstream probe of the bot. */
  readonly #failed = new Map<string, Entry>();

  /** Notes a run that ended at `atMs`. A run that told nothing changes nothing. */
  note(name: string, result: ProbeResult, atMs: number): void {
    if (result.kind === "failure") this.#failed.set(name, { reason: result.reason, recoveredAtMs: undefined });
    const known = this.#failed.get(name);
    if (result.kind === "success" && known?.recoveredAtMs === undefined && known !== undefined)
      this.#failed.set(name, { ...known, recoveredAtMs: atMs });
  }

  /** What of the upstreams fails now, or did until less than `graceMs` before `startMs`; `undefined`: nothing. */
  trouble(startMs: number, graceMs: number): string | undefined {
    for (const [name, { reason, recoveredAtMs }] of this.#failed) {
      if (recoveredAtMs === undefined) return `${name} fails too (${reason})`;
      if (startMs < recoveredAtMs + graceMs) return `${name} has only just recovered`;
    }
    return undefined;
  }
}
